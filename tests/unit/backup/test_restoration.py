"""A backup is put back: on either engine, from either, and the protocol's rules hold afterwards."""

from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import json
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import Connection, select, text

from ovca import conf
from ovca.backup import creation, restoration
from ovca.backup.aftermath import RESTORED
from ovca.backup.restoration import Outcome
from ovca.backup.shelf import Shelf
from ovca.cluster.lease import Lease, LeaseLost
from ovca.db import schema
from ovca.db.engine import Database
from ovca.db.models import Directive, Event, Image, InstallGrant, Node, Operation, Request, Update
from ovca.db.models import Lease as LeaseRow
from ovca.exceptions import BackupError, Refused, SchemaError
from ovca.provision.authority import SiteFile, SiteFolder
from ovca.provision.site import state
from ovca.provision.site.state import SiteState
from ovca.remaster import migration
from ovca.remaster.eligible import eligible
from ovca.testing.appliance import rows
from tests.operated import NEW, OLD, Operated
from tests.unit.backup.conftest import Empty, Make

CHANGED = {'lease', 'node', 'update', 'install_grant', 'request', 'directive', 'operation', 'event'}
"""Tables whose rows a restore has to change."""


def restore(
    operated: Operated, shelf: Shelf, id: str, database: Database, *, replace: bool = False, who: str = 'otto'
) -> Outcome:
    with shelf.open(id) as (_, reader):
        return restoration.carry_out(conf.load(str(operated.config_file)), database, reader, replace=replace, who=who)


@pytest.mark.parametrize('engine', ['sqlite', 'postgresql'])
def test_what_the_database_knew_is_known_again_on_either_engine(
    operated: Operated, shelf: Shelf, make: Make, an_empty: Empty, engine: str
) -> None:
    empty = an_empty(engine)
    before = rows(operated.database)

    outcome = restore(operated, shelf, make().id, empty)

    after = rows(empty)
    assert {name: after[name] for name in before if name not in CHANGED} == {
        name: before[name] for name in before if name not in CHANGED
    }
    assert before['image'] and before['entry'] and before['channel']
    assert set(before['event']) < set(after['event'])
    assert outcome.rows == sum(len(found) for found in before.values())
    assert schema.current(empty) == schema.head()


def test_there_and_back_again_nothing_is_lost(operated: Operated, shelf: Shelf, make: Make, empty: Database) -> None:
    restore(operated, shelf, make().id, empty)
    before = rows(empty)
    again = creation.create(conf.load(str(operated.config_file)), empty, by='otto', why='again', shelf=shelf)
    operated.silent(60)

    restore(operated, shelf, again.id, operated.database, replace=True)

    after = rows(operated.database)
    untouched = set(before) - {'lease', 'event'}
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}


def test_half_a_character_in_a_row_comes_back_as_it_is(
    operated: Operated, shelf: Shelf, make: Make, empty: Database
) -> None:
    told = {'seen': os.fsdecode(b'/etc/M\xfcller.conf')}
    with operated.database.write() as session:
        session.scalars(select(Image)).one().manifest = told

    restore(operated, shelf, make().id, empty)

    with empty.read() as session:
        assert session.scalars(select(Image)).one().manifest == told


def test_nobody_leads_and_the_next_epoch_is_new(operated: Operated, shelf: Shelf, make: Make, empty: Database) -> None:
    with operated.database.write() as session:
        session.add(Event(at=operated.database.now(session), actor='mn1', kind='note', detail='', epoch=41))

    outcome = restore(operated, shelf, make().id, empty)

    with empty.read() as session:
        lease = session.scalars(select(LeaseRow)).one()
        nodes = session.scalars(select(Node).order_by(Node.name)).all()
    assert (lease.holder, lease.incarnation, lease.acting, lease.renewed_at) == (None, None, False, None)
    assert (lease.epoch, lease.fence_proof, lease.demoted_epoch) == (42, None, 0) == (outcome.aftermath.epoch, None, 0)
    assert [(n.name, n.boot_id, n.incarnation, n.ready, n.health) for n in nodes] == [
        ('mn1', None, None, False, 'unknown'),
        ('mn2', None, None, False, 'unknown'),
    ]
    assert [n.running_version for n in nodes] == ['1.0.0', '1.0.0']


