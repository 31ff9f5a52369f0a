"""What `ovca help` says of each command: a promise, and an example that works."""

from __future__ import annotations

import argparse
import io
import re
import shlex

import pytest

from ovca import plugins, testing
from ovca.cli import options
from ovca.cli.app import OvcaApp

COMMANDS = sorted(name for name, found in plugins.chosen('ovca.cli').items() if found.core)
PROMISE = re.compile(r'[A-Z].*\.')


@pytest.fixture
def app() -> OvcaApp:
    app = OvcaApp(stdin=io.StringIO(), stdout=io.StringIO(), stderr=io.StringIO())
    app.options = app.parser.parse_args([])
    return app


def examples(parser: argparse.ArgumentParser) -> list[str]:
    return re.findall(r'^ *Example: (.+)$', parser.description or '', re.MULTILINE)


@pytest.mark.parametrize('name', [*COMMANDS, 'help'])
def test_a_command_promises_what_it_does_in_one_sentence(app: OvcaApp, name: str) -> None:
    command, parser, _ = app.command([name])

    first = (parser.description or '').strip().split('\n')[0]

    assert PROMISE.fullmatch(first), first
    assert first == (type(command).__doc__ or '').strip().split('\n')[0]


@pytest.mark.parametrize('name', [*COMMANDS, 'help'])
def test_the_example_of_a_command_can_be_typed(app: OvcaApp, name: str) -> None:
    parser = app.command([name])[1]

    (example,) = examples(parser)

    ovca, *words = shlex.split(example.partition('>')[0].partition('|')[0])
    assert ovca == 'ovca'
    parsed = options.parser().parse_args(words)
    assert parsed.words[0] == name
    parser.parse_args(parsed.words[1:])  # raises when a word is wrong


@pytest.mark.parametrize('name', COMMANDS)
def test_the_help_shows_promise_example_and_options(name: str) -> None:
    result = testing.run(['help', name])

    assert result.code == 0
    assert f'usage: ovca {name}' in result.out
    assert f'Example:\n  ovca {name}' in result.out
    assert result.err == ''


@pytest.mark.parametrize('name', COMMANDS)
def test_every_argument_is_explained(app: OvcaApp, name: str) -> None:
    parser = app.command([name])[1]

    unexplained = [action.dest for action in parser._actions if not action.help]

    assert unexplained == []


@pytest.mark.parametrize('name', COMMANDS)
def test_the_value_of_an_option_has_a_name_in_angle_brackets(app: OvcaApp, name: str) -> None:
    parser = app.command([name])[1]

    bare = [
        action.dest
        for action in parser._actions
        if action.nargs != 0 and not re.fullmatch(r'<[^<>]+>', str(action.metavar)) and action.choices is None
    ]

    assert bare == []


@pytest.mark.parametrize(
    ('topic', 'said'),
    [
        ('secret-file-opened', 'did you mean secret-file-open or secret-file?'),
        ('schema-too', 'did you mean schema-too-new or schema-too-old?'),
        ('xyzzy', 'see `ovca help` for all of them'),
    ],
)
def test_an_id_without_a_page_is_answered_with_the_nearest_one(topic: str, said: str) -> None:
    result = testing.run(['help', topic])

    assert (result.code, result.out) == (2, '')
    assert result.err == f'ovca: {topic!r} is neither a command nor the id of an error; {said} [no-command]\n'
