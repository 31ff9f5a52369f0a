"""Making a backup: one snapshot of the database, the files of the configuration, the site files, what sources bring."""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

import ovca
from ovca.backup import base, tables
from ovca.backup.archive import Writer
from ovca.backup.record import CONFIGURATION, DATA, DATABASE, SITE, SOURCES, Record
from ovca.backup.shelf import Shelf, name
from ovca.conf.storage import perishable
from ovca.db import schema
from ovca.db.engine import Database
from ovca.db.models import Node, Update
from ovca.exceptions import BackupError, OvcaError, SchemaError
from ovca.provision.site import state as site

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
STALL = 60
"""Seconds that the storage may stall while the snapshot is open; it holds no lock that anybody waits for."""
Clock = Callable[[], dt.datetime]


def _utcnow() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def create(
    conf: cfg.ConfigOpts, database: Database, *, by: str, why: str, shelf: Shelf | None = None, clock: Clock = _utcnow
) -> Record:
    """Make a backup, and delete those that are one too many; return its record.

    The configuration in it is that of the node on which this runs. It takes as long as the storage needs, so it is
    never called within a transaction.

    :raises BackupError: it cannot be made, and why; nothing of it is left then.
    """
    shelf = shelf or Shelf.from_conf(conf)
    if lost := perishable(conf, shelf.folder):
        raise _failed('; '.join(lost))
    try:
        record = _create(conf, database, shelf, by=by, why=why, at=clock())
    except OSError as exc:
        where = f'{exc.filename}: ' if exc.filename else ''
        raise _failed(f'{where}{exc.strerror or exc}; see to the storage of {shelf.folder}, and to its space') from exc
    except OvcaError as exc:
        raise exc if isinstance(exc, BackupError) else _failed(str(exc)) from exc
    retain(conf, database, shelf, record.id)
    return record


def retain(conf: cfg.ConfigOpts, database: Database, shelf: Shelf, newest: str) -> None:
    """Delete the backups that are one too many; what cannot be deleted is told in the log, for it harms nothing."""
    try:
        with database.read() as session:
            newest_update = session.scalar(select(func.max(Update.id)))
        for id in shelf.retain(conf.backup.keep, newest=newest, newest_update=newest_update):
            LOG.info('backup %s was deleted: it is older than those that [backup] keep says', id)
    except OvcaError as exc:
        LOG.warning('backups that are too many are not deleted now: %s', exc)


def _failed(why: str) -> BackupError:
    return BackupError(f'no backup could be made: {why}', id='backup-failed')


def _create(conf: cfg.ConfigOpts, database: Database, shelf: Shelf, *, by: str, why: str, at: dt.datetime) -> Record:
    with shelf.new() as folder:
        writer = Writer(folder / DATA)
        try:
            revision, version, foreign = _save_tables(writer, database, conf.cluster.node_name)
            for path in _configuration(conf):
                writer.add_file(CONFIGURATION + _plain(path), path)
            _save_site(writer, Path(conf.image.shared_storage) / site.FOLDER)
            for named, source in base.load(conf).items():
                _save_source(writer, named, source, folder / SOURCES)
            size, digest = writer.close()
        except BaseException:
            writer.abandon()
            raise
        record = Record(
            id=name(at, version),
            created_at=at,
            node=conf.cluster.node_name,
            by=by,
            why=why,
            update_id=None,
            version=version,
            revision=revision,
            engine=database.dialect,
            size=size,
            sha256=digest,
            contents=tuple(writer.contents),
            foreign=foreign,
        )
        return shelf.publish(folder, record)


def _save_tables(writer: Writer, database: Database, node: str) -> tuple[str, str, tuple[str, ...]]:
    """Save all tables as they are at one moment; return the schema's revision, what the node runs, foreign tables."""
    with database.read() as session:
        _patient(session)
        revision = schema.current_in(session)
        if revision is None:
            raise SchemaError(
                f'the database {database} is empty; start ovca.service, which makes the tables', id='schema-missing'
            )
        connection = session.connection()
        found = tables.shapes(connection)
        for shape in found:
            writer.add(f'{DATABASE}/{shape.name}.jsonl', tables.dump(connection, shape), table=True)
        version = session.scalar(select(Node.running_version).where(Node.name == node))
    return revision, version or ovca.__version__, tuple(shape.name for shape in found if not shape.known)


def _patient(session: Session) -> None:
    """Let the server wait for the storage longer than for others, who hold locks."""
    if session.connection().dialect.name != 'sqlite':
        session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{STALL}s'"))


def _configuration(conf: cfg.ConfigOpts) -> Iterator[Path]:
    """The files that this configuration was read from: the vendor's, and the site's."""
    for source in getattr(conf, 'sources', ()):
        yield Path(source.path).absolute()


def _plain(path: Path) -> str:
    """An absolute path as a record may hold it: without "..", and with one slash at its beginning."""
    return '/' + os.path.normpath(path).lstrip('/')


def _save_site(writer: Writer, folder: Path) -> None:
    for path in sorted(folder.rglob('*')) if folder.is_dir() else ():
        try:
            if stat.S_ISREG(path.lstat().st_mode) and not path.name.startswith('.'):  # else it is just being written
                writer.add(f'{SITE}/{path.relative_to(folder).as_posix()}', [path.read_bytes()])
        except FileNotFoundError:
            LOG.debug('%s went away while it was looked at', path)


def _save_source(writer: Writer, named: str, source: base.BackupSource, parent: Path) -> None:
    parent.mkdir(mode=0o700)
    try:
        folder = parent / named
        folder.mkdir(mode=0o700)
        try:
            source.save(folder)
        except Exception as exc:  # a vendor's code; whatever it raises, there is no whole backup
            LOG.debug('%s', named, exc_info=True)
            raise _failed(f'source {named}: {base.why(exc)}') from exc
        for path in sorted(folder.rglob('*')):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                writer.add_file(f'{SOURCES}/{path.relative_to(parent).as_posix()}', path)
            elif not stat.S_ISDIR(mode):
                raise _failed(f'source {named}: {path.name} is no file; mend or remove the package')
    finally:
        shutil.rmtree(parent, ignore_errors=True)
