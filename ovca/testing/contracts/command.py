"""The contract of ``ovca.cli``."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ovca.cli.options import RESERVED
from ovca.exceptions import OvcaError
from ovca.testing.appliance import Config, open_database
from ovca.testing.commands import Result, run
from ovca.testing.contracts.base import Contract

__all__ = ['CommandContract', 'TableContract']

SHELL = ('>', '>>', '<', '|', '&&', ';')
"""What ends the command in an example: the rest is the shell's."""
SNAKE_CASE = re.compile(r'[a-z][a-z0-9]*(_[a-z0-9]+)*')


class CommandContract(Contract):
    """A command; :attr:`name` is what the operator types. It is run on an appliance of two nodes that are rows."""

    group = 'ovca.cli'
    arguments: Sequence[str] = ()
    """The words behind the command, for a run that succeeds."""

    @pytest.fixture(autouse=True)
    def _an_appliance(self, tmp_path: Path) -> None:
        self.config = Config(tmp_path / 'appliance')
        self._filled = False

    def config_file(self) -> str | os.PathLike[str]:
        """The configuration that the command is run with; by default ``self.config``, and its database is filled.

        A command that needs an option or a file sets it here and leaves the rest to the base::

            def config_file(self):
                config = super().config_file()
                self.config.set('rack', file=self.rack_file)
                return config

        What replaces this method without calling the base's has a database that is not there yet. ``self.config`` is
        made anew for each test. The fixture ``ovca_config`` would write the same file, so use one of the two in a test.
        """
        if not self._filled:
            open_database(self.config.load()).dispose()
            self._filled = True
        return self.config

    def make_arguments(self) -> Sequence[str]:
        """Return the words behind the command, for a run that succeeds; by default :attr:`arguments`."""
        return self.arguments

    def run(self, *words: str) -> Result:
        """Run the command with more words."""
        return run([self.name, *words], config_file=self.config_file())

    def parser(self) -> argparse.ArgumentParser:
        """The command's parser, as the application makes it."""
        from ovca.cli.app import OvcaApp

        app = OvcaApp(stdin=io.StringIO(), stdout=io.StringIO(), stderr=io.StringIO())
        app.options = app.parser.parse_args([])
        return app.command([self.name])[1]

    def test_its_help_shows_the_promise_and_an_example(self) -> None:
        """``--help`` works without a configuration and says on stdout what the command does, and shows a use of it."""
        promise = (self.loaded().__doc__ or '').strip().split('\n')[0]
        assert promise, f'{self.name} has no docstring; its first line is what ovca says of the command'

        result = run([self.name, '--help'])

        assert (result.code, result.err) == (0, ''), f'--help ends with {result.code}: {result.err}'
        flat = ' '.join(result.out.split())
        assert ' '.join(promise.split()) in flat, f'--help does not show the promise, {promise!r}'
        assert f'ovca {self.name}' in self._example(), f'the docstring has no line "Example: ovca {self.name} ..."'
        assert self._example() in result.out, '--help does not show the example on a line of its own'

    def test_its_example_is_understood(self) -> None:
        """The example of the help is a command line that the command takes."""
        words = list(itertools.takewhile(lambda word: word not in SHELL, shlex.split(self._example())))
        assert words[:2] == ['ovca', self.name], f'the example is {self._example()!r}; write "ovca {self.name} ..."'
        try:
            self.parser().parse_args(words[2:])
        except (OvcaError, SystemExit) as exc:
            raise AssertionError(f'the command does not take its own example: {self._example()}') from exc

    def test_it_has_no_option_that_is_a_global_one(self) -> None:
        """No option is one of ovca's or cliff's own, nor the beginning of one: there it would be taken for it."""
        for option in self._options():
            taken = [name for name in RESERVED if name.startswith(option)]
            assert not taken, f'{option} is, or is the beginning of, the global {taken[0]}; give it another name'

    def test_each_argument_is_explained(self) -> None:
        """Every argument has a help text; an option has a long name with dashes; a value is shown as <value>."""
        for action in self._actions():
            shown = '/'.join(action.option_strings) or action.dest
            assert action.help, f'{shown} has no help'
            if action.option_strings:
                assert any(o.startswith('--') for o in action.option_strings), f'{shown} has no long name'
                assert not any('_' in o for o in action.option_strings), f'{shown}: write a dash for the underscore'
            if action.nargs != 0 and action.choices is None:
                metavar = action.metavar if isinstance(action.metavar, str) else ' '.join(action.metavar or ())
                assert metavar.startswith('<'), f'{shown} shows its value as {action.metavar!r}; write <value>'

    def test_a_wrong_option_is_told_on_stderr(self) -> None:
        """A command line that it does not understand ends with 2, and nothing is on stdout."""
        result = run([self.name, *self.make_arguments(), '--no-such-option-anywhere'])
        assert (result.code, result.out) == (2, ''), f'a wrong option ends with {result.code}, stdout: {result.out!r}'
        assert result.err, 'a wrong option ends without a word'

    def _example(self) -> str:
        lines = [line.strip() for line in (self.loaded().__doc__ or '').splitlines()]
        return next((line.removeprefix('Example: ') for line in lines if line.startswith('Example: ')), '')

    def _actions(self) -> list[argparse.Action]:
        """The arguments that the command has of its own, without those of every table and record."""
        from ovca.cli import base

        loaded = self.loaded()
        inherited: set[str] = set()
        for kind in (base.Lister, base.ShowOne):
            if issubclass(loaded, kind):
                bare = type('Bare', (kind,), {'take_action': lambda *_: None})(None, None)
                inherited |= {option for action in bare.get_parser('x')._actions for option in action.option_strings}
        own = [action for action in self.parser()._actions if not isinstance(action, argparse._HelpAction)]
        return [action for action in own if not (action.option_strings and {*action.option_strings} <= inherited)]

    def _options(self) -> list[str]:
        return [option for action in self._actions() for option in action.option_strings]


