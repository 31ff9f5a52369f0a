"""Random schedules by the dozen: from moments of one run others go their own way, with faults of their own.

What they have in common is run once: the process forks at each of these moments, as at the points of
:mod:`tests.simulation.spread`. A branch has a name, ``244.3``: the third moment of the run of seed 244; a branch of a
branch one number more. By that name it runs again from the start without a fork, and comes to the same; a test compares
them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation.disks import NODES
from tests.simulation.faults import moments, redrawn
from tests.simulation.spread import Tree, grown

if TYPE_CHECKING:
    from tests.simulation.appliance import Appliance
    from tests.simulation.runs import Outcome, Simulation

WIDTH, DEPTH = 3, 4
"""How many moments a run has, and how often a branch of a branch may be one."""


class Branches:
    """Looks out for the next moment of a run; the runs that follow a name go their way at its moments."""

    def __init__(self, path: tuple[int, ...] = (), *, tree: Tree | None = None, depth: int = 0) -> None:
        self.path, self.tree, self.depth = path, tree, depth
        self._moments: list[float] | None = None
        self._number = 0

    def at(self, appliance: Appliance) -> None:
        """Between two passes of threads: part from here, if it is time."""
        now = appliance.scheduler.now
        if self._moments is None:
            self._moments = moments(appliance.schedule, now, WIDTH)
        while self._number < len(self._moments) and now >= self._moments[self._number]:
            number, self._number = self._number, self._number + 1
            if self.path:
                goes, self.path = number == self.path[0], self.path[1:] if number == self.path[0] else self.path
            else:
                goes = self.tree is not None and self.depth > 0 and self.tree.parts(appliance, f'branch {number}')
            if goes:
                self.depth -= 1
                self._moments, self._number = None, 0
                appliance.goes_on_with(redrawn(appliance.schedule, number, now, appliance.points, NODES))
                return


def named(simulation: Simulation, name: str, *, trace: bool = False) -> Outcome:
    """Run the schedule of a name: a seed, or a branch of its run. :raises ValueError: it is no such name."""
    seed, *path = map(int, name.split('.'))
    outcome = simulation.run(simulation.drawn(seed), trace=trace, branches=Branches(tuple(path)))
    if outcome.schedule.name != name:
        raise ValueError(f'there is no such branch, the run of {outcome.schedule.name} is over before that moment')
    return outcome


def family(simulation: Simulation, seed: int) -> list[Outcome]:
    """Run a seed and all branches of it."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(simulation, Path(folder, 'results'))
        branches = Branches(tree=tree, depth=DEPTH)
        return grown(tree, lambda: simulation.run(simulation.drawn(seed), branches=branches))


def families(simulation: Simulation, seeds: Iterable[int]) -> Iterator[Outcome]:
    """Run these seeds, each with its branches."""
    for seed in seeds:
        yield from family(simulation, seed)
