"""Every single fault: a process that is killed, and a node that loses its power, at each point of an update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.spread import spread

if TYPE_CHECKING:
    from tests.simulation.runs import Simulation

pytestmark = pytest.mark.simulation
PARTS, WORKERS = 24, 4
"""So many tests, as each has to end in time on a busy machine; those of one worker share a simulation."""


@pytest.mark.parametrize(
    'part', [pytest.param(part, marks=pytest.mark.xdist_group(f'singles {part % WORKERS}')) for part in range(PARTS)]
)
def test_no_single_fault_at_any_point_breaks_anything(simulation: Simulation, part: int) -> None:
    points, outcomes = spread(simulation, part=(part, PARTS))

    tried = list(outcomes)

    assert points > 100
    assert len(tried) >= 2 * (points // PARTS)
    assert [str(outcome) for outcome in tried if outcome.violation is not None] == []
