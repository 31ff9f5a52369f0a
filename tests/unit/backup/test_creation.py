"""A backup is whole, or it is none; only its owner can read it."""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from ovca import conf
from ovca.backup import creation, tables
from ovca.backup.shelf import Shelf
from ovca.db.engine import Database
from ovca.db.models import Event, Update
from ovca.exceptions import BackupError
from tests.operated import NEW, Operated
from tests.unit.backup.conftest import Make

Install = Callable[..., None]


def test_the_record_tells_what_it_is(operated: Operated, shelf: Shelf, make: Make) -> None:
    at = dt.datetime(2026, 11, 25, 10, 15, 0, tzinfo=dt.UTC)

    record = make('before the move', at)

    told = json.loads((shelf.folder / record.id / 'backup.json').read_text())
    assert record.id == '20261125T101500Z-1.0.0'
    assert (told['created_at'], told['by'], told['why']) == ('2026-11-25T10:15:00Z', 'otto', 'before the move')
    assert (told['node'], told['version'], told['engine']) == ('mn1', '1.0.0', operated.database.dialect)
    assert [c['rows'] for c in told['contents'] if c['name'] == 'database/node.jsonl'] == [2]
    assert f'configuration{operated.config_file}' in [c['name'] for c in told['contents']]


def test_only_its_owner_can_read_it(shelf: Shelf, make: Make) -> None:
    folder = shelf.find(make().id).folder

    modes = {path.name: path.stat().st_mode & 0o777 for path in (shelf.folder, folder, *folder.iterdir())}

    assert modes == {'backup': 0o700, folder.name: 0o700, 'backup.json': 0o600, 'backup.zip': 0o600}


def test_two_in_one_second_are_two(shelf: Shelf, make: Make) -> None:
    at = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)

    ids = [make(at=at).id for _ in range(3)]

    assert ids == ['20261125T000000Z-1.0.0', '20261125T000000Z-1.0.0-2', '20261125T000000Z-1.0.0-3']
    assert {each.id for each in shelf.backups()} == set(ids)


def test_the_vendors_defaults_and_the_site_files_of_both_nodes_are_in_it(
    operated: Operated, shelf: Shelf, make: Make, tmp_path: Path
) -> None:
    vendor = tmp_path / 'ovca/vendor.d/10-acme.conf'
    vendor.parent.mkdir(parents=True)
    vendor.write_text('[remaster]\nsoak = 7\n')
    for node in ('mn1', 'mn2'):
        folder = tmp_path / 'shared/.ovca-site' / node
        folder.mkdir(parents=True)
        (folder / 'site.json').write_text(node)
        (folder / '.site.json.1234').write_text('half written')

    names = [content.name for content in make().contents]

    assert f'configuration{vendor}' in names
    assert [name for name in names if name.startswith('site/')] == ['site/mn1/site.json', 'site/mn2/site.json']


def test_a_configuration_that_was_named_by_way_of_the_folder_above_can_be_put_back(
    operated: Operated, shelf: Shelf, tmp_path: Path
) -> None:
    named = conf.load(str(tmp_path / 'shared/..' / operated.config_file.name))

    made = creation.create(named, operated.database, by='otto', why='', shelf=shelf)

    assert shelf.usable(made.id)[1].content(f'configuration{operated.config_file}') is not None


def test_a_configuration_that_was_named_with_two_slashes_can_be_put_back(operated: Operated, shelf: Shelf) -> None:
    named = conf.load(f'/{operated.config_file}')

    record = creation.create(named, operated.database, by='otto', why='a test', shelf=shelf)

    assert shelf.usable(record.id)[1].content(f'configuration{operated.config_file}') is not None