class TableContract(CommandContract):
    """A command that returns a table or a record."""

    exit_codes: Sequence[int] = (0,)
    """What the run may end with."""

    def data(self, form: str) -> str:
        """What the command writes in one format."""
        result = self.run(*self.make_arguments(), '-f', form)
        assert result.code in self.exit_codes, f'-f {form} ends with {result.code}: {result.err}'
        return result.out

    def records(self) -> list[dict[str, Any]]:
        """The data, from ``-f json``: nothing but data is on stdout."""
        text = self.data('json')
        try:
            found = json.loads(text)
        except ValueError as exc:
            raise AssertionError(f'with -f json, stdout holds something else than JSON: {text[:500]!r}') from exc
        return found if isinstance(found, list) else [found]

    def test_columns_are_in_snake_case(self) -> None:
        """Columns are the keys of the JSON and have the form of names."""
        records = self.records()
        assert records, 'the table is empty; run the command on a world in which it has something to say'
        for name in records[0]:
            assert SNAKE_CASE.fullmatch(name), f'the column {name!r} is not in snake_case'

    def test_all_formats_carry_the_same(self) -> None:
        """YAML holds the values of the JSON, CSV and the bare values hold them as text."""
        import yaml

        before = self.records()
        loaded = yaml.safe_load(self.data('yaml'))
        header, *lines = csv.reader(io.StringIO(self.data('csv')))
        values = self.data('value')
        after = self.records()

        in_yaml = loaded if isinstance(loaded, list) else [loaded]
        assert len(before) == len(in_yaml) == len(lines), 'json, yaml and csv have different numbers of rows'
        assert header == list(before[0]), f'the columns of -f csv are {header}'
        for old, new, third, line in zip(before, after, in_yaml, lines, strict=True):
            for (name, value), cell in zip(old.items(), line, strict=True):
                if json.dumps(value) != json.dumps(new.get(name)) or isinstance(value, float):
                    continue  # a measurement, or an age: it is another one in each run
                assert third.get(name) == value, f'-f yaml says {third.get(name)!r} of {name}, -f json {value!r}'
                if _is_structure(value):
                    continue
                assert _carries(cell, value), f'-f csv says {cell!r} of {name}, -f json {value!r}'
                assert _carries(values, value, within=True), f'-f value does not say {value!r}, the {name}'

    def test_the_table_for_people_has_the_same_columns(self) -> None:
        """Without ``-f`` there is a table of these columns, or of some of them, and nothing before it on stdout."""
        result = self.run(*self.make_arguments(), '--max-width', '0')
        assert result.code in self.exit_codes, f'it ends with {result.code}: {result.err}'
        # Rules and frames are the format's; the first line of text holds the columns.
        lines = [line.replace('|', ' ').split() for line in result.out.splitlines() if line.strip('+-|=─ ')]
        assert lines, 'nothing is on stdout'
        head = [line[0] for line in lines[1:]] if lines[0] == ['field', 'value'] else lines[0]
        names = set(self.records()[0])
        assert names & set(head), f'the table has none of the columns {", ".join(names)}: {result.out}'
        if lines[0] != ['field', 'value']:  # a record's values may go over several lines, which begin anyhow
            assert set(head) <= names, f'the first line holds something else than columns: {" ".join(head)}'


def _is_structure(value: Any) -> bool:
    """Whether a value has parts with names of their own."""
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_is_structure, value)))


def _carries(text: str, value: Any, *, within: bool = False) -> bool:
    """Whether a text holds a value: as the whole, or ``within`` others."""
    if isinstance(value, list):
        return all(_carries(text, each, within=True) for each in value)
    if isinstance(value, str):
        words = {value}
    else:
        words = {'' if value is None and not within else json.dumps(value), *([''] if value is None else [])}
    return any(word in text for word in words) if within else text in words
