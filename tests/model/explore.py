"""Breadth-first search through all states of a world, with the shortest trace to what is wrong."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field

from tests.model.invariants import NAMES, at_rest, broken_by_move, broken_by_state
from tests.model.system import System
from tests.model.world import DEM, HO, NO, ST, STATES, Config, V, World, start


@dataclass
class Result:
    """What an exploration found."""

    states: int = 0
    moves: int = 0
    seconds: float = 0.0
    broken: int | None = None
    """The number of the invariant, or None."""
    trace: list[str] = field(default_factory=list)
    ends: set[str] = field(default_factory=set)
    """The end states that were reached."""
    rules: set[str] = field(default_factory=set)
    """The rules of the table that applied somewhere."""

    def __str__(self) -> str:
        if self.broken is None:
            return f'{self.states} states, {self.moves} moves: no violation'
        steps = '\n'.join(f'  {n}. {step}' for n, step in enumerate(self.trace, 1))
        return f'{self.states} states: invariant {self.broken} ({NAMES[self.broken]}) is broken by\n{steps}'


class Graph:
    """The states that were seen, how each was first reached, and which steps need no fault."""

    def __init__(self) -> None:
        self.number: dict[World, int] = {}
        self.worlds: list[World] = []
        self.parent: list[tuple[int, str]] = []
        self.onward: list[list[int]] = []
        self.resets: list[tuple[int, int]] = []

    def add(self, world: World, parent: int, label: str) -> int:
        self.number[world] = n = len(self.worlds)
        self.worlds.append(world)
        self.parent.append((parent, label))
        self.onward.append([])
        return n

    def trace(self, n: int) -> list[str]:
        """The labels from the start to state ``n``."""
        steps: list[str] = []
        while n > 0:
            n, label = self.parent[n]
            steps.append(label)
        return steps[::-1]


def explore(config: Config, *, only: Container[int] | None = None, limit: int = 5_000_000) -> Result:
    """Search all that can happen, and stop at the first violation; ``only`` names the invariants to look at.

    :raises RuntimeError: there are more than ``limit`` states.
    """
    begun = time.perf_counter()
    system, graph, result = System(config), Graph(), Result()
    wanted: Container[int] = NAMES if only is None else only
    graph.add(start(config), -1, '')
    n = 0

    def finish(broken: int | None, trace: list[str]) -> Result:
        result.states, result.broken, result.trace = len(graph.worlds), broken, trace
        result.seconds = time.perf_counter() - begun
        result.rules = system.rules_used()
        result.ends = {STATES[w[ST]].value for w in graph.worlds if STATES[w[ST]].ended}
        return result

    while n < len(graph.worlds):
        world = graph.worlds[n]
        for label, fault, events, after in system.moves(world):
            result.moves += 1
            if events:
                broken = broken_by_move(config, world, events, after)
                if broken in wanted and broken is not None:
                    return finish(broken, [*graph.trace(n), label])
            to = graph.number.get(after)
            if to is None:
                to = graph.add(after, n, label)
                if to >= limit:
                    raise RuntimeError(f'more than {limit} states')
                broken = broken_by_state(after)
                if broken in wanted and broken is not None:
                    return finish(broken, graph.trace(to))
                if not config.faults and 14 in wanted and _unserved(after):
                    return finish(14, graph.trace(to))
            if not fault and to != n:
                graph.onward[n].append(to)
                if any(e[0] == 'reset' for e in events):
                    graph.resets.append((n, to))
        n += 1
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
            if move.after not in found:
                found[move.after] = None
                todo.append(move.after)
    return list(found)


def _unserved(world: World) -> bool:
    return world[V] == NO and world[V + 1] == NO and world[HO] == 0 and world[DEM] == 0


def _never_at_rest(config: Config, graph: Graph) -> int | None:
    """The first state from which no fault-free run comes to rest.

    A finite system that is treated fairly ends up in a set of states that it does not leave; so if rest can be reached
    from everywhere, every fair run reaches it.
    """
    back: list[list[int]] = [[] for _ in graph.worlds]
    for n, onward in enumerate(graph.onward):
        for to in onward:
            back[to].append(n)
    rested = bytearray(len(graph.worlds))
    queue = deque(n for n, world in enumerate(graph.worlds) if at_rest(config, world))
    for n in queue:
        rested[n] = 1
    while queue:
        for before in back[queue.popleft()]:
            if not rested[before]:
                rested[before] = 1
                queue.append(before)
    stuck = rested.find(0)
    return None if stuck < 0 else stuck


def _reset_loop(graph: Graph) -> int | None:
    """A state that a fault-free run can come back to with a reset of a node on the way (Tarjan's components)."""
    component = _components(graph.onward)
    return min((n for n, to in graph.resets if component[n] == component[to]), default=None)


def _components(onward: list[list[int]]) -> list[int]:
    index, low, component = [0] * len(onward), [0] * len(onward), [-1] * len(onward)
    stack: list[int] = []
    count = 0
    for root in range(len(onward)):
        if index[root]:
            continue
        work = [(root, iter(onward[root]))]
        count += 1
        index[root] = low[root] = count
        stack.append(root)
        while work:
            n, rest = work[-1]
            for to in rest:
                if not index[to]:
                    count += 1
                    index[to] = low[to] = count
                    stack.append(to)
                    work.append((to, iter(onward[to])))
                    break
                if component[to] < 0:
                    low[n] = min(low[n], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[n])
                if low[n] == index[n]:
                    while True:
                        member = stack.pop()
                        component[member] = n
                        if member == n:
                            break
    return component
