"""Breadth-first search through all states of a world, with the shortest trace to what is wrong.

A state is a short string of bytes, and its number is the order in which it was found. Of each step that needs no fault
only the two numbers are kept, of the others nothing; a trace is made when it is asked for, by going the way again.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field

from tests.model.invariants import NAMES, at_rest, broken_by_move, broken_by_state
from tests.model.system import NoRule, System
from tests.model.world import DEM, HO, LO, NO, ST, STATES, Config, V, World, label, start


@dataclass
class Result:
    """What an exploration found."""

    states: int = 0
    moves: int = 0
    seconds: float = 0.0
    """Of the processor."""
    broken: int | None = None
    """The number of the invariant, or None."""
    trace: list[str] = field(default_factory=list)
    ends: set[str] = field(default_factory=set)
    """The end states that were reached."""
    rules: set[str] = field(default_factory=set)
    """The rules of the table that applied somewhere."""
    cut: bool = False
    """The time was over before all was explored; nothing is said of what comes later."""

    def __str__(self) -> str:
        if self.broken is None:
            until = ' until the time was over' if self.cut else ''
            return f'{self.states} states, {self.moves} moves: no violation{until}'
        steps = '\n'.join(f'  {n}. {step}' for n, step in enumerate(self.trace, 1))
        return f'{self.states} states: invariant {self.broken} ({NAMES[self.broken]}) is broken by\n{steps}'


class Graph:
    """The states that were seen, from which one each was first reached, and which steps need no fault."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.worlds: list[World] = []
        self.parent = array('l')
        self.first = array('l')
        """Where the targets of a state begin; those of the last one end with the list."""
        self.targets = array('l')
        self.resets: list[tuple[int, int]] = []

    def trace(self, n: int) -> list[str]:
        """The labels of the steps from the start to state ``n``."""
        steps: list[str] = []
        while n > 0:
            before = self.parent[n]
            steps.append(self.step(before, self.worlds[n]))
            n = before
        return steps[::-1]

    def step(self, n: int, after: World) -> str:
        """The label of the step that leads from one state to another."""
        return next(label(move[0], move[1]) for move in self.system.moves(self.worlds[n]) if move[4] == after)

    def onward(self, n: int) -> array[int]:
        """Where steps without a fault lead."""
        return self.targets[self.first[n] : self.first[n + 1]]


def explore(
    config: Config,
    *,
    only: Container[int] | None = None,
    limit: int = 20_000_000,
    until: float = float('inf'),
) -> Result:
    """Search all that can happen, and stop at the first violation; ``only`` names the invariants to look at.

    ``until`` is the time, by the monotonic clock, at which it gives up; whether runs end is not looked at then.

    :raises RuntimeError: there are more than ``limit`` states.
    """
    begun = time.process_time()
    system, result = System(config), Result()
    graph = Graph(system)
    wanted: Container[int] = NAMES if only is None else only
    calm = not config.faults and 14 in wanted
    worlds, first, targets, parent, resets = graph.worlds, graph.first, graph.targets, graph.parent, graph.resets
    number = {start(config): 0}
    worlds.append(start(config))
    parent.append(-1)

    def finish(broken: int | None, trace: list[str]) -> Result:
        result.states, result.broken, result.trace = len(worlds), broken, trace
        result.seconds = time.process_time() - begun
        result.rules = system.rules_used()
        result.ends = {STATES[w[ST]].value for w in worlds if STATES[w[ST]].ended}
        return result

    n = moves = 0
    found = 1
    while n < found:
        world = worlds[n]
        if not n % 10_000 and time.monotonic() > until:
            result.moves, result.cut = moves, True
            return finish(None, [])
        first.append(len(targets))
        try:
            steps = system.moves(world)
        except NoRule:
            return finish(30, graph.trace(n))
        for node, what, fault, events, after in steps:
            moves += 1
            if events:
                broken = broken_by_move(config, world, events, after)
                if broken is not None and broken in wanted:
                    result.moves = moves
                    return finish(broken, [*graph.trace(n), label(node, what)])
            to = number.setdefault(after, found)
            if to == found:
                found += 1
                worlds.append(after)
                parent.append(n)
                if to >= limit:
                    raise RuntimeError(f'more than {limit} states')
                broken = broken_by_state(config, after)
                if broken is None and calm and _unserved(after) and after[LO] == config.losses:
                    broken = 14
                if broken is not None and broken in wanted:
                    result.moves = moves
                    return finish(broken, graph.trace(to))
            if not fault and to != n:
                targets.append(to)
                if events and any(event[0] == 'reset' for event in events):
                    resets.append((n, to))
        n += 1
    first.append(len(targets))
    result.moves = moves
    del number
    if 12 in wanted:
        stuck = _never_at_rest(config, graph)
        if stuck is not None:
            return finish(12, [*graph.trace(stuck), '(and from here on, without a fault, the update never ends)'])
    if 14 in wanted:
        loop = _reset_loop(graph)
        if loop is not None:
            return finish(14, [*graph.trace(loop), '(and from here on, without a fault, nodes are reset for ever)'])
    return finish(None, [])


