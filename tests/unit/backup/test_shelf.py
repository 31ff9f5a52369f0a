"""Backups on their shelf: found, listed, kept, deleted."""

from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import json
import shutil
from pathlib import Path

import pytest

from ovca.backup.record import Content, Record
from ovca.backup.shelf import Shelf, beyond
from ovca.exceptions import BackupError, UsageError


def record(id: str, *, hour: int = 0, update_id: int | None = None) -> Record:
    return Record(
        id=id,
        created_at=dt.datetime(2026, 11, 25, hour, tzinfo=dt.UTC),
        node='mn1',
        by='otto',
        why='a test',
        update_id=update_id,
        version='1.0.0',
        revision='0003',
        engine='sqlite',
        size=4,
        sha256='0' * 64,
        contents=(Content('database/node.jsonl', 4, '0' * 64, 0),),
    )


def put(shelf: Shelf, what: Record) -> None:
    with shelf.new() as folder:
        (folder / 'backup.zip').write_bytes(b'data')
        shelf.publish(folder, what)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / 'backup')


def test_the_newest_comes_first_and_what_is_damaged_last_with_its_problem(shelf: Shelf) -> None:
    for number in (1, 3, 2):
        put(shelf, record(f'b{number}', hour=number))
    (shelf.folder / 'b2/backup.json').write_text('{"format": 1')
    (shelf.folder / 'b1/backup.zip').write_bytes(b'dat')

    found = shelf.backups()

    assert [each.id for each in found] == ['b3', 'b1', 'b2']
    assert [bool(each.problem) for each in found] == [False, True, True]
    assert found[1].problem == 'backup.zip has 3 bytes, and was made with 4'
    assert 'backup.json is damaged' in found[2].problem


def test_where_there_is_no_folder_there_are_no_backups(shelf: Shelf) -> None:
    assert shelf.backups() == []


@pytest.mark.parametrize(
    'which', ['b1', '{folder}/b1', '{folder}/b1/', '{folder}/b1/backup.json', '{folder}/b1/backup.zip']
)
def test_a_backup_is_found_by_its_id_and_by_its_path(shelf: Shelf, which: str) -> None:
    put(shelf, record('b1'))

    found, what = shelf.usable(which.format(folder=shelf.folder))

    assert (found.id, what) == ('b1', record('b1'))


@pytest.mark.parametrize('which', ['b2', '..', '.', '', '/nowhere/b1', '.new-x'])
def test_what_is_no_backup_is_answered_with_those_that_there_are(shelf: Shelf, which: str) -> None:
    put(shelf, record('b1'))
    (shelf.folder / '.new-x').mkdir()

    with pytest.raises(UsageError, match=r'there is no backup .* b1$') as caught:
        shelf.find(which)

    assert caught.value.id == 'no-backup'


@pytest.mark.parametrize(
    'change',
    [
        {'id': '../x'},
        {'sha256': 'x'},
        {'contents': [{'name': '../../etc/shadow', 'size': 1, 'sha256': '0' * 64, 'rows': None}]},
        {'contents': [{'name': '/etc/shadow', 'size': 1, 'sha256': '0' * 64, 'rows': None}]},
        {'contents': [{'name': 'site', 'size': 1, 'sha256': '0' * 64, 'rows': None}]},
        {'contents': 2 * [{'name': 'site/x', 'size': 1, 'sha256': '0' * 64, 'rows': None}]},
        {'created_at': '2026-11-25T00:00:00'},
        {'contents': None},
    ],
)
def test_a_record_that_says_what_it_must_not_is_damaged(shelf: Shelf, change: dict[str, object]) -> None:
    put(shelf, record('b1'))
    path = shelf.folder / 'b1/backup.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(BackupError) as caught:
        shelf.usable('b1')

    assert caught.value.id == 'backup-damaged'


def test_a_record_of_another_format_is_refused(shelf: Shelf) -> None:
    put(shelf, record('b1'))
    path = shelf.folder / 'b1/backup.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'format': 2}))

    with pytest.raises(BackupError, match='of format 2, and this ovca knows 1 only') as caught:
        shelf.usable('b1')

    assert caught.value.id == 'backup-format'


