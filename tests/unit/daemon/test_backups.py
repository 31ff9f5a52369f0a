"""The backup that the master makes before the first step of an update."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ovca.backup import creation
from ovca.backup.shelf import Shelf
from ovca.db.models import Event, Update
from ovca.exceptions import BackupError
from ovca.remaster import checks
from tests.operated import NEW, OLD, Operated
from tests.unit.daemon.conftest import Clerk


@pytest.fixture(autouse=True)
def _passing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks, which have tests of their own, pass."""
    monkeypatch.setattr(checks, 'run_all', lambda *args, **kwargs: [])


@pytest.fixture
def shelf(operated: Operated) -> Shelf:
    return Shelf(operated.folder / 'shared/backup')


def carried_out(operated: Operated, clerk: Clerk, kind: str, **args: Any) -> int:
    """Ask the master for something, and let it carry that out."""
    number = operated.service().submit(kind, **args)
    master = clerk()
    assert master.step()
    master.join(20)
    return number


def opened(operated: Operated) -> str:
    """What the journal tells of the newest update's start."""
    with operated.database.read() as session:
        query = select(Event.detail).where(Event.to_state == 'REQUESTED').order_by(Event.id.desc()).limit(1)
        return str(session.scalars(query).one())


def test_an_update_begins_with_a_backup_and_tells_its_id(operated: Operated, clerk: Clerk, shelf: Shelf) -> None:
    operated.image()

    number = carried_out(operated, clerk, 'activate', version='1.1.0')

    (backup,) = shelf.backups()
    assert backup.record is not None
    assert operated.service().wait(number).result == {'update_id': 1, 'backup': backup.id, 'checks': []}
    assert opened(operated).endswith(f'; backup {backup.id} was made before')
    assert (backup.record.why, backup.record.update_id) == ('before the update to 1.1.0', 1)
    assert [c.rows for c in backup.record.contents if c.name == 'database/update.jsonl'] == [0], 'it was made too late'
    told = json.loads((backup.folder / 'backup.json').read_text())
    assert told['created_at'].endswith('Z')


def test_a_retry_begins_with_a_backup_of_its_own(operated: Operated, clerk: Clerk, shelf: Shelf) -> None:
    operated.image()
    failed = operated.update('FAILED_ROLLED_BACK')

    carried_out(operated, clerk, 'retry', update_id=failed)

    with operated.database.read() as session:
        assert session.get_one(Update, failed + 1).retry_of == failed
    (backup,) = shelf.backups()
    assert backup.record is not None and backup.record.update_id == failed + 1


def test_without_its_backup_an_update_is_not_begun(operated: Operated, clerk: Clerk) -> None:
    operated.image()
    shutil.rmtree(operated.folder / 'shared')

    number = carried_out(operated, clerk, 'activate', version='1.1.0')

    with pytest.raises(BackupError, match='the update was not begun') as caught:
        operated.service().wait(number)
    assert caught.value.id == 'backup-failed'
    assert operated.service().updates() == []


def test_an_operator_may_say_that_an_update_needs_none(operated: Operated, clerk: Clerk) -> None:
    operated.image()
    operated.configure('mn1', '[backup]\nrequired = false\n')
    shutil.rmtree(operated.folder / 'shared')

    number = carried_out(operated, clerk, 'activate', version='1.1.0')

    assert operated.service().wait(number).result == {'update_id': 1, 'backup': None, 'checks': []}
    assert 'without a backup, as [backup] required allows: no backup could be made' in opened(operated)


def test_backups_that_are_too_many_go_but_not_that_of_the_newest_update(
    operated: Operated, clerk: Clerk, shelf: Shelf
) -> None:
    operated.image()
    operated.configure('mn1', '[backup]\nkeep = 1\n')
    carried_out(operated, clerk, 'activate', version='1.1.0')
    first = shelf.backups()[0].id
    with operated.database.write() as session:
        row = session.get_one(Update, 1)
        row.state, row.finished_at = 'DONE', operated.database.now(session)

    by_hand = operated.service()
    for _ in range(2):
        creation.create(by_hand.conf, operated.database, by='otto', why='by hand')
    kept = [each.id for each in shelf.backups()]

    number = carried_out(operated, clerk, 'activate', version='1.1.0')

    assert operated.service().wait(number).state == 'done'
    assert first in kept and len(kept) == 2
    last = [each.record.update_id for each in shelf.backups() if each.record]
    assert last == [2, 1], 'that of the update before goes with the next backup only'


def test_the_digests_are_those_of_the_software_that_is_replaced(operated: Operated, clerk: Clerk, shelf: Shelf) -> None:
    operated.image(digest=NEW)

    carried_out(operated, clerk, 'activate', version='1.1.0')

    with shelf.open(shelf.backups()[0].id) as (record, reader):
        content = record.content('database/node.jsonl')
        assert content is not None
        header, *rows = [json.loads(line) for line in b''.join(reader.chunks(content)).splitlines()]
    at = [name for name, _ in header['columns']].index('running_digest')
    assert {row[at] for row in rows} == {OLD}


def test_the_folder_may_be_elsewhere(operated: Operated, clerk: Clerk, tmp_path: Path) -> None:
    operated.image()
    operated.configure('mn1', f'[backup]\nfolder = {tmp_path}/elsewhere\n')

    carried_out(operated, clerk, 'activate', version='1.1.0')

    assert len(Shelf(tmp_path / 'elsewhere').backups()) == 1
    assert not (operated.folder / 'shared/backup').exists()
