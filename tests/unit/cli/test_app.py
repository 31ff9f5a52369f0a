from __future__ import annotations

import io
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ovca
from ovca import exceptions, pages, testing
from tests.operated import Operated

Install = Callable[..., None]

HELLO = """
from ovca import exceptions
from ovca.cli import base

class Hello(base.Command):
    \"\"\"Greet.\"\"\"

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--version')
        parser.add_argument('--raise', dest='error')
        return parser

    def take_action(self, parsed_args):
        if parsed_args.error:
            raise eval(parsed_args.error)
        self.app.stdout.write(f'hello {parsed_args.version or ""}\\n')
"""
HELLO_ENTRY = {'ovca.cli': {'hello': 'hellomod:Hello'}}


def test_a_command_of_another_package_runs(install: Install) -> None:
    install('hello-plugin', HELLO_ENTRY, hellomod=HELLO)

    result = testing.run(['hello'])

    assert (result.code, result.out, result.err) == (0, 'hello \n', '')


@pytest.mark.parametrize('kind', ['exceptions.Refused', 'OSError'])
def test_an_error_steers_no_terminal_whoever_has_written_its_words(install: Install, kind: str) -> None:
    install('hello-plugin', HELLO_ENTRY, hellomod=HELLO)

    result = testing.run(['hello', '--raise', f'{kind}("the BMC says \\x1b[2J\\x9b8m \\u202eso; mend it")'])

    assert result.err.rstrip('\n').isprintable()
    assert r'the BMC says \x1b[2J\x9b8m \u202eso; mend it' in result.err


def test_what_stands_behind_the_command_belongs_to_the_command(install: Install) -> None:
    install('hello-plugin', HELLO_ENTRY, hellomod=HELLO)

    assert testing.run(['hello', '--version', '7']).out == 'hello 7\n'
    assert testing.run(['--version', 'hello']).out == f'ovca {ovca.__version__}\n'


def test_commands_are_not_imported_before_they_run(install: Install) -> None:
    install('hello-plugin', HELLO_ENTRY, hellomod='raise RuntimeError("imported")')

    assert testing.run(['--version']).code == 0
    assert testing.run(['help', 'config-show']).err == ''


MEASURE = """
from ovca.cli import base


class Measure(base.Command):
    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--height', type=int)
        parser.add_argument('--scale', type=float)
        return parser

    def take_action(self, parsed_args): ...
"""


@pytest.mark.parametrize('source', ['import no_such_module', 'class Other: pass', 'raise RuntimeError("boom")'])
def test_a_broken_plugin_is_named_and_all_else_works(install: Install, source: str) -> None:
    install('hello-plugin', HELLO_ENTRY, hellomod=source)

    broken = testing.run(['hello'])
    listing = testing.run(['--help'])

    assert broken.code == 3
    assert broken.err.startswith('ovca: ovca.cli: hello of package hello-plugin 1.0 cannot be loaded: ')
    assert broken.err.count('\n') == 1
    assert listing.code == 0
    assert broken.err.removesuffix(' [plugin-broken]\n') in listing.err
    assert 'plugin-list' in listing.out


def test_a_core_command_cannot_be_replaced(install: Install) -> None:
    install('aaa', {'ovca.cli': {'plugin-list': 'hellomod:Hello'}}, hellomod=HELLO)

    result = testing.run(['plugin-list', '--group', 'ovca.cli', '-f', 'json'])

    problem = 'is ignored; the name belongs to ovca'
    assert result.code == 0
    assert result.err == f'ovca: ovca.cli: plugin-list of package aaa 1.0 {problem}\n'
    assert [row['problem'] for row in result.json if row['package'] == 'aaa'] == [problem]


