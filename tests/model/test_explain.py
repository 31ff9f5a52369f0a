"""What ``update-explain`` foretells is what the model does when it happens: in every state that can be reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovca.remaster.explain import explain
from tests.model.explore import reachable
from tests.model.system import System
from tests.model.world import BAD_MASTER, HO, NOW, OFF, ST, STATES, UP, Config, L, M, V, World

pytestmark = pytest.mark.model

WORLDS = {
    'good image': Config(early_give_up=False),
    'image bad as master, held': Config(image=BAD_MASTER, hold=True, early_give_up=False),
}


def _leaders(world: World) -> list[int]:
    return [i for i in (0, 1) if world[L] == i and world[V + i] == NOW and world[M + i] == UP and world[HO] == 0]


def _without(config: Config, world: World, gone: int, told: tuple[bool, str]) -> set[tuple[bool, str]]:
    """Whether the other node leads, and in which state, wherever it comes to by itself, with no deadline passing.

    What was foretold is not looked beyond: there it waits, for its health say.
    """
    system = System(replace(config, faults=False))
    w = bytearray(world)
    w[M + gone], w[V + gone] = OFF, 0
    seen, todo, ends = {bytes(w)}, [bytes(w)], set()
    while todo:
        here = todo.pop()
        onward = {after for node, _, _, _, after in system.moves(here) if after[M + gone] == OFF and node != gone} - {
            here
        }
        here_now = (here[V + 1 - gone] == NOW, STATES[here[ST]].value)
        if not onward or here_now == told == (True, told[1]):
            ends.add(here_now)
            continue
        for after in onward - seen:
            seen.add(after)
            todo.append(after)
    return ends


@pytest.mark.parametrize('name', WORLDS)
def test_when_the_master_fails_the_other_one_does_what_was_foretold(name: str) -> None:
    config, looked_at = WORLDS[name], 0
    system = System(config)
    for world in reachable(config):
        for i in _leaders(world):
            if world[M + 1 - i] != UP or world[ST] in {n for n, state in enumerate(STATES) if state.ended}:
                continue
            looked_at += 1
            outlook = explain(system.situation(world, i)).leader_fails
            course = outlook.once_proved or outlook.now
            told = (course.leader is not None, course.state.value)

            ends = _without(config, world, i, told)

            if outlook.once_proved is not None:
                ends -= {(False, outlook.now.state.value)}
            assert ends <= {told}, (world, outlook)
            assert ends or outlook.once_proved is not None
    assert looked_at > 200
