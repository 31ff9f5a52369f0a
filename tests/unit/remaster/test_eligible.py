"""Who may lead, by what is on its disk."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ovca.db.engine import Database
from ovca.db.models import Entry, InstallGrant, Node, Update
from ovca.remaster.eligible import eligible, why_not
from ovca.testing import tables


@pytest.mark.parametrize(('wiped_after', 'expected'), [(-60, True), (60, False)])
def test_a_proof_counts_until_the_node_is_wiped_again(tmp_path: Path, wiped_after: int, expected: bool) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    with database.write() as session:
        now = database.now(session) - dt.timedelta(hours=1)
        session.add(
            Update(
                id=1, state='INSTALL_1', revision=1, version='2', digest='new', old_digest='old', first='mn2',
                second='mn1', created_at=now, state_since=now, deadline_from=now, handovers=0,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Entry(
                update_id=1, node='mn2', version='2', digest='new', created_at=now, attempt=1, step='final',
                step_at=now, power_orders=0, final_at=now, final_attempt=1, final_digest='new',
            )
        )  # fmt: skip
        session.add(
            InstallGrant(
                update_id=1, node='mn2', attempt=1, epoch=1, digest='new', salt='s', issued_at=now, expires_at=now,
                consumed_at=now + dt.timedelta(seconds=wiped_after),
            )
        )  # fmt: skip

    with database.read() as session:
        may = eligible(session, 'mn2', 'new')
        old_software = eligible(session, 'mn2', 'old')
        unknown = eligible(session, 'mn2', None)
    database.dispose()

    assert (may, old_software, unknown) == (expected, True, False)


@pytest.mark.parametrize('state', ['REQUESTED', 'INSTALL_2', 'ABORTED'])
def test_a_node_that_was_never_wiped_keeps_its_right_to_lead_when_it_is_to_be_installed_again(
    tmp_path: Path, state: str
) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    with database.write() as session:
        now = database.now(session)
        session.add(
            Update(
                id=1, state=state, revision=1, version='1', digest='factory', first='mn1', second='mn2', proven_at=now,
                created_at=now, state_since=now, deadline_from=now, handovers=0,
                finished_at=now if state == 'ABORTED' else None,
            )
        )  # fmt: skip

    with database.read() as session:
        before = eligible(session, 'mn2', 'factory')
    with database.write() as session:
        now = database.now(session)
        session.add(
            InstallGrant(
                update_id=1, node='mn2', attempt=1, epoch=1, digest='factory', salt='s', issued_at=now, expires_at=now,
                consumed_at=now,
            )
        )  # fmt: skip
    with database.write() as session:
        session.add(Node(name='mn2', running_digest='factory', running_version='1'))
    with database.read() as session:
        wiped = eligible(session, 'mn2', 'factory')
        why = why_not(session, 'mn2')
    database.dispose()

    assert (before, wiped) == (True, False)
    assert why is not None and why.endswith('whole; put the database back from a backup: then either node may lead')