@pytest.mark.parametrize(
    ('word', 'said'),
    [
        ('plugin', "ovca: 'plugin' is not a command; did you mean plugin-list? [no-command]\n"),
        ('pluginlist', "ovca: 'pluginlist' is not a command; did you mean plugin-list? [no-command]\n"),
        ('xyzzy', "ovca: 'xyzzy' is not a command; see `ovca help` for all of them [no-command]\n"),
    ],
)
def test_an_unknown_command_is_answered_with_a_guess_and_never_run(word: str, said: str) -> None:
    result = testing.run([word])

    assert (result.code, result.out) == (2, '')
    assert result.err.startswith(said)


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['--deb', 'plugin-list'], 'there is no option --deb; did you mean --debug?'),
        (['--confg-file=x', 'plugin-list'], 'there is no option --confg-file; did you mean --config-file?'),
        (['plugin-list', '--form', 'json'], 'there is no option --form; did you mean --format?'),
        (['plugin-list', '--xyzzy'], 'there is no option --xyzzy; see `ovca plugin-list --help`'),
        (['--quiet', 'plugin-list'], 'there is no option --quiet; see `ovca --help`'),
        (['plugin-list', 'more'], "'more' is one argument too many; see `ovca plugin-list --help`"),
        (['--config-file'], 'argument --config-file: expected one argument; see `ovca --help`'),
    ],
)
def test_a_wrong_option_is_one_sentence_with_the_right_one_and_nothing_is_abbreviated(
    argv: list[str], said: str
) -> None:
    result = testing.run(argv)

    assert (result.code, result.out, result.err) == (2, '', f'ovca: {said} [bad-option]\n')


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--height', 'x'], "argument --height: 'x' is no whole number"),
        (['--scale', 'a value: b'], "argument --scale: 'a value: b' is no number"),
        (['--scale', '1'], None),
    ],
)
def test_a_number_that_is_none_is_refused_in_plain_words(install: Install, words: list[str], said: str | None) -> None:
    install('measure-plugin', {'ovca.cli': {'measure': 'measuremod:Measure'}}, measuremod=MEASURE)

    result = testing.run(['measure', *words])

    assert (result.code, result.err) == (
        (2, f'ovca: measure: {said}; see `ovca help measure` [bad-option]\n') if said else (0, '')
    )


def test_a_wrong_value_of_an_option_names_the_command_and_the_values() -> None:
    result = testing.run(['plugin-list', '--format', 'xml'])

    assert (result.code, result.out) == (2, '')
    assert result.err.startswith('ovca: plugin-list: argument -f/--format: invalid choice: ')
    assert 'json' in result.err and result.err.endswith('; see `ovca help plugin-list` [bad-option]\n')


@pytest.mark.parametrize(
    'kind',
    [
        exceptions.OvcaError,
        exceptions.UsageError,
        exceptions.ConfigError,
        exceptions.ImageError,
        exceptions.FetchError,
        exceptions.Refused,
        exceptions.NotMaster,
        exceptions.UpdateFailed,
        exceptions.DatabaseUnavailable,
        exceptions.PowerError,
        exceptions.ProvisionError,
    ],
)
def test_an_error_is_one_sentence_and_its_class_sets_the_exit_status(
    install: Install, kind: type[exceptions.OvcaError]
) -> None:
    install('hello-plugin', HELLO_ENTRY, hellomod=HELLO)

    result = testing.run(['hello', '--raise', f'exceptions.{kind.__name__}("it is so")'])

    assert (result.code, result.out, result.err) == (kind.exit_code, '', f'ovca: it is so [{kind.id}]\n')


def test_a_mistake_in_a_plugin_is_blamed_on_its_package(install: Install) -> None:
    install('hello-plugin', HELLO_ENTRY, hellomod=HELLO)

    result = testing.run(['hello', '--raise', 'KeyError("x")'])

    assert result.code == 1
    assert result.err.startswith("ovca: KeyError: 'x'; this is a mistake in hello-plugin 1.0: ")
    assert result.err.count('\n') == 1


def test_a_traceback_is_shown_with_debug_only(install: Install) -> None:
    install('hello-plugin', HELLO_ENTRY, hellomod=HELLO)
    argv = ['hello', '--raise', 'exceptions.Refused("no")']

    assert 'Traceback' not in testing.run(argv).err
    assert 'Traceback' in testing.run(['--debug', *argv]).err


