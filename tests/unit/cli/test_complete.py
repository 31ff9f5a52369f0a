"""Tab in other shells: the real ones, with the scripts that `ovca complete` prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from ovca import testing
from ovca.cli.complete import answers
from tests.conftest import missing_peer
from tests.operated import Operated

PATIENCE = 60  # seconds; only a failing test waits for so long

Ask = Callable[[str], list[str]]


def tab(child: pexpect.spawn, keys: str, shown: str) -> None:
    """Type, and press Tab until the word is there: on a busy machine the database may take longer than a Tab waits."""
    child.send(keys)
    for _ in range(10):
        child.send('\t')
        if child.expect_exact([shown, pexpect.TIMEOUT], timeout=PATIENCE / 6) == 0:
            return
    raise AssertionError(f'{shown!r} was not completed: {child.before!r}')


@pytest.fixture
def appliance(operated: Operated) -> Operated:
    return operated.started().image('1.1.0').image('1.2.0', digest='c' * 64)


@pytest.fixture
def environment(appliance: Operated, tmp_path: Path) -> dict[str, str]:
    """An environment with a program ovca on the path."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    program = folder / 'ovca'
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ovca "$@"\n')
    program.chmod(0o755)
    return os.environ | {
        'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}',
        'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
        'OVCA_CONFIG_FILE': str(appliance.config_file),
        'INPUTRC': os.devnull,
        'TERM': 'dumb',
        'PS1': 'ready> ',
    }


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        missing_peer(f'{name} is not installed: apt-get install {name}')
    return path


@pytest.fixture
def bash(environment: dict[str, str], tmp_path: Path) -> Ask:
    """Call the function that bash calls, with the variables that bash sets."""
    program = shell('bash')

    def ask(line: str) -> list[str]:
        source = (
            'source <(ovca complete bash); COMP_LINE=$1; COMP_POINT=${#1}; _ovca ovca "$2"; '
            '[ ${#COMPREPLY[@]} = 0 ] || printf "%s\\n" "${COMPREPLY[@]}"'
        )
        last = line.replace('=', ' ').split(' ')[-1]
        done = subprocess.run(
            [program, '--norc', '-c', source, 'bash', line, last],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, '')
        return done.stdout.splitlines()

    return ask


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('ovca image-sh', ['image-show']),
        ('ovca image-show 1.', ['1.1.0', '1.2.0']),
        ('ovca node-list --form', ['--format']),
        ('ovca node-list --format=j', ['json']),
        ('ovca --deb', ['--debug']),
        ('ovca --debug node-l', ['node-list']),
        ('ovca --set cluster.peer=mn3 config-show clu', ['cluster']),
        ('ovca --config-file ovca.c', ['ovca.conf']),
        ('ovca image-build my', ['my bundle']),
        ('ovca image-build nothing', []),
        ('ovca nonsense ', []),
        ('ovca image-show "', ['1.1.0', '1.2.0']),
    ],
)
def test_bash_gets_the_words(bash: Ask, tmp_path: Path, line: str, words: list[str]) -> None:
    (tmp_path / 'my bundle').write_text('')

    found = [sorted(bash(line))]
    while found[-1] != words and len(found) < 5:  # on a busy machine the database may take longer than a Tab waits
        found.append(sorted(bash(line)))

    assert found[-1] == words


def test_tab_in_bash(environment: dict[str, str]) -> None:
    child = pexpect.spawn(
        shell('bash'), ['--norc', '-i'], env=environment, encoding='utf-8', timeout=PATIENCE, dimensions=(24, 80)
    )
    child.expect_exact('ready> ')
    child.sendline('source <(ovca complete bash)')
    child.expect_exact('ready> ')

    tab(child, 'ovca image-sh', 'image-show ')
    tab(child, '1.2', '1.2.0 ')
    tab(child, '--format=va', '--format=value ')
    child.sendline('-c version; echo "ended with $?"')
    child.expect_exact('ended with 0')

    child.close(force=True)


def test_tab_in_zsh(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / 'my bundle').write_text('')
    child = pexpect.spawn(
        shell('zsh'),
        ['-f', '-i'],
        env=environment | {'PROMPT': 'ready> ', 'HOME': str(tmp_path)},
        cwd=tmp_path,
        encoding='utf-8',
        timeout=PATIENCE,
        dimensions=(24, 80),
    )
    child.sendline(
        'unsetopt zle_bracketed_paste; PS1="go> "; autoload -U compinit; compinit -u -D; echo "set $((6*7))"'
    )
    child.expect_exact('set 42')
    child.sendline('source <(ovca complete zsh); echo "set $((7*7))"')
    child.expect_exact('set 49')

    tab(child, 'ovca image-sh', 'image-show ')
    tab(child, '1.2', '1.2.0 ')
    tab(child, '--format=va', 'value ')
    child.sendline('-c version; echo "ended with $?"')
    child.expect_exact('ended with 0')
    tab(child, 'ovca image-build m', r'my\ bundle')

    child.close(force=True)


@pytest.mark.parametrize('name', ['bash', 'zsh'])
def test_the_script_is_printed(name: str) -> None:
    result = testing.run(['complete', name])

    assert (result.code, result.err) == (0, '')
    assert 'ovca' in result.out


@pytest.mark.parametrize('argv', [['complete'], ['complete', 'fish']])
def test_no_shell_and_another_one_are_a_wrong_argument(argv: list[str]) -> None:
    assert testing.run(argv).code == 2


def test_nothing_is_said_when_the_configuration_is_broken(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_file.write_text('[nonsense]\n')
    monkeypatch.setenv('COMP_LINE', f'ovca --config-file {config_file} node-show ')

    result = testing.run(['complete', '--line'], config_file=config_file)

    assert (result.code, result.err) == (0, '')


def test_what_is_behind_a_colon_is_all_that_bash_replaces() -> None:
    from ovca.cli.app import OvcaApp

    app = OvcaApp()
    app.options = app.parser.parse_args([])

    assert answers(app, 'ovca plugin-list --group=ovca.pr', '=:') == ['ovca.provision']
    assert answers(app, 'ovca plugin-list --group=ovca.pr') == ['--group=ovca.provision']
    assert answers(app, 'ovca # remark ') == []
