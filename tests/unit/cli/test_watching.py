"""update-watch, in a real terminal and without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pexpect
import pytest

from ovca import testing
from ovca.db.engine import Database
from ovca.exceptions import DatabaseUnavailable
from ovca.remaster import elsewhere
from tests.operated import Operated

pytestmark = pytest.mark.timeout(60)
PATIENCE = 40
Watch = Callable[..., 'pexpect.spawn[str]']


@pytest.fixture
def watch(operated: Operated) -> Iterator[Watch]:
    """Open ``update-watch`` in a pseudo-terminal of 80 columns."""
    opened: list[pexpect.spawn[str]] = []

    def begin(*words: str, **environment: str) -> pexpect.spawn[str]:
        child = pexpect.spawn(
            sys.executable,
            ['-m', 'ovca', '--config-file', str(operated.config_file), 'update-watch', *words],
            dimensions=(24, 80),
            timeout=PATIENCE,
            encoding='utf-8',
            env={**os.environ, 'TERM': 'xterm', 'LANG': 'C.UTF-8', **environment},
        )
        opened.append(child)
        return child

    yield begin
    for child in opened:
        child.close(force=True)


def ended(child: pexpect.spawn[str]) -> tuple[str, int | None]:
    """All that it wrote until its end, and its status."""
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before), child.exitstatus


def pictures(text: str) -> list[str]:
    """The screens that were drawn, without what steers the terminal."""
    plain = re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', text)
    return [f'update {part}' for part in plain.split('update ')[1:]]


def test_both_nodes_stand_side_by_side_with_what_comes_next(operated: Operated, watch: Watch) -> None:
    number = operated.started().update('INSTALL_1')
    operated.entry(number, step='installing', percent=40.0)
    child = watch()
    child.expect('safe to close this terminal')
    operated.move(number, 'DONE', 'both run it', reason='both run it')

    text, status = ended(child)

    drawn = str(child.before) + text
    assert status == 0
    assert f'update {number} is done: both nodes run 1.1.0' in drawn


def test_the_picture_fits_80_columns(operated: Operated, watch: Watch) -> None:
    number = operated.started().update('INSTALL_1')
    operated.entry(number, step='installing', percent=40.0, step_detail='usr/lib/a-very-long-name/of-something' * 3)
    operated.move(number, 'INSTALL_1', 'a sentence of an error that goes on and on ' * 20)
    child = watch()
    child.expect('safe to close this terminal')

    screen = pictures(str(child.before))[-1].splitlines()

    assert max(map(len, screen)) <= 80
    assert len(screen) < 22, 'it is no higher than the terminal'
    assert 'mn2 (first)' in screen[1]
    assert 'mn1 (second)' in screen[1]
    assert any('████████░░░░░░░░░░░░  40 %' in line for line in screen)


def test_a_terminal_that_wants_no_colour_gets_none(operated: Operated, watch: Watch) -> None:
    number = operated.started().update('INSTALL_1')
    operated.move(number, 'DONE', 'both run it', reason='both run it')

    text, status = ended(watch(NO_COLOR='1'))

    assert status == 0
    colours = re.findall(r'\x1b\[[0-9;]*m', text)
    assert [code for code in colours if re.search(r'\b(3[0-7]|4[0-7]|9[0-7]|38|48)\b', code)] == []


def test_a_terminal_that_cannot_draw_gets_lines(operated: Operated, watch: Watch) -> None:
    number = operated.started().update('INSTALL_1')
    operated.move(number, 'DONE', 'both run it', reason='both run it')

    text, status = ended(watch(TERM='dumb'))

    assert status == 0
    assert '\x1b' not in text
    assert 'INSTALL_1 -> DONE: both run it' in text


def test_a_pause_is_told_with_who_and_how_to_go_on(operated: Operated, watch: Watch) -> None:
    number = operated.started().update('VERIFY_1')
    operated.decides(number, 'pause')
    child = watch()

    child.expect(r'paused by otto since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: continue')
    child.sendintr()
    text, status = ended(child)

    assert status == 130
    assert f'update {number} goes on, `ovca update-watch` picks it up' in ' '.join(text.split())


def run(operated: Operated, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'ovca', '--config-file', str(operated.config_file), 'update-watch', *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ('state', 'status'),
    [('DONE', 0), ('ABORTED', 12), ('FAILED_DEGRADED', 8), ('FAILED_ROLLED_BACK', 8), ('FAILED_FORWARD', 8)],
)
def test_the_exit_status_tells_the_outcome_in_each_form(operated: Operated, state: str, status: int) -> None:
    number = operated.started().update('VERIFY_2')
    operated.move(number, state, 'it is so', reason='it is so')

    text = testing.run(['update-watch'], config_file=operated.config_file)
    lines = testing.run(['update-watch', '-f', 'json'], config_file=operated.config_file)

    assert (text.code, lines.code) == (status, status)


def test_json_is_an_object_a_line_on_the_standard_output_and_nothing_else(operated: Operated) -> None:
    number = operated.started().update('VERIFY_2')
    operated.entry(number, step='final')
    operated.move(number, 'DONE', 'both run it', reason='both run it')

    done = run(operated, '-f', 'json')

    event, update, end = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, '')
    assert (event['kind'], event['to_state'], event['detail']) == ('event', 'DONE', 'both run it')
    assert (update['kind'], update['state'], update['entries'][0]['step']) == ('update', 'DONE', 'final')
    assert [n['node'] for n in update['nodes']] == ['mn1', 'mn2']
    assert set(update) == {
        'kind', 'id', 'version', 'state', 'seconds', 'expected_seconds', 'left_seconds', 'paused', 'next_step',
        'told_by', 'nodes', 'entries',
    }  # fmt: skip
    assert end == {
        'kind': 'end',
        'id': number,
        'version': '1.1.0',
        'state': 'DONE',
        'reason': 'both run it',
        'next_step': 'nothing is to be done',
    }


def test_json_follows_a_download_into_its_update(operated: Operated) -> None:
    operated.started()
    testing.run(['update', 'https://example.com/x.zip', '--yes', '--no-wait'], config_file=operated.config_file)
    number = operated.update('VERIFY_2')
    operated.move(number, 'DONE', 'both run it', reason='both run it')
    operated.answer(lambda request: {'update_id': number, 'version': '1.1.0'})

    done = run(operated, '-f', 'json')

    assert done.returncode == 0, done.stderr
    assert [json.loads(line)['kind'] for line in done.stdout.splitlines()][-1] == 'end'


def test_watching_may_begin_while_the_database_is_away(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    number = operated.started().update('VERIFY_2')
    operated.move(number, 'DONE', 'both run it', reason='both run it')
    heard = operated.service().snapshot(number)
    turns = [DatabaseUnavailable('it is away')] * 3
    read = Database.read

    def away(database: Database) -> Any:
        if turns:
            raise turns.pop()
        return read(database)

    monkeypatch.setattr(Database, 'read', away)
    monkeypatch.setattr(elsewhere, 'ask', lambda *_: elsewhere.Answer('mn2 tells', replace(heard, told_by='mn2')))

    result = testing.run(['update-watch'], config_file=operated.config_file)

    assert (result.code, turns) == (0, [])
    assert 'the database answers again' in result.err


def test_a_pause_without_a_terminal_is_one_line(operated: Operated) -> None:
    number = operated.started().update('VERIFY_1')
    operated.decides(number, 'pause')
    with subprocess.Popen(
        [sys.executable, '-m', 'ovca', '--config-file', str(operated.config_file), 'update-watch'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        operated.move(number, 'DONE', 'both run it', reason='both run it')
        rest = process.communicate(timeout=PATIENCE)[1]

    assert first.startswith('paused by otto since ')
    assert 'paused' not in rest
