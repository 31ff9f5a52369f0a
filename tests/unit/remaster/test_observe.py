"""What the acting master makes of the rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ovca.db.engine import Database
from ovca.db.models import Entry, Node, Update
from ovca.remaster.observe import Limits, fresh, observe
from ovca.remaster.protocol import Act, Health, Verdict, decide
from ovca.testing import tables

LIMITS = Limits(
    soak=1, prove_soak=60, install_deadline=600, verify_deadline=600, prove_deadline=600, rollback_deadline=600,
    attempts=2, grant_ttl=60, order_interval=5, ready_age=5, unhealthy_limit=30,
    alarm_percent=50, power_orders=20, hand_overs=6,
)  # fmt: skip


@pytest.mark.parametrize(('age', 'expected'), [(0, True), (5, True), (6, False), (-5, True), (-6, False)])
def test_a_row_of_before_the_clock_was_put_back_says_nothing_of_now(age: int, expected: bool) -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    row = Node(name='second', epoch_seen=2, last_seen_at=now - dt.timedelta(seconds=age))

    assert fresh(row, 2, LIMITS, now) is expected


@pytest.mark.parametrize(
    ('role', 'epoch_seen', 'since', 'expected'),
    [
        ('standby', 1, 3600, Health.PENDING),
        ('standby', 2, 3600, Health.PENDING),
        ('master', 1, 3600, Health.PENDING),
        ('master', 2, 10, Health.PENDING),
        ('master', 2, 61, Health.SOAKED),
    ],
)
def test_only_the_time_as_master_in_this_epoch_proves_the_new_software(
    tmp_path: Path, role: str, epoch_seen: int, since: int, expected: Health
) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    with database.write() as session:
        now = database.now(session)
        for name in ('first', 'second'):
            session.add(
                Node(
                    name=name, kind='management', running_digest='new', role=role, epoch_seen=epoch_seen,
                    health='healthy', healthy_since=now - dt.timedelta(seconds=since), ready=True, last_seen_at=now,
                    power_orders=0, quarantined=False,
                )
            )  # fmt: skip
        session.add(
            Update(
                id=1, state='PROVING', revision=1, version='2', digest='new', old_digest='old', first='first',
                second='second', created_at=now, state_since=now, deadline_from=now, handovers=1,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Entry(
                update_id=1, node='first', version='2', digest='new', created_at=now, attempt=1, step='final',
                step_at=now, power_orders=1, final_at=now, final_attempt=1, final_digest='new',
            )
        )  # fmt: skip

    with database.read() as session:
        seen = observe(session, me='first', epoch=2, running_digest='new', limits=LIMITS)
        seen = seen and seen.judged(checks=Verdict.PENDING, stage_checks=Verdict.PASSED, rehashed=Verdict.PENDING)
    database.dispose()

    assert seen is not None
    assert seen.situation.leader_health is expected
    assert (decide(seen.situation).act is Act.MOVE) is (expected is Health.SOAKED)
