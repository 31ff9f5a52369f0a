from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovca import conf
from ovca.backup import creation
from ovca.backup.record import Record
from ovca.backup.shelf import Shelf
from ovca.db import events
from ovca.db.engine import Database
from ovca.db.models import Channel, Directive, InstallGrant, Operation
from ovca.remaster.directives import Kind
from tests.operated import NEW, STALLED, Operated

Make = Callable[..., Record]


@pytest.fixture
def tmp_path(disk_path: Path) -> Path:
    """What is tested here is about disks."""
    return disk_path


@pytest.fixture
def operated(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    """An appliance with a past, on each engine: an image, updates, a grant, requests, a journal."""
    appliance = Operated(tmp_path, url=database_url).started().image()
    filled(appliance)
    yield appliance
    appliance.close()


def filled(appliance: Operated) -> None:
    """Something in every table."""
    first = appliance.update('FAILED_DEGRADED')
    appliance.entry(first, percent=12.5)
    appliance.wiped(first)
    second = appliance.update('INSTALL_1', retry_of=first)
    database = appliance.database
    with database.write() as session:
        now = database.now(session)
        session.add(
            InstallGrant(
                update_id=second, node='mn2', attempt=1, epoch=3, digest=NEW, salt='x', issued_at=now, expires_at=now
            )
        )
        session.add(Channel(uri='https://example.com/index.json', serial=2**40, seen_at=now))
        events.append(session, kind='note', detail='Grüße, "quoted"\n\t☃', node='mn1', epoch=3)
        session.add(
            Directive(update_id=second, kind=Kind.PAUSE.value, subject='', detail='', created_at=now, created_by='otto')
        )
        session.add(Operation(name='update', owner='otto', node='mn1', boot_id='b', pid=7, why='', taken_at=now))
    appliance.service().submit('download', uri='https://otto:geheim@example.com/x.zip')


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Where the backups of :func:`operated` are."""
    return Shelf(tmp_path / 'shared/backup')


@pytest.fixture
def make(operated: Operated) -> Make:
    """Make a backup of the appliance as it is."""

    def backup(why: str = 'a test', at: dt.datetime | None = None) -> Record:
        options = {} if at is None else {'clock': lambda: at}
        return creation.create(conf.load(str(operated.config_file)), operated.database, by='otto', why=why, **options)

    return backup


Empty = Callable[[str], Database]


@pytest.fixture
def an_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Empty:
    """Make an empty database on an engine."""

    def make(engine: str) -> Database:
        if engine == 'sqlite':
            url = f'sqlite:///{tmp_path / "empty.sqlite"}'
        else:
            server, name = request.getfixturevalue('postgresql_server'), f'ovca_empty_{uuid.uuid4().hex[:12]}'
            server.create(name)
            request.addfinalizer(lambda: server.drop(name))
            url = server.url(name)
        database = Database(url, idle_timeout=STALLED)
        request.addfinalizer(database.dispose)
        return database

    return make


@pytest.fixture
def empty(operated: Operated, an_empty: Empty) -> Database:
    """An empty database on the engine that the appliance is not on: so each test goes both ways."""
    return an_empty('postgresql' if operated.database.dialect == 'sqlite' else 'sqlite')
