"""Whole updates of the production's code on a clock that is told: see :mod:`tests.simulation`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

import ovca
from ovca.cluster.lease import Lease
from ovca.daemon import service
from ovca.daemon.outside import Outside
from ovca.daemon.service import Ovcad
from ovca.remaster import directives, loop
from ovca.remaster.changes import Changes
from ovca.remaster.protocol import Health, rule_for
from tests.conftest import REQUIRE_PEERS, PostgresServer

if importlib.util.find_spec('greenlet') is None and not REQUIRE_PEERS:
    pytest.skip("greenlet is not installed: pip install -e '.[test]'", allow_module_level=True)

from tests.model.mutations import guarded, without
from tests.simulation import branches, runs
from tests.simulation.__main__ import main, sampled
from tests.simulation.branches import family, named
from tests.simulation.disks import NEW, NODES
from tests.simulation.faults import Kind, Mishap, Schedule, Strike, redrawn
from tests.simulation.postgresql import PostgresqlServer
from tests.simulation.runs import Outcome, Simulation
from tests.simulation.spread import spread

# One worker, one simulation: to make it anew costs as much as some runs.
pytestmark = [pytest.mark.simulation, pytest.mark.xdist_group('simulation')]


@pytest.fixture(scope='module')
def faultless(simulation: Simulation) -> Outcome:
    return simulation.run(Schedule(), labels=True, trace=True)


COMMITS_ANYWHERE = without(
    'proving-old-leads',
    'proving-not-pinned',
    rules=guarded('proving-proven', lambda s: s.leader_health is Health.SOAKED),
)
SAME = (1, 3, 11)
"""Seeds that are run on both engines."""
INSTALLED, PROVING = 2.6, 4.6
"""Seconds at which a run without faults is in VERIFY_1, and in PROVING."""


def sound(simulation: Simulation, schedule: Schedule) -> Outcome:
    outcome = simulation.run(schedule)
    assert outcome.violation is None, str(outcome)
    return outcome


def where(outcome: Outcome, label: str) -> int:
    """The first point with this label."""
    return next(number for number, found in enumerate(outcome.labels) if label in found)


def test_without_faults_both_nodes_are_updated(faultless: Outcome) -> None:
    assert faultless.violation is None
    assert faultless.states == ['REQUESTED', 'INSTALL_1', 'VERIFY_1', 'PROVING', 'INSTALL_2', 'VERIFY_2', 'DONE']


def test_a_run_leaves_the_version_of_this_software_as_it_was(faultless: Outcome) -> None:
    assert f"'{ovca.__version__}'" in Path(ovca.__file__).read_text()


def test_every_commit_and_effect_has_a_point_before_it_and_one_after(faultless: Outcome) -> None:
    told = [label for label in faultless.labels if ': before: ' in label and ('commit' in label or 'power' in label)]

    assert len(told) > 60
    for label in told:
        assert label.replace(': before: ', ': after: ') in faultless.labels


def test_the_same_seed_is_the_same_run(simulation: Simulation) -> None:
    first = simulation.run(simulation.drawn(11), trace=True)
    simulation.run(simulation.drawn(12))
    second = simulation.run(simulation.drawn(11), trace=True)

    assert first.trace == second.trace


@pytest.mark.parametrize('hash_seed', ['1', '2'])
def test_the_same_seed_is_the_same_run_in_another_process(simulation: Simulation, hash_seed: str) -> None:
    here = simulation.run(simulation.drawn(11), trace=True)

    done = subprocess.run(
        [sys.executable, '-m', 'tests.simulation', '--seed', '11', '--trace'],
        cwd=Path(__file__).parents[2],
        env={**os.environ, 'PYTHONHASHSEED': hash_seed, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.splitlines()[: len(here.trace)] == here.trace


def test_a_run_that_forks_at_a_point_is_the_run_with_the_fault(simulation: Simulation) -> None:
    _, outcomes = spread(simulation, part=(70, 1000))

    for outcome in outcomes:
        assert simulation.run(outcome.schedule) == outcome


def test_a_branch_is_the_run_that_its_name_gives(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, 'DEPTH', 2)
    outcomes = family(simulation, 17)

    twice = [outcome for outcome in outcomes if len(outcome.schedule.branch) == 2]
    assert len(twice) > 4
    for outcome in twice[::3]:
        assert named(simulation, outcome.schedule.name) == outcome
    assert [str(outcome) for outcome in outcomes if outcome.violation is not None] == []


def test_a_branch_has_the_faults_up_to_its_moment_and_others_after_it(simulation: Simulation) -> None:
    for seed in range(50):
        stem = simulation.drawn(seed)
        branch = redrawn(stem, 0, 20.0, 90, NODES)

        assert [m for m in branch.mishaps if m.at <= 20] == [m for m in stem.mishaps if m.at <= 20]
        assert [s for s in branch.strikes if s.point < 90] == [s for s in stem.strikes if s.point < 90]
        mishaps = {*branch.mishaps} - {*stem.mishaps}
        strikes = {*branch.strikes} - {*stem.strikes}
        assert mishaps or strikes
        assert all(mishap.at > 20 for mishap in mishaps)
        assert all(strike.point >= 90 for strike in strikes)


def test_a_moment_that_a_run_does_not_reach_is_no_branch(simulation: Simulation) -> None:
    with pytest.raises(ValueError, match=r'no such branch, the run of 11\.0 is over'):
        named(simulation, '11.0.99')


def test_no_pair_of_faults_in_a_sample_breaks_anything(simulation: Simulation) -> None:
    outcomes = [simulation.run(schedule) for schedule in sampled(simulation.points, Random(1), 8)]

    assert [str(outcome) for outcome in outcomes if outcome.violation is not None] == []


def test_no_random_schedule_breaks_anything(simulation: Simulation) -> None:
    ends = {sound(simulation, simulation.drawn(seed)).state for seed in range(16)}

    assert 'DONE' in ends


def test_a_role_whose_command_does_not_answer_ends_no_thread(simulation: Simulation, faultless: Outcome) -> None:
    # The command has done its work; the new master hears nothing of it, so the update goes back.
    serves = where(faultless, 'mn2: after: mn2 starts to serve')

    outcome = sound(simulation, Schedule(strikes=(Strike(serves, Kind.LOST),)))

    assert outcome.state == 'FAILED_ROLLED_BACK'


def test_a_thread_that_ends_is_told(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ovcad, '_beat', lambda self: {}['nothing'])

    outcome = simulation.run(Schedule(), trace=True)

    assert outcome.violation is not None
    assert 'the thread beat of mn' in outcome.violation
    assert any('_beat_step' in line for line in outcome.trace)


# On PostgreSQL.


@pytest.fixture(scope='module')
def on_postgresql(postgresql_server: PostgresServer) -> Iterator[Simulation]:
    postgresql_server.create('simulation')
    made = Simulation(PostgresqlServer(postgresql_server.url('simulation')))
    yield made
    made.close()


@pytest.mark.parametrize('seed', SAME)
def test_a_seed_is_the_same_run_on_postgresql(simulation: Simulation, on_postgresql: Simulation, seed: int) -> None:
    here = simulation.run(simulation.drawn(seed), trace=True)

    there = on_postgresql.run(on_postgresql.drawn(seed), trace=True)

    assert there == here


def test_a_transaction_while_another_one_is_open_is_refused(simulation: Simulation, on_postgresql: Simulation) -> None:
    # One thread, one connection: to wait for the lock of another transaction would be to wait for ever.
    for made in (simulation, on_postgresql):
        first, second = made.server.open(), made.server.open()
        with first.read(), pytest.raises(RuntimeError, match='while another one is open'), second.read():
            pass


def test_pairs_are_not_forked_on_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['--engine', 'postgresql', '--pairs'])

    assert 'cannot share a connection to postgresql' in capsys.readouterr().err


# That it can fail: each takes something out of the product.


@contextmanager
def no_check(self: Lease, epoch: int, *, acting: bool = True) -> Iterator[Any]:
    with self.database.write() as session:
        yield session


def test_without_the_fence_two_nodes_serve(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outside, 'fence', lambda self: 'it is surely off')

    outcome = simulation.run(Schedule(mishaps=(Mishap(INSTALLED, Kind.PAUSE, 'mn1', 20.0),)))

    assert outcome.violation is not None
    assert outcome.violation.startswith('invariant 1 ')


def test_without_the_stop_before_a_hand_over_two_nodes_serve(
    simulation: Simulation, faultless: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The giver's reboot, which would end it anyhow, is lost.
    reboots = where(faultless, 'mn1: before: mn1 reboots')
    sound(simulation, Schedule(strikes=(Strike(reboots, Kind.KILL),)))
    monkeypatch.setattr(Ovcad, '_stand_down', lambda self: self.keeper.demoting(self.keeper.epoch))
    reboots = where(simulation.run(Schedule(), labels=True), 'mn1: before: mn1 reboots')

    outcome = simulation.run(Schedule(strikes=(Strike(reboots, Kind.KILL),)))

    assert outcome.violation is not None
    assert outcome.violation.startswith('invariant 1 ')


def test_without_the_check_of_the_epoch_a_master_of_yesterday_decides(
    simulation: Simulation, faultless: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It stands still between its look at the rows and its write, until the other one has the lease; its BMC is dead,
    # so that it cannot be powered off in time.
    begins = where(faultless, 'mn1: before: commit entry event update')
    schedule = Schedule(strikes=(Strike(begins, Kind.PAUSE, 14.0),), mishaps=(Mishap(0.0, Kind.BMC_DEAD, 'mn1', 30.0),))
    assert simulation.run(schedule).violation is None

    monkeypatch.setattr(Lease, 'fenced', no_check)
    outcome = simulation.run(schedule)

    assert outcome.violation is not None
    assert outcome.violation.startswith('invariant 2 ')


def test_two_pauses_at_one_point_come_one_after_the_other(simulation: Simulation, faultless: Outcome) -> None:
    begins = where(faultless, 'mn1: before: commit entry event update')
    strikes = (Strike(begins, Kind.PAUSE, 4.0), Strike(begins, Kind.PAUSE, 1.0))

    outcome = simulation.run(Schedule(strikes=strikes), trace=True)

    assert outcome.violation is None, str(outcome)
    assert [line[10:] for line in outcome.trace if 'pause' in line] == [f'** {strike}' for strike in strikes]


def test_a_node_that_stands_still_while_it_starts_its_roles_goes_on(simulation: Simulation) -> None:
    # Its watchdog wakes first, finds the lease stale, and waits to stop the roles; then the lease is renewed.
    outcome = simulation.run(simulation.drawn(244))

    assert outcome.violation is None


def test_without_the_guard_of_the_commit_point_the_wrong_node_passes_it(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A table that would let any leader commit, as the model's mutation has it: the transaction refuses it nevertheless.
    schedule = Schedule(mishaps=(Mishap(PROVING, Kind.POWER, 'mn2', 40.0),))
    monkeypatch.setattr(loop, 'rule_for', partial(rule_for, rules=COMMITS_ANYWHERE))
    monkeypatch.setattr(runs, 'LIMIT', 30.0)
    refused = simulation.run(schedule)
    assert refused.violation is not None  # it decides the same again and again, in vain
    assert refused.violation.startswith('invariant 12: 30 s after the last fault')

    monkeypatch.setattr(Changes, '_guard_commit', _commits)
    outcome = simulation.run(schedule)

    assert outcome.violation is not None
    assert outcome.violation.startswith('invariant 8')


def _commits(self: Changes, session: Any, update: Any) -> None:
    update.proven_at = self._database.now(session)


def test_without_the_heed_of_a_pause_the_next_stage_begins(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Schedule(mishaps=(Mishap(INSTALLED, Kind.PAUSED, 'mn1', 9.0),))
    waited = sound(simulation, schedule)
    assert waited.state == 'DONE'

    monkeypatch.setattr(directives, 'active', lambda *_: [])
    outcome = simulation.run(schedule)

    assert outcome.violation is not None
    assert outcome.violation.startswith('invariant 18 ')


def test_without_the_heed_of_a_hold_the_second_node_is_wiped(
    simulation: Simulation, faultless: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Schedule(held=faultless.seconds + 5)
    waited = sound(simulation, schedule)
    assert waited.state == 'DONE'
    assert waited.seconds > faultless.seconds + 5

    monkeypatch.setattr(directives, 'active', lambda *_: [])
    outcome = simulation.run(schedule)

    assert outcome.violation is not None
    assert outcome.violation.startswith('invariant 18 ')


def test_without_the_rule_who_may_lead_a_half_installed_node_takes_the_lease(
    simulation: Simulation, faultless: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All files are there, the token is not; and then the master is gone.
    half = where(faultless, 'mn2: before: rename mn2/root/var/lib/ovca/evidence.json')
    schedule = Schedule(strikes=(Strike(half, Kind.KILL),), mishaps=(Mishap(INSTALLED, Kind.POWER, 'mn1', 40.0),))
    assert simulation.run(schedule).violation is None

    monkeypatch.setattr(service, 'eligible', lambda *_: True)
    outcome = simulation.run(schedule)

    assert outcome.violation is not None
    assert outcome.violation.startswith('invariant 17 ')
    assert simulation.disks.images[NEW].digest != faultless.state
