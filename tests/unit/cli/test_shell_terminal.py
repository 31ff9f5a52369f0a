"""The shell in a real terminal, typed into as an operator does."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from ovca import testing
from tests.operated import Operated

PROMPT = 'ovca> '
UP = '\x1b[A'
PATIENCE = 60  # seconds; only a failing test waits for so long
PLUGIN = """
from ovca.cli import base

class Sleep(base.Command):
    \"\"\"Sleep.\"\"\"

    def take_action(self, parsed_args):
        import time
        self.app.stdout.write('asleep\\n')
        self.app.stdout.flush()
        time.sleep(600)

class Ask(base.Command):
    \"\"\"Ask.\"\"\"

    def take_action(self, parsed_args):
        self.confirm('Really?', yes=False)
        self.app.stdout.write('done\\n')
"""
ENTRIES = {'ovca.cli': {'sleep': 'shellmod:Sleep', 'ask': 'shellmod:Ask'}}

Open = Callable[..., 'Terminal']


class Terminal:
    """A shell of ovca in a pseudo-terminal of 80 columns."""

    def __init__(self, folder: Path, config_file: Path, *argv: str, **environment: str) -> None:
        self.child = pexpect.spawn(
            sys.executable,
            ['-m', 'ovca', *argv],
            dimensions=(24, 80),
            timeout=PATIENCE,
            encoding='utf-8',
            cwd=folder,
            env=os.environ
            | {
                'PYTHONPATH': os.pathsep.join([str(folder), *filter(None, sys.path)]),
                'OVCA_CONFIG_FILE': str(config_file),
                'HOME': str(folder),
                'XDG_STATE_HOME': str(folder / 'state'),
                'INPUTRC': os.devnull,
                'TERM': 'dumb',
            }
            | environment,
        )
        self.child.delaybeforesend = None
        self.child.expect_exact(PROMPT)

    def type(self, keys: str) -> None:
        self.child.send(keys)

    def run(self, line: str) -> str:
        """Enter a line; return what is shown until the next prompt."""
        self.child.send(f'{line}\r')
        self.child.expect_exact(PROMPT)
        return without_colours(self.child.before)

    def wait(self, text: str) -> None:
        self.child.expect_exact(text)

    def complete(self, keys: str, shown: str) -> None:
        """Type, and press Tab until the word is there: a busy database may take longer than one Tab waits."""
        self.child.send(keys)
        for _ in range(10):
            self.child.send('\t')
            if self.child.expect_exact([shown, pexpect.TIMEOUT], timeout=PATIENCE / 6) == 0:
                return
        raise AssertionError(f'{shown!r} was not completed: {self.child.before!r}')

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        status: int = self.child.exitstatus
        return status


def without_colours(text: str) -> str:
    return re.sub(r'\x1b\[[?0-9;]*[a-zA-Z]', '', text)


@pytest.fixture
def terminal(operated: Operated, tmp_path: Path) -> Iterator[Open]:
    """Open shells on an appliance with two images and two nodes; they are gone after the test."""
    testing.write_distribution(tmp_path, 'shell-plugin', ENTRIES, shellmod=PLUGIN)
    operated.started().image('1.1.0').image('1.2.0', digest='c' * 64)
    shells: list[Terminal] = []

    def start(*argv: str, **environment: str) -> Terminal:
        shells.append(Terminal(tmp_path, operated.config_file, *argv, **environment))
        return shells[-1]

    yield start
    for shell in shells:
        shell.child.close(force=True)


def test_a_command_runs_and_the_prompt_is_back(terminal: Open) -> None:
    shell = terminal()

    assert 'mn2' in shell.run('node-list -f value -c name')
    assert 'did you mean image-list' in shell.run('image-lst')


def test_tab_completes_a_command_an_option_and_an_image(terminal: Open) -> None:
    shell = terminal()

    shell.complete('image-sh', 'image-show ')
    shell.complete('1.2', '1.2.0 ')
    shell.complete('--for', '--format ')
    shell.complete('va', 'value ')

    assert 'c' * 64 in shell.run('-c digest')


def test_tab_shows_what_may_follow(terminal: Open) -> None:
    shell = terminal()

    shell.complete('node-show mn', 'mn1')

    shell.wait('mn2')


def test_lines_are_kept_for_the_next_session_but_none_with_a_secret(terminal: Open, tmp_path: Path) -> None:
    first = terminal()
    first.run('node-list -f value')
    first.run('download https://otto:geheim@example.com/x.zip --version "')
    first.run('help download')
    first.type('\x04')
    first.end()

    second = terminal()
    second.type(UP)
    second.wait('help download')
    second.type(UP)
    second.wait('node-list -f value')

    kept = tmp_path / 'state' / 'ovca' / 'history'
    assert kept.read_text() == 'node-list -f value\nhelp download\n'
    assert kept.stat().st_mode & 0o777 == 0o600


def test_ctrl_c_ends_the_command_and_not_the_shell(terminal: Open) -> None:
    shell = terminal()
    shell.type('sleep\r')
    shell.wait('asleep')

    shell.type('\x03')

    shell.wait('ovca: interrupted')
    shell.wait(PROMPT)
    shell.type('exit\r')
    assert shell.end() == 130


def test_ctrl_c_at_the_prompt_throws_the_line_away(terminal: Open) -> None:
    shell = terminal()
    shell.type('sle')
    shell.wait('sle')

    shell.type('\x03')

    shell.wait(PROMPT)
    assert 'mn1' in shell.run('node-list -f value -c name')


@pytest.mark.parametrize('way', ['\x04', 'exit\r', 'quit\r'])
def test_the_shell_ends_with_the_status_of_its_last_command(terminal: Open, way: str) -> None:
    shell = terminal()
    shell.run('node-show nobody')

    shell.type(way)

    assert shell.end() == 2


def test_a_question_is_answered_at_the_terminal(terminal: Open) -> None:
    shell = terminal()

    for answer, said in (('y', 'done'), ('n', 'the answer was not yes; nothing was done')):
        shell.type('ask\r')
        shell.wait('Really? [y/N] ')
        assert said in shell.run(answer)


def test_what_was_pasted_does_not_answer_a_question(terminal: Open) -> None:
    shell = terminal(TERM='xterm')

    shell.type('\x1b[200~ask\ny\n\x1b[201~\r')

    shell.wait('Really? [y/N] ')
    assert 'nothing was done' in shell.run('n')


def test_what_was_pasted_behind_a_failing_line_is_not_run(terminal: Open) -> None:
    shell = terminal(TERM='xterm')

    said = shell.run('\x1b[200~node-show nobody\nconfig-show cluster -f value\n\x1b[201~')

    assert 'what was pasted after this line was not run' in said
    assert 'renew_interval' not in said


def test_no_key_and_no_line_opens_another_program(terminal: Open, tmp_path: Path) -> None:
    trace = tmp_path / 'trace'
    program = tmp_path / 'program'
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {trace}\n')
    program.chmod(0o755)
    outside = {name: str(program) for name in ('EDITOR', 'VISUAL', 'PAGER', 'SHELL', 'FCEDIT', 'BROWSER')}
    (tmp_path / 'vi.inputrc').write_text('set editing-mode vi\n')

    shell = terminal(TERM='xterm', **outside)
    for line in ('!touch trace', 'shell', 'edit', '!', f'`{program}`', f'$({program})', f'node-list | {program}'):
        assert 'ovca: ' in shell.run(line)
    assert 'no-redirection' in shell.run(f'node-list > {trace}')
    assert 'usage: ovca node-list' in shell.run('node-list --help')
    assert 'usage: ovca node-list' in shell.run('help node-list')
    shell.type('node-list \x18\x05')
    assert 'mn1' in shell.run('')
    vi = terminal(TERM='xterm', INPUTRC=str(tmp_path / 'vi.inputrc'), **outside)
    vi.type('node-list\x1bv')
    vi.run('')
    vi.run('')

    assert not trace.exists()


def test_a_line_longer_than_the_terminal_is_read_whole(terminal: Open) -> None:
    shell = terminal(TERM='xterm')
    line = 'node-list ' + ' '.join(['-c name'] * 15) + ' -f json'

    assert len(line) > 80
    assert '"name": "mn1"' in shell.run(line)


def test_a_table_fits_the_terminal(terminal: Open) -> None:
    shown = terminal().run('image-list')

    assert '1.2.0' in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_the_file_is_read_again_for_each_line(terminal: Open, operated: Operated) -> None:
    shell = terminal()
    assert 'mn2' in shell.run('config-show cluster -f value -c value')

    operated.configure('mn1', extra='[remaster]\nsoak = 77\n')

    assert '77' in shell.run('config-show remaster -f value -c value')


def test_options_of_the_program_belong_before_the_shell(terminal: Open) -> None:
    assert '`ovca --debug` [global-option]' in terminal().run('--debug node-list')
    assert 'Traceback' in terminal('--debug').run('node-show nobody')


def test_without_readline_the_shell_still_works(terminal: Open, tmp_path: Path) -> None:
    (tmp_path / 'readline.py').write_text('raise ImportError\n')

    assert 'mn1' in terminal().run('node-list -f value -c name')


def test_help_tells_how_to_leave(terminal: Open) -> None:
    shell = terminal()

    assert 'Ctrl-D leaves' in shell.run('help')
    assert 'usage: ovca node-show' in shell.run('? node-show')
