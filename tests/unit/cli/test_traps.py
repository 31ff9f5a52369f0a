"""What cliff, stevedore and oslo.config do as they come, and ovca does not; each met in practice.

The others of their kind have their tests beside what they are about: abbreviations, hooks, broken plugins and clashes
in ``test_app.py``, imports in ``test_startup.py``, formats in ``test_output.py``, the shell in ``test_shell.py``.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cliff import command as cliff_command

from ovca import plugins, testing

Install = Callable[..., None]
HELLO = """
from ovca.cli import base

class Hello(base.Command):
    \"\"\"{promise}\"\"\"

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--log', default='-')
        parser.add_argument('--versions', action='store_true')
        return parser

    def take_action(self, parsed_args):
        self.app.stdout.write(f'{version} {{parsed_args.log}} {{parsed_args.versions}}\\n')
"""


def hello(promise: str = 'Greet.', version: str = '1') -> str:
    return HELLO.format(promise=promise, version=version)


def test_a_command_s_option_is_not_taken_for_the_beginning_of_a_global_one(install: Install) -> None:
    install('greeter', {'ovca.cli': {'hello': 'hellomod:Hello'}}, hellomod=hello())

    assert testing.run(['hello', '--log', 'x', '--versions']).out == '1 x True\n'


def test_help_does_not_look_through_the_files_of_every_package(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> dict[str, str]:
        raise AssertionError('the files of all packages were read')

    install('greeter', {'ovca.cli': {'hello': 'hellomod:Hello'}}, hellomod=hello())
    monkeypatch.setattr(cliff_command, '_get_distributions_by_modules', never)

    assert testing.run(['help', 'hello']).code == 0
    assert testing.run(['help', 'plugin-list']).code == 0


def test_a_package_that_is_installed_again_a_moment_later_is_seen_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    testing.write_distribution(tmp_path, 'greeter', {'ovca.power': {'one': 'x:X'}}, version='1.0')
    importlib.invalidate_caches()
    before = [(e.name, e.version) for e in plugins.extensions('ovca.power') if not e.core]

    shutil.rmtree(tmp_path / 'greeter-1.0.dist-info')
    testing.write_distribution(tmp_path, 'greeter', {'ovca.power': {'two': 'x:X'}}, version='1.1')
    after = [(e.name, e.version) for e in plugins.extensions('ovca.power') if not e.core]

    assert (before, after) == ([('one', '1.0')], [('two', '1.1')])


def test_clashes_are_found_wherever_they_stand(install: Install) -> None:
    for package in ('ccc', 'aaa', 'bbb'):
        install(package, {'ovca.power': {'same': f'{package}mod:X', package: f'{package}mod:X'}})

    assert [(loser.package, winner.package) for loser, winner in plugins.clashes('ovca.power')] == [
        ('bbb', 'aaa'),
        ('ccc', 'aaa'),
    ]


def test_the_package_of_an_extension_is_known_after_it_was_listed_before(install: Install) -> None:
    install('greeter', {'ovca.cli': {'hello': 'hellomod:Hello'}}, hellomod=hello())
    testing.run(['plugin-list'])

    found = {row['name']: row for row in testing.run(['plugin-list', '--group', 'ovca.cli', '-f', 'json']).json}

    assert (found['hello']['package'], found['hello']['version']) == ('greeter', '1.0')


def test_no_home_directory_and_no_environment_variable_changes_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config_file: Path
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('OS_CLUSTER__TTL', '77')
    for name in ('.ovca/ovca.conf', 'ovca.conf.d/x.conf', '.ovca.conf'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('[cluster]\nttl = 78\n')

    result = testing.run(['config-show', 'cluster', '-f', 'json'], config_file=config_file)

    assert [row['value'] for row in result.json if row['option'] == 'ttl'] == [30.0]


def test_an_underscore_in_a_name_does_not_become_a_space(install: Install) -> None:
    install('greeter', {'ovca.cli': {'say_hello': 'hellomod:Hello'}}, hellomod=hello())

    assert testing.run(['say_hello']).out == '1 - False\n'
    assert testing.run(['say', 'hello']).code == 2


def test_a_word_that_is_no_command_is_answered_on_the_error_stream_only() -> None:
    result = testing.run(['shell'])

    assert (result.code, result.out) == (2, '')
    assert "'shell' is not a command" in result.err