def test_rows_that_are_written_meanwhile_are_not_half_in_it(
    operated: Operated, shelf: Shelf, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An update and its event are written in one transaction while the tables are read: both are missing, or none.
    dump = tables.dump
    written = []

    def dump_and_write(connection: object, shape: tables.Shape) -> object:
        if shape.name == 'event':
            thread = threading.Thread(target=_write_both, args=(operated,))
            thread.start()
            thread.join(20)
            written.append(not thread.is_alive())
        return dump(connection, shape)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, 'dump', dump_and_write)

    record = make()

    assert written == [True]
    with operated.database.read() as session:
        assert session.get(Update, 99) is not None
    rows = {content.name: content.rows for content in record.contents}
    assert (rows['database/update.jsonl'], rows['database/event.jsonl']) == (2, 1)


def _write_both(operated: Operated) -> None:
    with operated.database.write() as session:
        now = operated.database.now(session)
        session.add(
            Update(
                id=99, state='DONE', version='2', digest=NEW, first='a', second='b', created_at=now, state_since=now,
                deadline_from=now, finished_at=now,
            )
        )  # fmt: skip
        session.add(Event(at=now, actor='mn1', kind='note', detail='both', update_id=99))


def test_a_large_table_is_read_in_parts(operated: Operated, shelf: Shelf, make: Make) -> None:
    with operated.database.write() as session:
        now = operated.database.now(session)
        rows = [{'at': now, 'actor': 'mn1', 'kind': 'note', 'detail': 'x' * 1000} for _ in range(20 * tables.BATCH)]
        session.execute(insert(Event), rows)
    del rows
    tracemalloc.start()
    try:
        record = make()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    content = record.content('database/event.jsonl')
    assert content is not None and content.rows == 20 * tables.BATCH + 1
    assert most < content.size / 2, f'{most} bytes were in use at one time for a table of {content.size}'


def test_an_empty_database_makes_no_backup(operated: Operated, shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match='there is no database yet') as caught:
        creation.create(
            conf.load(str(operated.config_file)), Database(f'sqlite:///{tmp_path}/none.sqlite'), by='', why='',
            shelf=shelf,
        )  # fmt: skip

    assert caught.value.id == 'backup-failed'
    assert shelf.backups() == []


def test_storage_that_is_not_mounted_is_not_replaced_by_the_nodes_own_disk(
    operated: Operated, make: Make, tmp_path: Path
) -> None:
    (tmp_path / 'shared').rmdir()

    with pytest.raises(BackupError, match='No such file or directory'):
        make()

    assert not (tmp_path / 'shared').exists()


def test_a_mount_point_with_nothing_mounted_gets_no_backup(
    operated: Operated, shelf: Shelf, make: Make, not_mounted: None
) -> None:
    operated.configure('mn1', extra='shared_storage_mounted = true\n')

    with pytest.raises(BackupError, match='is not mounted'):
        make()

    assert not shelf.folder.exists()


@pytest.mark.parametrize('exists', [True, False])
def test_a_folder_on_the_disk_that_a_wipe_takes_gets_no_backup(
    operated: Operated, make: Make, not_mounted: None, tmp_path: Path, exists: bool
) -> None:
    own = tmp_path / 'var/backups/ovca'
    own.mkdir(parents=exists) if exists else None
    operated.configure('mn1', extra=f'shared_storage_mounted = true\n[backup]\nfolder = {own}\n')

    with pytest.raises(BackupError, match=r"is on this node's own disk, .* on the shared storage") as caught:
        make()

    assert caught.value.id == 'backup-failed'
    assert list((tmp_path / 'var').rglob('*.zip')) == []


