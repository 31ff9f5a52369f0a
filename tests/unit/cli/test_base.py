from __future__ import annotations

import datetime as dt
import enum
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from ovca import testing
from ovca.cli import base
from ovca.exceptions import Refused

Install = Callable[..., None]
SHOWS = """
import datetime as dt, enum, pathlib
from ovca.cli import base

class State(enum.Enum):
    DONE = 'done'

ROW = (
    dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    State.DONE, ['a', 'b'], None, True, pathlib.Path('/x'), 'red\\x1b[31m', 7,
)
NAMES = ('time', 'state', 'list', 'none', 'bool', 'path', 'text', 'number')

class Table(base.Lister):
    \"\"\"List.\"\"\"
    def take_action(self, parsed_args):
        self.exit_code = 6
        return NAMES, [ROW, ROW]

class One(base.ShowOne):
    \"\"\"Show.\"\"\"
    def take_action(self, parsed_args):
        return NAMES, ROW
"""
AS_JSON = {
    'time': '2026-01-02T02:04:05Z',
    'state': 'done',
    'list': ['a', 'b'],
    'none': None,
    'bool': True,
    'path': '/x',
    'text': 'red\x1b[31m',
    'number': 7,
}


@pytest.fixture(autouse=True)
def commands(install: Install) -> None:
    install('shows', {'ovca.cli': {'table': 'showsmod:Table', 'one': 'showsmod:One'}}, showsmod=SHOWS)


def test_every_value_can_be_shown_as_json() -> None:
    assert testing.run(['table', '-f', 'json']).json == [AS_JSON, AS_JSON]
    assert testing.run(['one', '-f', 'json']).json == AS_JSON


def test_a_table_is_for_people_and_does_not_steer_their_terminal() -> None:
    result = testing.run(['one', '-c', 'list', '-c', 'none', '-c', 'bool', '-c', 'text'])

    assert 'a, b\n' in result.out
    assert 'None' not in result.out
    assert 'yes\n' in result.out
    assert 'red\\x1b[31m' in result.out


def test_a_listing_command_can_set_the_exit_status() -> None:
    assert testing.run(['table', '-f', 'json']).code == 6


def test_a_column_that_is_not_there_is_named() -> None:
    result = testing.run(['one', '-c', 'time', '-c', 'colour'])

    assert (result.code, result.out) == (2, '')
    assert result.err.startswith('ovca: there is no column colour; the columns are time, state,')


def test_a_time_without_a_zone_is_utc() -> None:
    assert base.plain(dt.datetime(2026, 1, 2, 3, 4, 5)) == '2026-01-02T03:04:05Z'


def test_enums_within_other_values_are_words() -> None:
    kind = enum.Enum('kind', {'A': 'a'})

    assert base.plain({'x': [kind.A, (kind.A,)]}) == {'x': ['a', ['a']]}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class App:
    def __init__(self, stdin: io.StringIO) -> None:
        self.stdin, self.stdout, self.stderr = stdin, io.StringIO(), io.StringIO()


def command(stdin: io.StringIO) -> base.Command:
    class Nothing(base.Command):
        def __init__(self) -> None:
            self.app = App(stdin)

        def take_action(self, parsed_args: object) -> None:
            """Nothing."""

    return Nothing()


def test_nothing_is_asked_with_yes() -> None:
    asked = command(io.StringIO())

    asked.confirm('Wipe?', yes=True)

    assert asked.app.stdout.getvalue() == ''


def test_without_a_terminal_the_answer_is_no(tmp_path: Path) -> None:
    with pytest.raises(Refused, match='Repeat the command with --yes'):
        command(io.StringIO('y\n')).confirm('Wipe?', yes=False)


@pytest.mark.parametrize('answer', ['n\n', '\n', '', 'yess\n'])
def test_anything_but_yes_is_no(answer: str) -> None:
    with pytest.raises(Refused, match='nothing was done'):
        command(Terminal(answer)).confirm('Wipe?', yes=False)


@pytest.mark.parametrize('answer', ['y\n', 'YES\n'])
def test_yes_is_yes(answer: str) -> None:
    asked = command(Terminal(answer))

    asked.confirm('Wipe?', yes=False)

    assert (asked.app.stdout.getvalue(), asked.app.stderr.getvalue()) == ('', 'Wipe? [y/N] ')
