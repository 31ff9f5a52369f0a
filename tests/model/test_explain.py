"""What ``update-explain`` foretells is what the model does when it happens: in every state that can be reached."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ovca.remaster.explain import Outlook, leader_fails, peer_fails
from ovca.remaster.protocol import Situation, Verdict
from tests.model.explore import reachable
from tests.model.system import System
from tests.model.world import (
    BAD_MASTER,
    ENDED_N,
    FAILED,
    FB,
    GOOD,
    HE,
    HO,
    NOW,
    OFF,
    PA,
    RT,
    ST,
    STATES,
    UP,
    Config,
    Draft,
    F,
    H,
    L,
    M,
    V,
    World,
)

pytestmark = pytest.mark.model

WORLDS = {
    'good image': Config(early_give_up=False),
    'good image, paused and held': Config(pause=True, hold=True, early_give_up=False),
    'a retry': Config(retries=1, early_give_up=False),
    'image bad as master, held': Config(image=BAD_MASTER, hold=True, early_give_up=False),
}
End = tuple[bool, str]
"""Whether the node that is left leads, and the state of the update."""


_worlds = functools.cache(reachable)


def _led(name: str) -> Iterator[tuple[World, int, Situation]]:
    """The node that leads in an open update, with both of them up, and what the command knows of that."""
    system = System(WORLDS[name])
    for world in _worlds(WORLDS[name]):
        for i in (0, 1):
            serves = world[L] == i and world[V + i] == NOW and world[M + i] == UP and world[HO] == 0
            if serves and world[M + 1 - i] == UP and world[ST] not in ENDED_N:
                # What the checks have found is in the service's memory.
                yield world, i, replace(system.situation(world, i), checks=Verdict.PENDING)


class Alone:
    """One node of a world, whose other one is off for good, and what it does by itself."""

    def __init__(self, config: Config, gone: int) -> None:
        self.gone, self.left = gone, 1 - gone
        self._calm, self._late = System(replace(config, faults=False, deadlines=False)), System(config)

    def _onward(self, world: World, system: System) -> set[World]:
        """Where its next step leads; an operator does nothing, and what is off stays off."""
        return {
            after
            for node, what, fault, _, after in system.moves(world)
            if node == self.left and not fault and after[M + self.gone] == OFF and 'an operator' not in what
        } - {world}

    def rests(self, start: list[World], stop: End | None = None) -> set[World]:
        """Where it comes to with no deadline passing; ``stop`` is not looked beyond."""
        seen, todo, ends = set(start), [*start], set()
        while todo:
            here = todo.pop()
            onward = self._onward(here, self._calm)
            if not onward or self.end(here) == stop:
                ends.add(here)
            else:
                todo += onward - seen
                seen |= onward
        return ends

    def ends(self, start: World) -> set[End]:
        """Where it comes to when somebody continues what waits, and each deadline passes that nothing else prevents."""
        w = Draft(start)
        w[PA] = w[HE] = 0
        seen: set[World] = set()
        ends: set[End] = set()
        todo = self.rests([World(w)])
        while todo:
            seen |= todo
            following: set[World] = set()
            for here in todo:
                if self.end(here)[1] in ENDS or not (onward := self._onward(here, self._late)):
                    ends.add(self.end(here))
                else:
                    following |= onward
            todo = self.rests([*following]) - seen
        return ends

    def end(self, world: World) -> End:
        return world[V + self.left] == NOW, STATES[world[ST]].value


ENDS = {state.value for state in STATES if state.ended}


def _without(world: World, gone: int) -> World:
    w = Draft(world)
    w[M + gone], w[V + gone], w[H + gone] = OFF, 0, 0
    return World(w)


def _told(outlook: Outlook) -> tuple[End, End]:
    outlook = outlook.once_there or outlook
    now, last = outlook.now, outlook.last
    return (now.leader is not None, now.state.value), (last.leader is not None, last.state.value)


@pytest.mark.parametrize('name', WORLDS)
def test_when_the_master_fails_the_other_one_does_what_was_foretold(name: str) -> None:
    config, looked_at = WORLDS[name], 0
    for world, i, situation in _led(name):
        looked_at += 1
        proven = bool(world[F + 1 - i] or world[FB + 1 - i])
        outlook = leader_fails(situation, peer_proven=proven, retry=world[RT] < config.retries)
        now, last = _told(outlook)
        alone, without = Alone(config, i), _without(world, i)

        rests = {alone.end(each) for each in alone.rests([without], now)}

        if outlook.once_there is not None:
            assert rests <= {now, (False, outlook.now.state.value)}, (world, outlook)
            continue
        assert rests == {now}, (world, outlook)
        if config.image == GOOD:
            assert alone.ends(without) == {last}, (world, outlook)
    assert looked_at > 200


@pytest.mark.parametrize('name', WORLDS)
def test_when_the_other_node_fails_the_master_does_what_was_foretold(name: str) -> None:
    config, looked_at = WORLDS[name], 0
    for world, i, situation in _led(name):
        if config.image == GOOD and world[H + i] == FAILED:
            continue  # that it is ill is a second failure, which may pass
        looked_at += 1
        now, last = _told(peer_fails(situation, retry=world[RT] < config.retries))
        alone, without = Alone(config, 1 - i), _without(world, 1 - i)

        assert {alone.end(each) for each in alone.rests([without], now)} == {now}, world
        if config.image == GOOD:
            assert alone.ends(without) == {last}, world
    assert looked_at > 200