def test_a_hook_gets_the_full_name_and_a_broken_one_is_one_line(install: Install) -> None:
    hook = 'from cliff import hooks\nclass Hook(hooks.CommandHook):\n' + ''.join(
        f'    def {name}: {body}\n'
        for name, body in {
            'get_parser(self, parser)': 'pass',
            'get_epilog(self)': 'return "hooked"',
            'before(self, parsed_args)': 'print(self.cmd.cmd_name, file=self.cmd.app.stdout)',
            'after(self, parsed_args, return_code)': 'return 5',
        }.items()
    )
    groups = {'ovca.cli.hello': {'mine': 'hookmod:Hook', 'other': 'nohookmod:Hook'}}
    install('hello-plugin', HELLO_ENTRY, hellomod=HELLO)
    install('hook-plugin', groups, hookmod=hook)

    result = testing.run(['hello'])

    assert (result.code, result.out) == (5, 'hello\nhello \n')
    assert result.err.count('\n') == 1
    assert 'ovca.cli.hello: other of package hook-plugin 1.0 cannot be loaded' in result.err


def test_help_explains_an_error_by_its_id() -> None:
    by_id = testing.run(['help', 'no-terminal'])
    as_printed = testing.run(['help', '[no-terminal]'])

    assert (by_id.code, by_id.out) == (0, pages.page('no-terminal'))
    assert as_printed.out == by_id.out
    assert testing.run(['help', '../exceptions']).code == 2


def test_help_shows_a_command_and_its_options() -> None:
    by_word = testing.run(['help', 'plugin-list'])
    by_option = testing.run(['plugin-list', '--help'])

    assert (by_word.code, by_option.code) == (0, 0)
    assert by_word.out == by_option.out
    assert '--group' in by_word.out


def test_without_a_command_all_are_listed() -> None:
    result = testing.run([])

    assert result.code == 0
    assert '  plugin-list ' in result.out


def test_running_twice_leaves_nothing_in_the_process_s_logging() -> None:
    before = list(logging.getLogger().handlers)

    testing.run(['help'])
    testing.run(['--debug', 'help'])

    assert logging.getLogger().handlers == before


class Vendor:
    """Another vendor's application, made of cliff as it comes; our commands are taken in by their entry points."""

    def __init__(self, *options: str) -> None:
        from cliff.app import App
        from cliff.commandmanager import CommandManager

        class Application(App):
            def build_option_parser(self, *args: Any, **kwargs: Any) -> Any:
                parser = super().build_option_parser(*args, **kwargs)
                for option in options:
                    parser.add_argument(option)
                return parser

        self.out, self.err = io.StringIO(), io.StringIO()
        manager = CommandManager('ovca.cli')
        self.app = Application('Vendor', '9', manager, stdin=io.StringIO(), stdout=self.out, stderr=self.err)

    def run(self, *argv: str) -> int:
        return int(self.app.run(list(argv)))


def test_the_commands_load_in_another_cliff_application() -> None:
    vendor = Vendor()

    code = vendor.run('plugin-list', '-f', 'value', '-c', 'name')

    assert code == 0
    assert 'redfish' in vendor.out.getvalue()


def test_in_another_application_the_configuration_and_the_service_are_found(operated: Operated) -> None:
    operated.started().image('1.1.0')
    vendor = Vendor('--config-file')

    code = vendor.run('--config-file', str(operated.config_file), 'image-list', '-f', 'json', '-c', 'version')

    assert (code, json.loads(vendor.out.getvalue())) == (0, [{'version': '1.1.0'}])


def test_in_another_application_an_error_is_the_same_sentence_and_status(operated: Operated) -> None:
    operated.started()
    vendor = Vendor('--config-file')

    code = vendor.run('--config-file', str(operated.config_file), 'image-show', '7')

    ours = testing.run(['image-show', '7'], config_file=operated.config_file)
    assert (code, vendor.out.getvalue()) == (ours.code, ours.out)
    assert vendor.err.getvalue().partition(': ')[2] == ours.err.partition(': ')[2]