def test_a_full_disk_leaves_nothing_of_it(shelf: Shelf, make: Make, tmp_path: Path) -> None:
    kept = make()
    site = tmp_path / 'shared/.ovca-site/mn1'
    site.mkdir(parents=True)
    (site / 'site.json').write_bytes(os.urandom(200_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(BackupError, match='File too large; see to the storage') as caught:
            make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    assert caught.value.id == 'backup-failed'
    assert [path.name for path in shelf.folder.iterdir()] == [kept.id]


CHILD = """
    import os, signal, sys
    sys.path[:0] = {path!r}
    from ovca import conf
    from ovca.backup import archive, creation, shelf
    from ovca.db.engine import Database
    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
    {where} = die
    creation.create(conf.load({config!r}), Database({url!r}), by='', why='')
"""


@pytest.mark.parametrize(
    'where', ['archive.Writer.add_file', 'archive.Writer.close', 'shelf.write_json', 'shelf.Path.rename']
)
def test_a_kill_leaves_no_half_backup_that_is_listed(operated: Operated, shelf: Shelf, where: str) -> None:
    code = textwrap.dedent(CHILD).format(path=sys.path, where=where, config=str(operated.config_file), url=operated.url)

    done = subprocess.run([sys.executable, '-c', code], check=False, timeout=60, capture_output=True)

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(shelf.folder.iterdir()) != [], 'it was killed before it had begun'
    assert shelf.backups() == []


def test_what_a_killed_one_has_left_goes_with_a_later_backup(shelf: Shelf, make: Make) -> None:
    for name, age in (('.new-old', 7200), ('.new-fresh', 60), ('.old-old', 7200)):
        folder = shelf.folder / name
        folder.mkdir(parents=True)
        (folder / 'backup.zip').write_text('half')
        for path in (folder / 'backup.zip', folder):
            moment = path.stat().st_mtime - age
            os.utime(path, (moment, moment))

    record = make()

    assert sorted(path.name for path in shelf.folder.iterdir()) == ['.new-fresh', record.id]


SOURCE = """
from ovca.backup.base import BackupSource, SourceFailed

class Rack(BackupSource):
    api = 1
    def save(self, folder):
        {save}
    def restore(self, folder):
        print((folder / 'plan').read_text())
"""


@pytest.mark.parametrize(
    ('save', 'why'),
    [
        ("raise SourceFailed('the rack is locked; open it')", 'source rack: the rack is locked; open it'),
        ('1 / 0', 'source rack: ZeroDivisionError: division by zero'),
        (
            "(folder / 'pl\\udcff').write_text('x')",
            r'the name of sources/rack/pl\udcff is not UTF-8; rename the file',
        ),
        ("(folder / 'plan').symlink_to('/etc/shadow')", 'source rack: plan is no file; mend or remove the package'),
    ],
)
def test_a_source_that_fails_is_named_and_there_is_no_backup(
    operated: Operated, shelf: Shelf, make: Make, install: Install, save: str, why: str
) -> None:
    install('vendor', {'ovca.backup': {'rack': 'rackmod:Rack'}}, rackmod=SOURCE.format(save=save))
    operated.configure('mn1', '[backup]\nsources = rack\n')

    with pytest.raises(BackupError, match='no backup could be made') as caught:
        make()

    assert why in str(caught.value)
    assert list(shelf.folder.iterdir()) == []


def test_what_a_source_saves_is_in_the_backup_only(
    operated: Operated, shelf: Shelf, make: Make, install: Install
) -> None:
    save = "(folder / 'deep').mkdir(); (folder / 'deep/plan').write_text('mn1 on top')"
    install('vendor', {'ovca.backup': {'rack': 'rackmod:Rack'}}, rackmod=SOURCE.format(save=save))
    operated.configure('mn1', '[backup]\nsources = rack\n')

    record = make()

    content = record.content('sources/rack/deep/plan')
    assert content is not None and content.size == len('mn1 on top')
    assert sorted(path.name for path in shelf.find(record.id).folder.iterdir()) == ['backup.json', 'backup.zip']


def test_a_password_in_the_configuration_is_in_no_record(operated: Operated, shelf: Shelf, make: Make) -> None:
    operated.configure('mn1', '[update]\nuri = https://otto:geheim@example.com/x.zip\n')
    with operated.database.read() as session:
        assert 'geheim' in str(session.execute(select(text('args')).select_from(text('request'))).scalars().all())

    record = make()

    assert 'geheim' not in (shelf.find(record.id).folder / 'backup.json').read_text()
    with shelf.open(record.id) as (_, reader):
        content = record.content(f'configuration{operated.config_file}')
        assert content is not None and b'geheim' in b''.join(reader.chunks(content))