def reachable(config: Config) -> list[World]:
    """All states that a world can come to, in the order in which they are found."""
    system = System(config)
    found = {start(config): None}
    todo = deque(found)
    while todo:
        for move in system.moves(todo.popleft()):
            if move[4] not in found:
                found[move[4]] = None
                todo.append(move[4])
    return list(found)


def _unserved(world: World) -> bool:
    return world[V] == NO and world[V + 1] == NO and world[HO] == 0 and world[DEM] == 0


def _never_at_rest(config: Config, graph: Graph) -> int | None:
    """The first state from which no fault-free run comes to rest.

    A finite system that is treated fairly ends up in a set of states that it does not leave; so if rest can be reached
    from everywhere, every fair run reaches it.
    """
    count = len(graph.worlds)
    begins, origins = _backwards(graph)
    rested = bytearray(count)
    queue = [n for n, world in enumerate(graph.worlds) if at_rest(config, world)]
    for n in queue:
        rested[n] = 1
    while queue:
        n = queue.pop()
        for before in origins[begins[n] : begins[n + 1]]:
            if not rested[before]:
                rested[before] = 1
                queue.append(before)
    stuck = rested.find(0)
    return None if stuck < 0 else stuck


def _backwards(graph: Graph) -> tuple[array[int], array[int]]:
    """The steps without a fault by where they lead: at which place those of each state begin, and their origins."""
    count, targets = len(graph.worlds), graph.targets
    begins = array('l', bytes(8 * (count + 1)))
    for to in targets:
        begins[to + 1] += 1
    for n in range(count):
        begins[n + 1] += begins[n]
    place, origins = begins[:], array('l', bytes(8 * len(targets)))
    for n in range(count):
        for to in graph.onward(n):
            origins[place[to]] = n
            place[to] += 1
    return begins, origins


def _reset_loop(graph: Graph) -> int | None:
    """A state that a fault-free run can come back to with a reset of a node on the way (Tarjan's components)."""
    if not graph.resets:
        return None
    component = _components(graph)
    return min((n for n, to in graph.resets if component[n] == component[to]), default=None)


def _components(graph: Graph) -> array[int]:
    count = len(graph.worlds)
    targets, first = graph.targets, graph.first
    index, low, component = (array('l', bytes(8 * count)) for _ in range(3))
    stack: list[int] = []
    seen = 0
    place = first[:-1]
    for root in range(count):
        if index[root]:
            continue
        seen += 1
        index[root] = low[root] = seen
        stack.append(root)
        work = [root]
        while work:
            n = work[-1]
            at, end = place[n], first[n + 1]
            while at < end:
                to = targets[at]
                at += 1
                if not index[to]:
                    seen += 1
                    index[to] = low[to] = seen
                    stack.append(to)
                    work.append(to)
                    break
                if not component[to] and index[to] < low[n]:
                    low[n] = index[to]
            else:
                work.pop()
                if work and low[n] < low[work[-1]]:
                    low[work[-1]] = low[n]
                if low[n] == index[n]:
                    while True:
                        member = stack.pop()
                        component[member] = n + 1
                        if member == n:
                            break
            place[n] = at
    return component