def start(*argv: str, folder: Path, **options: object) -> subprocess.Popen[str]:
    environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(folder), *filter(None, sys.path)])}
    return subprocess.Popen(
        [sys.executable, '-m', 'ovca', *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,  # type: ignore[call-overload]
    )


def test_ctrl_c_ends_a_command_with_a_sentence(tmp_path: Path) -> None:
    source = HELLO.replace(
        'if parsed_args.error:', 'print("up", flush=True); import time; time.sleep(60)\n        if 0:'
    )
    testing.write_distribution(tmp_path, 'hello-plugin', HELLO_ENTRY, hellomod=source)
    process = start('hello', folder=tmp_path)
    assert process.stdout is not None and process.stdout.readline() == 'up\n'

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert err.startswith('ovca: interrupted; ')
    assert err.count('\n') == 1


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    source = HELLO.replace('self.app.stdout.write', 'for _ in range(10**6): self.app.stdout.write')
    testing.write_distribution(tmp_path, 'hello-plugin', HELLO_ENTRY, hellomod=source)
    process = start('hello', folder=tmp_path)
    assert process.stdout is not None and process.stderr is not None

    process.stdout.read(10)
    process.stdout.close()

    assert process.stderr.read() == ''
    assert process.wait(timeout=20) == 141


@pytest.mark.parametrize('words', ['config-sample', 'complete bash'])
def test_an_output_that_cannot_be_written_is_a_sentence(words: str) -> None:
    done = shell(f'{words} > /dev/full')

    assert (done.returncode, done.stderr) == (
        1,
        'ovca: the output cannot be written: No space left on device; make room for it, and repeat the command '
        '[not-written]\n',
    )


@pytest.mark.parametrize('words', ['event-list', 'update-show -f yaml'])
def test_what_the_locale_has_no_character_for_is_shown_by_its_number(operated: Operated, words: str) -> None:
    number = operated.started().update('INSTALL_1')
    operated.move(number, 'DONE', 'Grüße → 世界', reason='Grüße → 世界')
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path)), 'PYTHONIOENCODING': 'latin-1'}
    argv = [sys.executable, '-m', 'ovca', '--config-file', str(operated.config_file), *words.split()]

    done = subprocess.run(argv, capture_output=True, env=environment)

    assert done.returncode == 0, done.stderr
    assert 'Grüße \\u2192 \\u4e16\\u754c' in (done.stdout + done.stderr).decode('latin-1')


@pytest.mark.parametrize('closed', ['>&-', '2>&-'])
def test_a_stream_that_is_closed_is_one_that_nobody_wants(closed: str) -> None:
    good, bad = shell(f'complete bash {closed}'), shell(f'nothing {closed}')

    assert (good.returncode, good.stderr, bool(good.stdout)) == (0, '', closed == '2>&-')
    assert (bad.returncode, bad.stdout, bool(bad.stderr)) == (2, '', closed == '>&-')


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run ovca by a line of sh."""
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        ['sh', '-c', f'exec {shlex.quote(sys.executable)} -m ovca {line}'], capture_output=True, text=True, env=env
    )


STARTING = """
import sys, types

class Loading(types.ModuleType):
    def __getattr__(self, name):
        raise KeyboardInterrupt

sys.modules[sys.argv[1]] = Loading(sys.argv[1])
from ovca.cli.main import main

sys.exit(main([sys.argv[2]]))
"""
"""Ctrl-C while a module is being imported."""


@pytest.mark.parametrize(
    ('module', 'word', 'told'),
    [('ovca.cli.app', 'node-list', 'interrupted; nothing was begun'), ('ovca.cli.options', '--help', 'interrupted')],
)
def test_ctrl_c_before_the_application_is_there_is_a_sentence_too(module: str, word: str, told: str) -> None:
    done = subprocess.run([sys.executable, '-c', STARTING, module, word], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (130, f'ovca: {told} [interrupted]\n')
