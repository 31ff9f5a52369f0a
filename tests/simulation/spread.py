"""All single faults, or all pairs, in little more than the time of their ends.

A run with a fault at a point is, up to that point, the run without it. So the run without faults goes on but once; at
each point the process forks, the child lets the fault happen there and goes on to its end, and the parent waits for it.
What comes out is what :meth:`Simulation.run` says of the same schedule; a test compares them.

Between two points that one thread passes in one go, with nothing done in between, a crash makes no difference: what is
lost is the same, and what is on disks and in rows as well. Such points are tried once.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation.faults import AT_POINTS, Schedule, Strike

if TYPE_CHECKING:
    from tests.simulation.appliance import Appliance
    from tests.simulation.runs import Outcome, Simulation


class Tree:
    """A run that parts: what came of it, and of each run that went on from a moment of it in a process of its own."""

    def __init__(self, simulation: Simulation, results: Path) -> None:
        self.simulation, self.results = simulation, results
        self.child = False
        """This process is one that was forked, and ends with its run."""

    def parts(self, appliance: Appliance, what: object) -> bool:
        """Part here: True in the run that goes its own way, and False, once that is over, in the one that goes on."""
        content = self.simulation.disks.content()
        child = os.fork()
        if child == 0:
            self.child = True
            return True
        _, status = os.waitpid(child, 0)
        appliance.deaf = True
        self.simulation.disks.restore(content)
        appliance.deaf = False
        if status != 0:
            raise RuntimeError(f'the run with {what} ended with status {status}')
        return False

    def tell(self, outcome: Outcome) -> None:
        """Write down what came of a run."""
        with self.results.open('ab') as stream:
            pickle.dump(outcome, stream)


class Spread(Tree):
    """Forks at the points of one run; ``depth`` faults in one run at most."""

    def __init__(self, simulation: Simulation, results: Path, depth: int, part: tuple[int, int]) -> None:
        super().__init__(simulation, results)
        self.depth, self.part = depth, part
        self.classes = 0
        """Points at which a fault makes a difference."""
        self._last: tuple[int, int] | None = None

    def at(self, appliance: Appliance, point: int, key: tuple[int, int]) -> Strike | None:
        """The fault that is to happen at this point, in this process; None: none, go on."""
        if self.depth == 0 or key == self._last:
            return None
        self._last = key
        number, self.classes = self.classes, self.classes + 1
        if number % self.part[1] != self.part[0]:
            return None
        for kind in AT_POINTS:
            strike = Strike(point, kind)
            if self.parts(appliance, strike):
                self.depth, self.part, self._last = self.depth - 1, (0, 1), None
                appliance.schedule = dataclasses.replace(
                    appliance.schedule, strikes=(*appliance.schedule.strikes, strike)
                )
                return strike
        return None


def spread(simulation: Simulation, *, depth: int = 1, part: tuple[int, int] = (0, 1)) -> tuple[int, Iterator[Outcome]]:
    """Run all schedules of up to ``depth`` faults; of the points of the first one, each Nth, from the Kth on.

    Returns how many points make a difference in the run without faults, and what came of each schedule.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Spread(simulation, Path(folder, 'results'), depth, part)
        found = grown(tree, lambda: simulation.run(Schedule(), spread=tree))
    return tree.classes, iter(found)


def grown(tree: Tree, run: Callable[[], Outcome]) -> list[Outcome]:
    """Run what parts by ``tree``, and return what came of all; a process that was forked does not come back."""
    tree.results.touch()
    try:
        tree.tell(run())
    except BaseException:
        if not tree.child:
            raise
        traceback.print_exc(file=sys.__stderr__)
        os._exit(1)
    if tree.child:
        os._exit(0)
    return list(_read(tree.results))


def _read(results: Path) -> Iterator[Outcome]:
    with results.open('rb') as stream:
        while True:
            try:
                yield pickle.load(stream)  # what this process and its children wrote
            except EOFError:
                return
