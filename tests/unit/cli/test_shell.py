"""The shell without a terminal: the lines of a script."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ovca import testing
from ovca.cli.app import OvcaApp
from ovca.cli.shell import Shell
from tests.operated import Operated

Install = Callable[..., None]

PLUGIN = """
from ovca.cli import base

class Ask(base.Command):
    \"\"\"Ask.\"\"\"

    def take_action(self, parsed_args):
        self.confirm('Really?', yes=False)

class Sleep(base.Command):
    \"\"\"Sleep.\"\"\"

    def take_action(self, parsed_args):
        import time
        print('asleep', flush=True)
        time.sleep(600)
"""
ENTRIES = {'ovca.cli': {'ask': 'scriptmod:Ask', 'sleep': 'scriptmod:Sleep'}}


@pytest.fixture
def appliance(operated: Operated) -> Operated:
    return operated.started().image()


def script(text: str, appliance: Operated, *argv: str) -> testing.Result:
    return testing.run(argv, config_file=appliance.config_file, stdin=text)


@pytest.mark.parametrize(
    'line',
    [
        'node-list',
        'node-list -f json',
        'image-list -f yaml',
        'node-show nobody',
        'image-show 1.1.0 -f json',
        'image-show 9.9',
        'config-show cluster -f csv',
        'config-show nonsense',
        'help node-list',
        'node-list --help',
        'node-list --nonsense',
        'node-list -c nonsense',
        'node',
        'activate 9.9 --dry-run',
        'update-abort --yes',
        "update-abort --reason 'two words'",
        'complete bash',
    ],
)
def test_a_line_of_a_script_does_what_the_command_does_alone(appliance: Operated, line: str) -> None:
    alone = testing.run(shlex.split(line), config_file=appliance.config_file)

    scripted = script(f'{line}\n', appliance)

    note = f'ovca: line 1: exit status {alone.code}; stopped here\n' if alone.code else ''
    assert (scripted.code, scripted.out, scripted.err) == (alone.code, alone.out, alone.err + note)
    assert alone.out or alone.err


def test_a_script_runs_to_its_end_and_shows_nothing_but_outputs(appliance: Operated) -> None:
    result = script('# the nodes\n\nnode-list -f value -c name\n  image-list -f value -c version', appliance)

    assert (result.code, result.out, result.err) == (0, 'mn1\nmn2\n1.1.0\n', '')


def test_a_script_ends_at_the_first_line_that_fails(appliance: Operated) -> None:
    result = script('node-list -f value -c name\n\nnode-show nobody\nimage-list\n', appliance)

    assert (result.code, result.out) == (2, 'mn1\nmn2\n')
    assert result.err.splitlines()[1:] == ['ovca: line 3: exit status 2; stopped here']


def test_keep_going_runs_all_and_ends_with_the_first_failing_status(appliance: Operated) -> None:
    lines = 'node-show nobody\nupdate-abort --yes | cat\nactivate 9.9\nimage-list -f value -c version\n'

    result = script(lines, appliance, '--keep-going')

    assert (result.code, result.out) == (2, '1.1.0\n')
    notes = [line for line in result.err.splitlines() if line.startswith('ovca: line ')]
    assert notes[0] == 'ovca: line 1: exit status 2; going on'
    assert len(notes) == 3


def test_keep_going_is_for_scripts(appliance: Operated) -> None:
    result = script('', appliance, '--keep-going', 'node-list')

    assert result.code == 2
    assert '--keep-going is for the lines of a script' in result.err


def test_a_shell_that_waits_holds_no_connection(appliance: Operated) -> None:
    app = OvcaApp(stdin=io.StringIO(), stdout=io.StringIO(), stderr=io.StringIO())
    app.options = app.parser.parse_args(['--config-file', str(appliance.config_file)])
    shell = Shell(app)
    appliance.close()
    assert not _is_open(appliance.folder / 'ovca.sqlite')

    shell.run('node-list')

    assert shell.status == 0
    assert not _is_open(appliance.folder / 'ovca.sqlite')


def _is_open(file: Path) -> bool:
    links = [path for path in Path('/proc/self/fd').iterdir() if path.is_symlink()]
    return any(str(link.readlink()).startswith(str(file)) for link in links)


def test_exit_leaves_a_script_early(appliance: Operated) -> None:
    assert script('node-list -f value -c name\nexit\nnode-show nobody\n', appliance).code == 0
    assert script('exit 3\n', appliance).code == 2


def test_a_line_may_be_written_as_in_the_documentation(appliance: Operated) -> None:
    assert script('ovca node-list -f value -c name\n', appliance).out == 'mn1\nmn2\n'


@pytest.mark.parametrize('line', ['--debug node-list', 'ovca --debug node-list', '--help', '--set update.uri=x'])
def test_an_option_of_the_program_is_refused_with_advice(appliance: Operated, line: str) -> None:
    result = script(f'{line}\n', appliance)

    assert result.code == 2
    assert 'stands before all commands' in result.err
    assert result.err.splitlines()[0].endswith('[global-option]')


def test_a_question_does_not_eat_the_next_line(appliance: Operated, install: Install) -> None:
    install('script-plugin', ENTRIES, scriptmod=PLUGIN)

    result = script('ask\ny\n', appliance, '--keep-going')

    assert result.code == 6
    assert '[no-terminal]' in result.err
    assert "'y' is not a command" in result.err


def test_no_input_is_answered_with_the_overview(appliance: Operated) -> None:
    assert '  node-list ' in script('', appliance).out
    assert script('# nothing but a remark\n', appliance).out == ''


def start(folder: Path, *argv: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, '-m', 'ovca', *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {'PYTHONPATH': os.pathsep.join([str(folder), *filter(None, sys.path)])},
        **options,  # type: ignore[call-overload]
    )


def test_a_closed_or_empty_input_is_none(tmp_path: Path) -> None:
    empty = start(tmp_path, stdin=subprocess.DEVNULL)
    closed = subprocess.run(
        ['sh', '-c', 'exec "$0" -m ovca <&-', sys.executable],
        capture_output=True,
        env=os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
        check=False,
    )

    assert b'  node-list ' in empty.communicate(timeout=60)[0]
    assert b'  node-list ' in closed.stdout
    assert (empty.returncode, closed.returncode) == (0, 0)


def test_a_script_that_is_no_text_is_refused_in_one_sentence(tmp_path: Path) -> None:
    process = start(tmp_path, stdin=subprocess.PIPE)

    _, err = process.communicate(b'\xff\xfe\x00\n', timeout=60)

    assert process.returncode == 2
    assert err.startswith(b'ovca: ')
    assert b'Traceback' not in err


@pytest.mark.parametrize('argv', [[], ['--keep-going']])
def test_ctrl_c_ends_a_script(tmp_path: Path, argv: list[str]) -> None:
    testing.write_distribution(tmp_path, 'script-plugin', ENTRIES, scriptmod=PLUGIN)
    process = start(tmp_path, *argv, stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b'sleep\nsleep\n')
    process.stdin.flush()
    assert process.stdout.readline() == b'asleep\n'

    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b'')
    assert b'line 1: exit status 130; stopped here' in err