def test_the_oldest_go_and_the_newest_updates_own_stays(shelf: Shelf) -> None:
    kept = [record('a', hour=1), record('b', hour=2, update_id=1), record('c', hour=3, update_id=2)]
    by_hand = [record(f'd{hour}', hour=hour) for hour in range(4, 9)]
    for each in kept + by_hand:
        put(shelf, each)

    gone = shelf.retain(3)

    assert gone == ['a', 'b', 'd4', 'd5']
    assert [each.id for each in shelf.backups()] == ['d8', 'd7', 'd6', 'c']


def test_of_an_update_that_was_begun_twice_the_newer_backup_stays() -> None:
    first, second = record('a', hour=1, update_id=5), record('b', hour=2, update_id=5)

    assert beyond([record('c', hour=3), second, first], 1) == ['a']


@pytest.mark.parametrize('newest_update', [3, None])
def test_of_updates_that_are_numbered_anew_after_a_restore_the_present_one_counts(newest_update: int | None) -> None:
    before, after = record('a', hour=1, update_id=5), record('b', hour=2, update_id=3)

    assert beyond([record('c', hour=3), after, before], 1, newest_update) == ['a']


def test_when_the_clock_was_set_back_the_newest_updates_own_stays() -> None:
    wrong_clock, newest = record('b', hour=9, update_id=4), record('a', hour=1, update_id=5)

    assert beyond([record('c', hour=10), wrong_clock, newest], 1, 5) == ['b']


def test_without_updates_the_number_counts() -> None:
    found = [dataclasses.replace(record(f'b{hour}'), id=f'b{hour}') for hour in (3, 2, 1)]

    assert beyond(found, 1) == ['b1', 'b2']
    assert beyond(found, 3) == []


def test_what_was_just_made_stays_when_the_clock_was_set_back(shelf: Shelf) -> None:
    for each in (record('b5', hour=5), record('b4', hour=4), record('b1', hour=1)):
        put(shelf, each)

    assert shelf.retain(2, newest='b1') == ['b4']


def test_what_an_operator_renamed_or_copied_counts_by_the_name_of_its_folder(shelf: Shelf) -> None:
    for hour in (1, 2, 3):
        put(shelf, record(f'b{hour}', hour=hour))
    (shelf.folder / 'b1').rename(shelf.folder / 'golden')
    shutil.copytree(shelf.folder / 'b2', shelf.folder / 'b2-copy')

    assert shelf.retain(3) == ['golden']
    assert [each.id for each in shelf.backups()] == ['b3', 'b2-copy', 'b2']


def test_a_backup_learns_of_which_update_it_is(shelf: Shelf) -> None:
    put(shelf, record('b1'))

    shelf.belongs_to('b1', 7)

    assert shelf.usable('b1')[1] == record('b1', update_id=7)


def test_what_is_deleted_is_gone(shelf: Shelf) -> None:
    put(shelf, record('b1'))

    shelf.delete('b1')

    assert list(shelf.folder.iterdir()) == []


def test_what_is_no_backup_any_more_is_not_said_to_be_one(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shelf, record('b1'))

    def fails(path: Path) -> None:
        raise PermissionError(errno.EPERM, 'Operation not permitted', str(path))

    monkeypatch.setattr(shutil, 'rmtree', fails)

    with pytest.raises(BackupError, match=r'b1 is no backup any more, .*: Operation not permitted; remove .*/\.old-'):
        shelf.delete('b1')

    assert shelf.backups() == []


def test_a_folder_that_is_no_backup_is_not_taken_for_damaged_storage(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / 'other').mkdir()

    with pytest.raises(UsageError, match='there is no backup'):
        shelf.find(str(tmp_path / 'other'))


def test_nothing_is_deleted_by_its_path(shelf: Shelf, tmp_path: Path) -> None:
    other = Shelf(tmp_path / 'other')
    put(other, record('b1'))

    with pytest.raises(UsageError, match='is a path'):
        shelf.delete(str(other.folder / 'b1'))

    assert [each.id for each in other.backups()] == ['b1']
