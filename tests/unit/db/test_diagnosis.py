from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from ovca.db import schema
from ovca.db.diagnosis import diagnose
from ovca.db.engine import Database
from ovca.db.models import Event
from tests.unit.db.test_schema import newer, pretend

DISK = {'fsync': 'off', 'full_page_writes': 'off'}  # as the tests' server has it


def test_a_good_database_has_no_problems_but_a_server_that_may_forget(database: Database) -> None:
    found = diagnose(database)

    assert (found.reachable, found.compatible, found.revision, found.head) == (True, True, schema.head(), schema.head())
    assert found.latency_ms is not None and found.latency_ms > 0
    assert found.clock_offset_seconds is not None and abs(found.clock_offset_seconds) < 5
    assert (found.missing_tables, found.missing_columns) == ((), ())
    if found.engine == 'sqlite':
        assert (found.integrity['quick_check'], found.integrity['journal_mode']) == (['ok'], 'wal')
        assert found.problems == ()
    else:
        assert found.integrity['idle_in_transaction_session_timeout_seconds'] == 2
        assert found.integrity['lock_timeout_seconds'] == 1
        assert [problem.split(' ', 1)[0] for problem in found.problems] == list(DISK)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    database = Database(f'sqlite:///{tmp_path / "none.sqlite"}')

    found = diagnose(database)

    assert (found.reachable, found.revision) == (False, None)
    assert 'does not exist; `ovca db-upgrade` makes it' in found.problems[0]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_named_once(database_url: str) -> None:
    database = Database(database_url)
    with database.write():
        pass

    found = diagnose(database)

    assert (found.reachable, found.revision, found.compatible) == (True, None, False)
    assert 'lease' in found.missing_tables
    assert len([problem for problem in found.problems if 'is empty' in problem or 'lacks' in problem]) == 1
    database.dispose()


def test_what_somebody_took_out_by_hand_is_named(database: Database) -> None:
    with database.write() as session:
        session.execute(text('DROP TABLE event'))
        session.execute(text('ALTER TABLE node DROP COLUMN quarantine_reason'))

    found = diagnose(database)

    assert (found.missing_tables, found.missing_columns) == (('event',), ('node.quarantine_reason',))
    assert any('lacks event, node.quarantine_reason' in problem for problem in found.problems)


def test_a_schema_that_is_too_far_away_is_a_problem(database: Database, tmp_path: Path) -> None:
    found = diagnose(database, newer(tmp_path, 2))

    assert found.compatible is False
    assert any('too new' in problem for problem in found.problems)


def test_the_tables_of_another_program_are_a_problem(database: Database) -> None:
    pretend(database, 'ae1027a6acf')

    found = diagnose(database)

    assert found.reachable
    assert any('not a schema revision' in problem for problem in found.problems)


def test_a_damaged_file_is_found(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    schema.prepare(database)
    with database.write() as session:
        at = database.now(session)
        session.add_all(Event(at=at, actor='mn1', kind='x', detail='y' * 200) for _ in range(500))
    database.dispose()
    assert database.file is not None
    with database.file.open('r+b') as stream:
        stream.seek(-20 * 4096, 2)
        stream.write(b'\xff' * 4096)

    found = diagnose(database)

    assert any('damaged' in problem or 'malformed' in problem for problem in found.problems)
    database.dispose()


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / 'x').write_text('no database at all' * 100)
    database = Database(f'sqlite:///{tmp_path / "x"}')

    found = diagnose(database)

    assert not found.reachable
    assert 'not a database' in found.problems[0]


@pytest.mark.extra('postgresql')
def test_a_server_that_is_away_is_a_problem_without_the_password() -> None:
    database = Database('postgresql://ovca:geheim@127.0.0.1:9/ovca', connect_timeout=2)

    found = diagnose(database)

    assert (found.engine, found.reachable, found.latency_ms) == ('postgresql', False, None)
    assert len(found.problems) == 1
    assert 'geheim' not in repr(found)


@pytest.mark.parametrize('offset', [-31, 31])
def test_clocks_that_differ_are_a_problem(database: Database, monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    import datetime as dt

    whole = database.now
    monkeypatch.setattr(database, 'now', lambda session: whole(session) + dt.timedelta(seconds=offset))

    found = diagnose(database)

    assert any(('ahead of' if offset > 0 else 'behind') in problem for problem in found.problems)
