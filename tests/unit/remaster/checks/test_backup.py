"""The check of backups."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import pytest

from ovca.backup.creation import create
from ovca.backup.shelf import Shelf
from ovca.remaster.checks import Result

from .conftest import Checked

HOUR = dt.timedelta(hours=1)


def saved(checked: Checked, hours: float, folder: Path | None = None) -> Path:
    """There is a backup that is so many hours old, in the folder that is returned."""
    place = folder or checked.config.shared / 'backup'
    place.mkdir(parents=True, exist_ok=True)
    made = dt.datetime.now(dt.UTC) - hours * HOUR
    conf = checked.config.load()
    record = create(conf, checked.database, by='otto', why='a test', shelf=Shelf(place), clock=lambda: made)
    return place / record.id


def test_a_backup_of_today_passes(checked: Checked) -> None:
    saved(checked, 23)
    saved(checked, 80)

    assert checked.check('backup').result is Result.PASSED


def test_a_backup_that_was_cut_does_not_count(checked: Checked) -> None:
    checked.config.set('backup', required=False)
    older, newest = saved(checked, 30), saved(checked, 1)
    os.truncate(newest / 'backup.zip', 100)

    found = checked.check('backup')

    assert (found.result, found.detail) == (Result.WARNING, f'the newest backup is of {at(older)}')


def at(backup: Path) -> str:
    return json.loads((backup / 'backup.json').read_text())['created_at'][:19] + 'Z'


def test_a_backup_from_the_future_does_not_count(checked: Checked) -> None:
    saved(checked, -48)

    assert checked.check('backup').result is Result.SKIPPED


def test_without_one_the_update_makes_its_own(checked: Checked) -> None:
    found = checked.check('backup')

    assert (found.result, 'the update makes one before its first step' in found.detail) == ('skipped', True)
    assert (found.facts['newest_at'], found.facts['made_by_update']) == (None, True)


def test_where_an_update_may_start_without_its_own_an_old_one_is_warned_of(checked: Checked) -> None:
    checked.config.set('backup', required=False)
    saved(checked, 25)

    found = checked.check('backup')

    assert (found.result, found.detail.startswith('the newest backup is of 20')) == ('warning', True)


def test_the_folder_of_the_configuration_counts(checked: Checked, tmp_path: Path) -> None:
    checked.config.set('backup', required=False, folder=tmp_path / 'else')
    saved(checked, 1)
    assert checked.check('backup').result is Result.WARNING

    saved(checked, 1, tmp_path / 'else')

    assert checked.check('backup').result is Result.PASSED


@pytest.mark.parametrize(('required', 'result'), [(True, Result.FAILED), (False, Result.WARNING)])
def test_backups_that_a_wipe_of_the_node_takes_are_none(
    checked: Checked, not_mounted: None, tmp_path: Path, required: bool, result: Result
) -> None:
    saved(checked, 1, tmp_path / 'else')
    checked.config.set('image', shared_storage_mounted=True)
    checked.config.set('backup', required=required, folder=tmp_path / 'else')

    found = checked.check('backup')

    assert found.result is result
    assert (
        found.detail == f"the folder of the backups {tmp_path / 'else'} is on this node's own disk, which a wipe takes"
    )
    assert found.remedy.startswith('let [backup] folder name one on the shared storage')


def test_the_shared_storage_that_is_not_mounted_is_no_place_for_backups_either(
    checked: Checked, not_mounted: None
) -> None:
    saved(checked, 1)
    checked.config.set('image', shared_storage_mounted=True)

    found = checked.check('backup')

    assert (found.result, 'is not mounted' in found.detail, found.remedy) == (Result.FAILED, True, 'mount it')


def test_a_record_that_cannot_be_read_does_not_count(checked: Checked) -> None:
    checked.config.set('backup', required=False)
    place = checked.config.shared / 'backup' / 'x'
    place.mkdir(parents=True)
    for text in ('{', '[]', '{"created_at": 5}', '{"created_at": "2099-01-01T00:00:00"}', '{"created_at": "soon"}'):
        (place / 'backup.json').write_text(text)
        assert checked.check('backup').result is Result.WARNING


def test_none_is_needed_where_the_age_is_0(checked: Checked) -> None:
    checked.config.set('check', backup_age=0)

    assert checked.check('backup').result is Result.SKIPPED