def test_the_epoch_is_higher_than_that_of_the_database_that_is_replaced(
    operated: Operated, shelf: Shelf, make: Make
) -> None:
    backup = make()
    operated.silent(60)
    with operated.database.write() as session:
        session.scalars(select(LeaseRow)).one().epoch = 90

    restore(operated, shelf, backup.id, operated.database, replace=True)

    with operated.database.read() as session:
        assert session.scalars(select(LeaseRow.epoch)).one() == 91


def test_a_master_that_was_forgotten_while_it_was_paused_can_write_nothing(
    operated: Operated, shelf: Shelf, make: Make
) -> None:
    backup = make()
    operated.silent(60)
    with operated.database.write() as session:
        session.scalars(select(LeaseRow)).one().incarnation = 'paused'
    restore(operated, shelf, backup.id, operated.database, replace=True)
    paused = Lease(operated.database, 'mn1', 'paused', ttl=30)

    with pytest.raises(LeaseLost):
        paused.renew(3)
    with pytest.raises(LeaseLost), paused.fenced(3):
        pytest.fail('a master of before the restore may write')


def test_what_was_under_way_is_over(operated: Operated, shelf: Shelf, make: Make, empty: Database) -> None:
    outcome = restore(operated, shelf, make().id, empty)

    with empty.read() as session:
        update = session.scalars(select(Update).order_by(Update.id.desc()).limit(1)).one()
        grants = session.scalars(select(InstallGrant).order_by(InstallGrant.id)).all()
        request = session.scalars(select(Request)).one()
        event = session.scalars(select(Event).where(Event.to_state == 'ABORTED')).one()
        operations = session.scalars(select(Operation)).all()
        lifted = session.scalars(select(Directive.lifted_by)).all()
    assert (update.id, update.state, update.reason) == (2, 'ABORTED', RESTORED)
    assert update.finished_at is not None
    assert (event.update_id, event.from_state, event.detail) == (2, 'INSTALL_1', RESTORED)
    assert [g.revoked_at is not None for g in grants] == [False, True], 'a consumed grant stays, an open one is revoked'
    assert (request.state, request.error) == ('failed', f'{RESTORED}; ask again')
    assert request.args['uri'] == 'https://example.com/x.zip', 'a password that is needed no more'
    assert (operations, lifted) == ([], [RESTORED])
    after = outcome.aftermath
    assert (after.ended_update, after.ended_as, after.revoked_grants, after.failed_requests) == (2, 'ABORTED', 1, (1,))


def test_an_update_beyond_its_commit_point_goes_forward_only(
    operated: Operated, shelf: Shelf, make: Make, empty: Database
) -> None:
    with operated.database.write() as session:
        session.get_one(Update, 2).proven_at = operated.database.now(session)

    restore(operated, shelf, make().id, empty)

    with empty.read() as session:
        assert session.get_one(Update, 2).state == 'FAILED_FORWARD'


@pytest.mark.parametrize('runs', [OLD, NEW, 'f' * 64])
def test_whatever_a_node_runs_after_the_restore_it_may_lead(
    operated: Operated, shelf: Shelf, make: Make, empty: Database, runs: str
) -> None:
    # The update that is open in the backup may have come to its end since: no row knows what is on the disks.
    restore(operated, shelf, make().id, empty)

    with empty.read() as session:
        assert eligible(session, 'mn2', runs)
        assert not eligible(session, 'mn2', None), 'a node whose software is not known must not lead'


def test_new_rows_get_new_numbers(operated: Operated, shelf: Shelf, make: Make, empty: Database) -> None:
    restore(operated, shelf, make().id, empty)

    with empty.write() as session:
        moment = empty.now(session)
        row = Update(
            state='DONE', version='2', digest=NEW, first='a', second='b', created_at=moment, state_since=moment,
            deadline_from=moment, finished_at=moment,
        )  # fmt: skip
        session.add(row)
        session.add(Event(at=moment, actor='mn1', kind='note', detail=''))
        session.flush()

        assert row.id == 3


def test_a_database_that_is_not_empty_stays(operated: Operated, shelf: Shelf, make: Make) -> None:
    backup = make()
    operated.silent(60)
    before = rows(operated.database)

    with pytest.raises(Refused, match=r'is not empty \(rows: .*node 2.*; give --replace') as caught:
        restore(operated, shelf, backup.id, operated.database)

    assert caught.value.id == 'database-not-empty'
    assert rows(operated.database) == before


