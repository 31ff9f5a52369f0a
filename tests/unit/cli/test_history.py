from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovca.cli.history import History, confidential, default_path


@pytest.mark.parametrize(
    'line',
    [
        'download https://otto:geheim@example.com/x.zip',
        'download ftp://token@example.com/x.zip',
        'download https://example.com/x.zip?signature=abc',
        '--set database.connection=postgresql://x node-list',
        'node-add mn3 --bmc-password geheim',
        'notify-set --api-key 12',
    ],
)
def test_a_line_that_may_hold_a_secret_is_not_kept(tmp_path: Path, line: str) -> None:
    history = History(tmp_path / 'history')

    assert not history.keep(line)

    assert history.lines() == []


@pytest.mark.parametrize('line', ['download https://example.com/x.zip', 'image-build --secret-key vendor.key x'])
def test_a_line_without_one_is_kept(line: str) -> None:
    assert not confidential(line)


def test_the_file_is_the_users_alone_whatever_it_was(tmp_path: Path) -> None:
    history = History(tmp_path / 'new' / 'history')
    history.keep('one')
    created = history.path.stat().st_mode & 0o777
    history.path.chmod(0o644)

    history.keep('two')

    assert (created, history.path.stat().st_mode & 0o777) == (0o600, 0o600)
    assert history.path.parent.stat().st_mode & 0o777 == 0o700
    assert history.lines() == ['one', 'two']


def test_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    history = History(tmp_path / 'history', limit=3)
    for number in range(5):
        history.keep(f'line {number}')

    assert history.lines() == ['line 2', 'line 3', 'line 4']

    assert history.path.read_text() == 'line 2\nline 3\nline 4\n'
    assert history.path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_read_as_far_as_it_makes_sense(tmp_path: Path) -> None:
    (tmp_path / 'history').write_bytes(b'node-list\n\0\0\0\n\xff\nimage-list')

    assert History(tmp_path / 'history').lines() == ['node-list', '\ufffd', 'image-list']


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / 'other'
    other.write_text('precious\n')
    (tmp_path / 'history').symlink_to(other)
    history = History(tmp_path / 'history')

    assert history.keep('node-list')

    assert history.lines() == []
    assert other.read_text() == 'precious\n'


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can own a file of somebody else')
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / 'history'
    path.write_text('theirs\n')
    os.chown(path, 65534, 65534)
    history = History(path)

    history.keep('node-list')

    assert (history.lines(), path.read_text()) == ([], 'theirs\n')


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can own a file of somebody else')
def test_nothing_is_kept_in_the_home_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(tmp_path, 65534, 65534)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.delenv('XDG_STATE_HOME', raising=False)

    assert History().keep('node-list')

    assert History().lines() == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_costs_the_history_only(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    history = History(tmp_path / 'file' / 'history')

    assert history.keep('node-list')

    assert history.lines() == []


def test_the_file_is_where_programs_keep_their_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.delenv('XDG_STATE_HOME', raising=False)
    assert default_path() == tmp_path / '.local' / 'state' / 'ovca' / 'history'

    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'state'))
    assert default_path() == tmp_path / 'state' / 'ovca' / 'history'
