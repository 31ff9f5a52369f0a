"""Whole updates with faults at random instants. Two at a time: most of a run is waiting.

The seeds have every kind of fault, each milestone, and both engines; of each two, one has a fault before anything is
wiped. Many more: ``make faults``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import missing_peer, postgres_programs
from tests.faults.plan import ENGINES, KINDS, MILESTONES, Plan, plan
from tests.faults.run import Report, make_stock, run

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(400)]
PAIRS = [(1064, 1737), (824, 539), (238, 705), (1150, 1857), (274, 177)]
IN_CI = 2


@pytest.fixture(scope='module')
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and images for all runs of this module."""
    return make_stock(tmp_path_factory.mktemp('stock'))


@pytest.mark.extra('postgresql')
@pytest.mark.parametrize(
    'seeds',
    [pytest.param(pair, marks=[pytest.mark.long] if at >= IN_CI else []) for at, pair in enumerate(PAIRS)],
    ids=lambda pair: '-'.join(map(str, pair)),
)
def test_no_fault_at_any_instant_loses_the_appliance(tmp_path: Path, stock: Path, seeds: tuple[int, int]) -> None:
    if postgres_programs() is None:
        missing_peer('PostgreSQL is not installed: apt-get install postgresql')
    plans = [plan(seed) for seed in seeds]

    def one(which: Plan) -> Report:
        return run(which, tmp_path / str(which.seed), stock)

    with ThreadPoolExecutor(len(plans)) as pool:
        reports = list(pool.map(one, plans))

    assert not any(report.problems for report in reports), '\n'.join(map(str, reports))
    assert any(report.met for report in reports), 'no fault has happened'


def test_the_chosen_seeds_have_every_kind_and_milestone() -> None:
    plans = [plan(seed) for pair in PAIRS for seed in pair]
    faults = [fault for which in plans for fault in which.faults]

    assert {which.engine for which in plans} == set(ENGINES)
    assert {fault.kind for fault in faults} == set(KINDS)
    assert {fault.after for fault in faults} == set(MILESTONES)