def test_a_database_with_fresh_tables_counts_as_empty(
    operated: Operated, shelf: Shelf, make: Make, empty: Database
) -> None:
    migration.carry_out(empty, migration.plan(empty), 'otto')

    restore(operated, shelf, make().id, empty)

    assert len(rows(empty)['update']) == 2


def test_while_a_service_runs_on_the_database_nothing_is_put_back(operated: Operated, shelf: Shelf, make: Make) -> None:
    backup = make()
    before = rows(operated.database)

    with pytest.raises(Refused, match=r'ovca\.service on mn1 renewed .* stop ovca\.service on both') as caught:
        restore(operated, shelf, backup.id, operated.database, replace=True)

    assert caught.value.id == 'service-running'
    assert rows(operated.database) == before


def test_while_a_standby_runs_nothing_is_replaced(operated: Operated, shelf: Shelf, make: Make) -> None:
    backup = make()
    operated.silent(60)
    with operated.database.write() as session:
        standby = session.get_one(Node, 'mn2')
        standby.incarnation, standby.last_seen_at = 'its run', operated.database.now(session)
    before = rows(operated.database)

    with pytest.raises(Refused, match=r'ovca\.service on mn2 wrote into .* stop ovca\.service on both') as caught:
        restore(operated, shelf, backup.id, operated.database, replace=True)

    assert caught.value.id == 'service-running'
    assert rows(operated.database) == before


def test_what_fails_in_the_middle_leaves_the_database_as_it_was(
    operated: Operated, shelf: Shelf, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = make()
    operated.silent(60)
    before = rows(operated.database)
    monkeypatch.setattr(restoration.aftermath, 'settle', lambda *args, **kwargs: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        restore(operated, shelf, backup.id, operated.database, replace=True)

    assert rows(operated.database) == before
    assert schema.current(operated.database) == schema.head()


def test_nothing_is_read_from_the_storage_while_the_database_waits_for_it(
    operated: Operated, shelf: Shelf, make: Make, empty: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backup, before, drop = make(), rows(operated.database), restoration.tables.drop
    aside = tmp_path / 'aside'
    aside.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(aside))
    during = list[str]()

    def storage_is_lost(connection: Connection) -> None:
        os.truncate(shelf.find(backup.id).data, 0)
        during.extend(f'{path.stat().st_mode & 0o777:o}' for path in aside.iterdir())
        drop(connection)

    monkeypatch.setattr(restoration.tables, 'drop', storage_is_lost)
    restore(operated, shelf, backup.id, empty)

    after = rows(empty)
    kept = before.keys() - CHANGED
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert len(after['update']) == len(before['update']) > 0
    assert during == ['700'], 'only its owner can read what is put aside'
    assert list(aside.iterdir()) == []


def test_what_a_killed_restore_has_put_aside_goes_with_a_later_one(
    operated: Operated, shelf: Shelf, make: Make, empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'aside').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'aside'))
    for name, hours in (('ovca-restore-killed', 2), ('ovca-restore-at-work', 0), ('another', 2)):
        file = tmp_path / 'aside' / name / 'database/request.jsonl'
        file.parent.mkdir(parents=True)
        file.write_text('a secret')
        for each in (file, file.parent, file.parent.parent):
            os.utime(each, (time.time() - hours * 3600,) * 2)

    restore(operated, shelf, make().id, empty)

    assert {path.name for path in (tmp_path / 'aside').iterdir()} == {'ovca-restore-at-work', 'another'}


def test_a_disk_that_has_no_room_for_the_tables_changes_nothing(
    operated: Operated, shelf: Shelf, make: Make, empty: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backup = make()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'none'))

    with pytest.raises(BackupError, match='set TMPDIR to another folder') as caught:
        restore(operated, shelf, backup.id, empty)

    assert caught.value.id == 'backup-not-written'
    assert schema.current(empty) is None


