"""The checks of the rows."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import text

from ovca.db.models import Lease, Node, Operation, Update
from ovca.remaster.checks import Result

from .conftest import Checked


def test_two_healthy_nodes_pass_with_what_is_known_of_them(checked: Checked) -> None:
    found = checked.check('nodes')

    assert (found.result, found.facts['mn2']['version'], found.facts['mn2']['health']) == ('passed', '1.0.0', 'healthy')


def test_a_node_that_is_silent_fails_and_a_retry_passes_over_it(checked: Checked) -> None:
    with checked.database.write() as session:
        session.get_one(Node, 'mn2').last_seen_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    assert 'mn2 was last seen 2026-01-01T00:00:00Z' in checked.check('nodes').detail
    assert checked.check('nodes').result is Result.FAILED
    assert checked.check('nodes', retry=True).result is Result.SKIPPED


def test_nodes_on_two_versions_fail(checked: Checked) -> None:
    with checked.database.write() as session:
        node = session.get_one(Node, 'mn2')
        node.running_version, node.running_digest = '1.1.0', 'b' * 64

    found = checked.check('nodes')

    assert (found.result, 'the nodes run 1.0.0 and 1.1.0' in found.detail) == ('failed', True)
    assert found.remedy == 'give mn2 what mn1 runs: `ovca node-reinstall mn2`'  # there is nothing to retry

    with checked.database.write() as session:
        row = _update(checked.database.now(session))
        row.state, row.finished_at = 'FAILED_DEGRADED', row.created_at
        session.add(row)
    assert 'update-retry' in checked.check('nodes').remedy
    with checked.database.write() as session:
        session.get_one(Update, 1).state = 'ABORTED'
    assert 'update-retry' not in checked.check('nodes').remedy
    with checked.database.write() as session:
        row = session.get_one(Update, 1)
        row.state, row.finished_at = 'INSTALL_1', None

    found = checked.check('nodes')
    assert (found.result, 'update-retry' in found.remedy, 'ovca update-watch' in found.remedy) == (
        'failed',
        False,
        True,
    )


def test_the_lease_tells_who_holds_it_and_an_open_update_fails(checked: Checked) -> None:
    assert checked.check('lease').facts == {'holder': 'mn1', 'epoch': 1, 'acting': True, 'open_update': None}

    with checked.database.write() as session:
        session.add(_update(checked.database.now(session)))

    found = checked.check('lease')
    assert (found.result, found.facts['open_update']) == ('failed', 1)


def test_without_an_acting_master_the_lease_fails(checked: Checked) -> None:
    with checked.database.write() as session:
        session.get_one(Lease, 'management').acting = False

    assert checked.check('lease').result is Result.FAILED


def test_another_operation_fails_with_who_since_when_and_why(checked: Checked) -> None:
    assert checked.check('operation').result is Result.PASSED

    with checked.database.write() as session:
        session.add(
            Operation(
                name='backup',
                owner='otto',
                node='mn2',
                boot_id='x',
                pid=1,
                why='before the move',
                taken_at=dt.datetime(2026, 11, 25, 10, tzinfo=dt.UTC),
            )
        )

    found = checked.check('operation')
    assert found.result is Result.FAILED
    assert found.detail == 'backup by otto on mn2 since 2026-11-25T10:00:00Z (before the move)'
    assert found.facts['operations'][0]['owner'] == 'otto'


def test_the_schema_of_older_software_notes_no_operations(checked: Checked) -> None:
    with checked.database.write() as session:
        session.execute(text('DROP TABLE operation'))

    found = checked.check('operation')

    assert (found.result, 'older software' in found.detail) == ('skipped', True)


def _update(now: dt.datetime) -> Update:
    return Update(
        state='INSTALL_1',
        version='1.1.0',
        digest='b' * 64,
        first='mn2',
        second='mn1',
        created_at=now,
        state_since=now,
        deadline_from=now,
        handovers=0,
    )
