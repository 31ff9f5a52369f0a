from __future__ import annotations

from pathlib import Path

import pytest

from ovca import testing
from ovca.db import schema
from ovca.db.engine import Database
from tests.operated import Operated
from tests.unit.cli.test_commands import asked, run
from tests.unit.db.test_schema import pretend


@pytest.fixture
def fresh(tmp_path: Path, database_url: str) -> Path:
    """A configuration whose database is empty."""
    path = tmp_path / 'ovca.conf'
    path.write_text(f'[database]\nconnection = {database_url}\n')
    return path


@pytest.mark.parametrize('here', ['mn1', 'mn2'])
def test_a_good_database_passes_on_both_nodes(operated: Operated, here: str) -> None:
    operated.configure(here)

    result = run(operated, 'db-check', '-f', 'json')

    assert (result.code, result.err) == (0, '')
    facts = result.json
    assert list(facts) == [
        'engine', 'database', 'head', 'reachable', 'revision', 'compatible', 'latency_ms', 'clock_offset_seconds',
        'missing_tables', 'missing_columns', 'integrity', 'problems',
    ]  # fmt: skip
    assert (facts['engine'], facts['revision'], facts['problems']) == ('sqlite', schema.head(), [])


@pytest.mark.parametrize('formatter', ['json', 'yaml', 'value', 'table', 'csv'])
def test_what_is_wrong_is_shown_in_each_format_with_status_9(operated: Operated, formatter: str) -> None:
    pretend(operated.database, '0007')

    result = run(operated, 'db-check', '-f', formatter)

    assert result.code == 9
    assert '0007' in result.out
    assert 'this ovca is too old for it' in result.err
    assert result.err.endswith('[database-problems]\n')


@pytest.mark.extra('postgresql')
def test_a_database_that_is_away_is_said_in_the_record_and_on_the_error_stream(operated: Operated) -> None:
    url = 'postgresql://ovca:geheim@127.0.0.1:9/ovca'

    result = testing.run(
        ['--set', f'database.connection={url}', '--set', 'database.connect_timeout=2', 'db-check', '-f', 'json'],
        config_file=operated.config_file,
    )

    assert result.code == 9
    assert (result.json['reachable'], result.json['revision']) == (False, None)
    assert 'geheim' not in result.out + result.err


def test_an_empty_database_is_filled_once(fresh: Path, database_url: str) -> None:
    first = testing.run(['db-upgrade', '--yes'], config_file=fresh)
    again = testing.run(['db-upgrade'], config_file=fresh)

    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert 'is empty; it gets the tables of revision' in first.err
    assert first.out.endswith(f'has revision {schema.head()}\n')
    assert again.out.endswith(f'has revision {schema.head()}; nothing is to be done\n')
    assert again.err == ''
    database = Database(database_url)
    assert schema.current(database) == schema.head()
    database.dispose()


def test_without_a_terminal_the_tables_are_not_made(fresh: Path, database_url: str) -> None:
    result = testing.run(['db-upgrade'], config_file=fresh)

    assert (result.code, result.out) == (6, '')
    assert '[no-terminal]' in result.err
    database = Database(database_url)
    assert schema.current(database) is None
    database.dispose()


def test_the_answer_no_leaves_the_database_alone(operated: Operated, tmp_path: Path) -> None:
    operated.url = f'sqlite:///{tmp_path / "other.sqlite"}'
    operated.configure('mn1')

    no, yes = asked(operated, 'n', 'db-upgrade'), asked(operated, 'y', 'db-upgrade')

    assert (no.code, yes.code) == (6, 0), yes.err
    assert f'Bring the database to revision {schema.head()}? [y/N]' in no.err


def test_a_schema_of_newer_software_is_refused(operated: Operated) -> None:
    pretend(operated.database, '0007')

    result = run(operated, 'db-upgrade', '--yes')

    assert result.code == 9
    assert result.err.endswith('[schema-too-new]\n')


@pytest.mark.parametrize('command', ['node-list', 'image-list', 'event-list', 'check'])
def test_a_command_that_reads_makes_no_database(tmp_path: Path, command: str) -> None:
    folder, config_file = tmp_path / 'database', tmp_path / 'ovca.conf'
    folder.mkdir()
    config_file.write_text(f'[cluster]\nnode_name = mn1\n[database]\nconnection = sqlite:///{folder}/ovca.sqlite\n')

    result = testing.run([command, '-f', 'json'], config_file=config_file)

    assert result.code == (6 if command == 'check' else 9)
    assert 'there is no database yet' in result.out + result.err
    assert list(folder.iterdir()) == []