@pytest.mark.parametrize('position', [40, -40, 0.5])
def test_a_damaged_backup_changes_nothing(
    operated: Operated, shelf: Shelf, make: Make, empty: Database, position: float
) -> None:
    backup = make()
    data = shelf.find(backup.id).data
    content = bytearray(data.read_bytes())
    at = int(position * len(content)) if isinstance(position, float) else int(position)
    content[at] ^= 1
    data.write_bytes(content)

    with pytest.raises(BackupError, match='is damaged') as caught:
        restore(operated, shelf, backup.id, empty)

    assert caught.value.id == 'backup-damaged'
    assert schema.current(empty) is None


def test_a_backup_of_newer_software_is_refused(operated: Operated, shelf: Shelf, make: Make, empty: Database) -> None:
    backup = make()
    path = shelf.find(backup.id).folder / 'backup.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'revision': '0999'}))

    with pytest.raises(SchemaError, match='has schema revision 0999') as caught:
        restore(operated, shelf, backup.id, empty)

    assert caught.value.id == 'schema-too-new'


def test_a_backup_of_older_software_gets_the_tables_of_this_one(
    operated: Operated, shelf: Shelf, tmp_path: Path, empty: Database
) -> None:
    old = Database(f'sqlite:///{tmp_path / "old.sqlite"}')
    schema.upgrade(old, '0001')
    with old.write() as session:
        session.add(LeaseRow(name='management', epoch=7, ttl=30.0))
    backup = creation.create(conf.load(str(operated.config_file)), old, by='otto', why='', shelf=shelf)
    old.dispose()

    outcome = restore(operated, shelf, backup.id, empty)

    assert (backup.revision, outcome.revision, schema.current(empty)) == ('0001', schema.head(), schema.head())
    assert rows(empty)['channel'] == []


def test_tables_of_somebody_else_are_saved_and_named_when_they_are_not_put_back(
    operated: Operated, shelf: Shelf, make: Make, empty: Database
) -> None:
    with operated.database.write() as session:
        session.execute(text('CREATE TABLE racks (name TEXT PRIMARY KEY, height NUMERIC)'))
        session.execute(text("INSERT INTO racks VALUES ('r1', 42)"))
    backup = make()

    outcome = restore(operated, shelf, backup.id, empty)

    assert backup.foreign == ('racks',)
    with shelf.open(backup.id) as (record, reader):
        content = record.content('database/racks.jsonl')
        assert content is not None and content.rows == 1
        assert [json.loads(line) for line in b''.join(reader.chunks(content)).splitlines()][1] == ['r1', 42]
    assert 'table racks' in outcome.left_out


def test_replacing_leaves_the_tables_of_somebody_else(operated: Operated, shelf: Shelf, make: Make) -> None:
    backup = make()
    operated.silent(60)
    with operated.database.write() as session:
        session.execute(text('CREATE TABLE racks (name TEXT PRIMARY KEY)'))
        session.execute(text("INSERT INTO racks VALUES ('r1')"))

    restore(operated, shelf, backup.id, operated.database, replace=True)

    with operated.database.read() as session:
        assert session.execute(text('SELECT name FROM racks')).scalars().all() == ['r1']


def test_images_that_only_one_side_knows_are_named(
    operated: Operated, shelf: Shelf, make: Make, empty: Database, tmp_path: Path
) -> None:
    for name in ('1.2.0', '.snapshot', 'not a version!'):
        (tmp_path / 'shared/mgmt_image' / name).mkdir(parents=True)

    outcome = restore(operated, shelf, make().id, empty)

    assert (outcome.missing_images, outcome.unknown_images) == (('1.1.0',), ('1.2.0',))


def test_storage_that_cannot_be_looked_at_does_not_make_a_restore_look_failed(
    operated: Operated, shelf: Shelf, make: Make, empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = make()
    stale = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    monkeypatch.setattr(restoration.Store, 'versions', Mock(side_effect=stale))

    outcome = restore(operated, shelf, backup.id, empty)

    assert (outcome.missing_images, outcome.unknown_images) == ((), ())
    assert outcome.images_problem
    assert len(rows(empty)['update']) == 2


def test_times_keep_their_microseconds_and_their_zone(
    operated: Operated, shelf: Shelf, make: Make, empty: Database
) -> None:
    moment = dt.datetime(2026, 3, 29, 3, 0, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    with operated.database.write() as session:
        session.add(Event(at=moment, actor='mn1', kind='moment', detail=''))

    restore(operated, shelf, make().id, empty)

    with empty.read() as session:
        assert session.scalars(select(Event.at).where(Event.kind == 'moment')).one() == moment


def test_the_files_go_to_a_folder_of_their_own(operated: Operated, shelf: Shelf, make: Make, tmp_path: Path) -> None:
    site = tmp_path / 'shared/.ovca-site/mn2'
    site.mkdir(parents=True)
    (site / 'site.json').write_text('[]')
    backup, target = make(), tmp_path / 'put/back'

    with shelf.open(backup.id) as (_, reader):
        written = restoration.put_files(reader, target)

    config = target / f'configuration{operated.config_file}'
    assert sorted(written) == sorted([config, target / 'site/mn2/site.json'])
    assert config.read_text() == operated.config_file.read_text()
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}
    assert target.stat().st_mode & 0o777 == 0o700


def test_each_node_gets_its_own_files_back_and_not_those_of_the_node_that_made_the_backup(
    shelf: Shelf, make: Make, tmp_path: Path
) -> None:
    for node, torn in (('mn1', False), ('mn2', True)):
        files = (
            SiteFile('etc/ovca.conf', 0o600, f'[cluster]\nnode_name = {node}\n'.encode(), 'configuration'),
            SiteFile('usr/local/bin/tool', 0o755, b'#!/bin/sh\n', folders=(SiteFolder('usr/local', 0o700, '', ''),)),
        )
        saved = SiteState(node, '1.0.0', 'x', (), files)
        state.save(saved, tmp_path / 'shared')
        if torn:
            state.save(dataclasses.replace(saved, version='1.1.0'), tmp_path / 'shared')
            (tmp_path / f'shared/.ovca-site/{node}/site.json').write_text('{')
    target = tmp_path / 'put/back'

    with shelf.open(make().id) as (_, reader):
        written = restoration.put_files(reader, target)

    for node in ('mn1', 'mn2'):
        root = target / 'nodes' / node
        assert (root / 'etc/ovca.conf').read_text() == f'[cluster]\nnode_name = {node}\n'
        assert {root / 'etc/ovca.conf', root / 'usr/local/bin/tool'} < set(written)
        modes = [(root / name).stat().st_mode & 0o777 for name in ('', 'etc', 'usr/local', 'etc/ovca.conf')]
        assert modes == [0o755, 0o755, 0o700, 0o600]
        assert (root / 'usr/local/bin/tool').stat().st_mode & 0o777 == 0o755
    assert target.stat().st_mode & 0o777 == 0o700


def test_site_files_that_leave_the_folder_of_their_node_are_not_written(
    shelf: Shelf, make: Make, tmp_path: Path
) -> None:
    site = tmp_path / 'shared/.ovca-site/mn2'
    site.mkdir(parents=True)
    (site / 'site.json').write_text(json.dumps([{'path': '../mn1/etc/ovca.conf', 'mode': 420, 'base64': ''}]))

    with shelf.open(make().id) as (_, reader), pytest.raises(BackupError) as caught:
        restoration.put_files(reader, tmp_path / 'put')

    assert caught.value.id == 'backup-damaged'
    assert not (tmp_path / 'put/nodes/mn1').exists()


@pytest.mark.parametrize('wrong', ['writable', 'foreign'])
def test_secrets_are_not_written_where_others_can_write(
    shelf: Shelf, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    target = tmp_path / 'target'
    target.mkdir()
    if wrong == 'writable':
        target.chmod(0o770)
    else:
        monkeypatch.setattr(os, 'geteuid', lambda: target.stat().st_uid + 1)

    with shelf.open(make().id) as (_, reader), pytest.raises(Refused) as caught:
        restoration.put_files(reader, target)

    assert caught.value.id == 'folder-not-ours'
    assert list(target.iterdir()) == []


def test_a_folder_that_holds_something_is_not_written_into(shelf: Shelf, make: Make, tmp_path: Path) -> None:
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/file').write_text('mine')

    with shelf.open(make().id) as (_, reader), pytest.raises(Refused) as caught:
        restoration.put_files(reader, tmp_path / 'full')

    assert caught.value.id == 'folder-not-empty'
    assert [path.name for path in (tmp_path / 'full').iterdir()] == ['file']
