"""Putting a backup back: the database in one transaction, all of it or nothing; then what sources have saved."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from ovca.backup import aftermath, base, extraction, tables, unfolding
from ovca.backup.aftermath import Aftermath
from ovca.backup.archive import Reader, Told
from ovca.backup.record import CONFIGURATION, DATABASE, SITE, SOURCES, Content, Record
from ovca.backup.shelf import tidy
from ovca.cluster.nodes import silent_after
from ovca.db import schema
from ovca.db.engine import Database, now
from ovca.db.models import Event, Image, Lease, Node
from ovca.exceptions import BackupError, OvcaError, Refused, SchemaError
from ovca.files import sync_filesystem
from ovca.image import Store
from ovca.image.note import Note

if TYPE_CHECKING:
    from oslo_config import cfg

ASIDE = 'ovca-restore-'
"""How the folders begin in which files of a backup are put aside."""
NOTES = ('database',)
"""Events that are there before an appliance has ever run: `ovca db-upgrade` writes them."""


@dataclass(frozen=True)
class Target:
    """The database as it is before."""

    database: str
    revision: str | None
    rows: Mapping[str, int]
    """Of each table that holds any."""

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost."""
        return not self.rows


@dataclass(frozen=True)
class Plan:
    """What would be put back, and into what."""

    record: Record
    target: Target

    @property
    def sentence(self) -> str:
        """What would be done."""
        what = (
            f'backup {self.record.id}, made on {self.record.node} at {self.record.created_at:%Y-%m-%dT%H:%M:%SZ} '
            f'({self.record.rows} rows), goes into the database {self.target.database}'
        )
        if self.target.empty:
            return f'{what}, which is empty'
        told = ', '.join(f'{name} {count}' for name, count in self.target.rows.items())
        return f'{what}; all that is there is lost (rows: {told})'


@dataclass(frozen=True)
class Outcome:
    """What was put back, and what an operator has to know."""

    record: Record
    database: str
    revision: str
    rows: int
    aftermath: Aftermath
    missing_images: tuple[str, ...]
    """Images that the database knows, and the shared storage does not have."""
    unknown_images: tuple[str, ...]
    """Images on the shared storage that the database does not know: published after the backup."""
    left_out: tuple[str, ...]
    """What is in the backup, and was not put back."""
    images_problem: str = ''
    """Why it is not known which images are missing, or what those have to fear that are not known."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """What sources have saved: for each why it is not put back, or nothing."""


def plan(conf: cfg.ConfigOpts, database: Database, record: Record, *, replace: bool) -> Plan:
    """Return what would be done.

    :raises Refused: the database is not empty, and not to be replaced; or ``ovca.service`` runs on it.
    :raises SchemaError: the backup, or the database to replace, is of newer software.
    """
    if schema.number(record.revision) > schema.number(schema.head()):
        raise SchemaError(
            f'backup {record.id} has schema revision {record.revision}, this software {schema.head()}; install the '
            f'software that made it ({record.version}), or a newer one',
            id='schema-too-new',
        )
    target = _look(database, silent_after(conf))
    if not (target.empty or replace):
        told = ', '.join(f'{name} {count}' for name, count in target.rows.items())
        raise Refused(
            f'the database {database} is not empty (rows: {told}); give --replace to lose all that it knows',
            id='database-not-empty',
        )
    return Plan(record, target)


def carry_out(
    conf: cfg.ConfigOpts, database: Database, reader: Reader, *, replace: bool, who: str, told: Told | None = None
) -> Outcome:
    """Put the database back, and then what sources have saved.

    The backup is verified first, all of it, and its tables are put aside on this node: its storage may hang, and the
    database is never locked meanwhile. What :func:`plan` forbids is looked at once more in the transaction.

    :raises BackupError: the backup is damaged, or cannot be put aside; nothing was changed.
    """
    record = reader.record
    verified(reader, told)
    plan(conf, database, record, replace=replace)
    schema.make_ready()
    with _tables_aside(reader) as folder, database.write() as session:
        schema.wait_for_turn(session)
        above = _judge(session, database, silent_after(conf), replace=replace)
        connection = session.connection()
        tables.drop(connection)
        schema.bring(session, record.revision)
        left_out = _load(connection, record, folder)
        schema.bring(session, schema.head())
        tables.count_on(connection)
        after = aftermath.settle(session, record, who=who, above=above)
    # The database is put back: what fails from here on is told, and no reason to do it all again.
    missing, unknown, images_problem = _images(conf, database)
    left_out += [
        f'{part}: {len(files)} file{"s" if len(files) > 1 else ""}'
        for part in (CONFIGURATION, SITE)
        if (files := record.in_part(part))
    ]
    return Outcome(
        record=record,
        database=str(database),
        revision=schema.head(),
        rows=record.rows,
        aftermath=after,
        missing_images=missing,
        unknown_images=unknown,
        left_out=tuple(left_out),
        images_problem=images_problem,
        sources=_restore_sources(conf, reader),
    )


def verified(reader: Reader, told: Told | None = None) -> None:
    """Let a good backup pass. :raises BackupError: it is not what it was."""
    problems = reader.verify(told)
    if problems:
        many = f'{len(problems)} things are wrong, the first is: ' if len(problems) > 1 else ''
        raise BackupError(
            f'backup {reader.record.id} is damaged: {many}{problems[0]}; use another one, see `ovca backup-list`',
            id='backup-damaged',
        )


def _look(database: Database, silence: float) -> Target:
    if database.missing:
        return Target(str(database), None, {})
    with database.read() as session:
        _nobody_serves(session, database, silence)
        return Target(str(database), schema.current_in(session), _rows(session.connection()))


def _rows(connection: Connection) -> dict[str, int]:
    """How many rows the tables of this software hold, but for what is there before an appliance has ever run."""
    found = {name: tables.rows(connection, tables.shape(connection, name)) for name in tables.present(connection)}
    if found.get('event'):
        count = select(func.count()).select_from(Event).where(Event.kind.not_in(NOTES))
        found['event'] = int(connection.execute(count).scalar_one())
    return {name: count for name, count in found.items() if count}


def _nobody_serves(session: Session, database: Database, silence: float) -> None:
    """:raises Refused: the lease is renewed, or a node was heard of within ``silence``, so a service runs.

    The lease's row is locked in a write transaction.
    """
    there = tables.present(session.connection())
    if not {Lease.__tablename__, Node.__tablename__} <= set(there):
        return
    for holder, renewed_at, ttl in session.execute(select(Lease.holder, Lease.renewed_at, Lease.ttl)):
        if holder is None or renewed_at is None:
            continue
        age = (now(session) - renewed_at).total_seconds()
        if age < ttl:
            raise Refused(
                f'ovca.service on {holder} renewed its lease in the database {database} {max(age, 0):.0f} s ago; stop '
                f'ovca.service on both nodes, wait {ttl:.0f} s, and repeat the command',
                id='service-running',
            )
    # A row that was put back and that no service has written since has no incarnation.
    living = select(Node.name, Node.last_seen_at).where(Node.incarnation.is_not(None)).order_by(Node.name)
    for name, seen_at in session.execute(living):
        age = (now(session) - seen_at).total_seconds() if seen_at is not None else silence
        if age < silence:
            raise Refused(
                f'ovca.service on {name} wrote into the database {database} {max(age, 0):.0f} s ago; stop ovca.service '
                f'on both nodes, wait {silence:.0f} s, and repeat the command',
                id='service-running',
            )


def _judge(session: Session, database: Database, silence: float, *, replace: bool) -> int:
    """Look at the database once more, in the transaction that changes it; return the highest epoch in it."""
    connection = session.connection()
    found = schema.current_in(session)
    if found is not None and schema.number(found) > schema.number(schema.head()):
        raise SchemaError(
            f'the database {database} has schema revision {found}, this software {schema.head()}, so it does not know '
            f'all that is in it; replace it with the software that it belongs to, or empty it by hand',
            id='schema-too-new',
        )
    if Lease.__tablename__ in tables.present(connection):
        session.execute(select(Lease.name).with_for_update())
    _nobody_serves(session, database, silence)
    rows = _rows(connection)
    if rows and not replace:
        raise Refused(f'the database {database} is not empty any more; look at it again', id='database-not-empty')
    return aftermath.highest_epoch(session) if rows else 0


@contextmanager
def _aside(reader: Reader, wanted: Iterable[Content]) -> Iterator[Path]:
    """These files in a folder of this node for a while; each is what the record says, and only its owner can read it.

    :raises BackupError: one is damaged. :raises OSError: they cannot be written.
    """
    folder = Path(tempfile.mkdtemp(prefix=ASIDE))
    tidy(folder.parent, (ASIDE,))  # secrets may be among what one has left that was killed
    try:
        extraction.extract(reader, wanted, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _tables_aside(reader: Reader) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(_aside(reader, reader.record.in_part(DATABASE)))
        except OSError as exc:
            raise BackupError(
                f'the tables of backup {reader.record.id} cannot be put aside on this node: {exc.strerror}: '
                f'{exc.filename or tempfile.gettempdir()}; make room there, or set TMPDIR to another folder',
                id='backup-not-written',
            ) from exc
        yield folder


def _load(connection: Connection, record: Record, folder: Path) -> list[str]:
    """Fill the tables from the files that were put aside; return the names of what there is no table for."""
    there = tables.present(connection)
    for name in there:
        content = record.content(f'{DATABASE}/{name}.jsonl')
        if content is None:
            raise BackupError(
                f'backup {record.id} is damaged: it has no table {name}; use another one', id='backup-damaged'
            )
        with (folder / content.name).open('rb') as lines:
            tables.load(connection, name, lines)
    return [f'table {each.path.stem}' for each in record.in_part(DATABASE) if each.path.stem not in there]


def _images(conf: cfg.ConfigOpts, database: Database) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Images that only the database knows, those that only the storage has; or why that is not known.

    The latter get a note if they have none, as those of older software: the next download would remove them.
    """
    try:
        store = Store.from_conf(conf)
        with database.read() as session:
            known = {version: iso for version, iso in session.execute(select(Image.version, Image.iso))}
        missing = [version for version, iso in known.items() if not (store.root / iso).is_file()]
        unknown = [version for version in store.versions() if version not in known]
    except (OSError, OvcaError, ValueError) as exc:
        return (), (), base.why(exc)
    try:
        with store.lock():
            store.make_up(map(Note, unknown))
            lost = [version for version in unknown if version not in store.unknown(known)]
        problem = f'the next download removes {", ".join(lost)}: that cannot be noted there' if lost else ''
    except OvcaError as exc:
        problem = base.why(exc)
    return tuple(sorted(missing)), tuple(unknown), problem


def _restore_sources(conf: cfg.ConfigOpts, reader: Reader) -> dict[str, str]:
    """Let the sources put back what they have saved; return for each why it did not, or nothing."""
    saved = dict.fromkeys(content.path.parts[0] for content in reader.record.in_part(SOURCES))
    results: dict[str, str] = {}
    for name in saved:
        if name not in conf.backup.sources:
            results[name] = 'it is not among [backup] sources; add it there and restore again'
            continue
        try:
            source = base.load_one(conf, name)
            wanted = [each for each in reader.record.in_part(SOURCES) if each.path.parts[0] == name]
            with _aside(reader, wanted) as folder:
                source.restore(folder / SOURCES / name)
        except Exception as exc:  # a vendor's code; the rest is put back, and this is told
            results[name] = base.why(exc)
        else:
            results[name] = ''
    return results


def put_files(reader: Reader, folder: Path, told: Told | None = None) -> list[Path]:
    """Write the configuration and the site files below ``folder``, which must not hold anything yet; return the paths.

    Nothing is put into force: an operator looks at them, and moves what is wanted. What each node had saved is there
    once as it was saved, and once as files.

    :raises BackupError: the backup is damaged, or the files cannot be written.
    """
    verified(reader, told)
    wanted = [*reader.record.in_part(CONFIGURATION), *reader.record.in_part(SITE)]
    try:
        _ours(folder)
        if folder.exists() and any(folder.iterdir()):
            raise Refused(f'{folder} is not empty; name a folder that is, or a new one', id='folder-not-empty')
        written = extraction.extract(reader, wanted, folder)
        written += unfolding.unfold(folder / SITE, folder)
        sync_filesystem(folder)
        return written
    except OSError as exc:
        raise BackupError(
            f'{exc.filename or folder} cannot be written: {exc.strerror}; name another folder', id='backup-not-written'
        ) from exc


def _ours(folder: Path) -> None:
    """Let a folder pass that is not there yet, or that nobody else can change.

    :raises Refused: another could put links into it, or replace what was written. :raises OSError: it is no folder.
    """
    try:
        state = folder.stat()
    except FileNotFoundError:
        return
    if state.st_uid != os.geteuid():
        wrong = f'belongs to the user {state.st_uid}'
    elif state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        wrong = f'can be written by others (mode {stat.S_IMODE(state.st_mode):04o})'
    else:
        return
    raise Refused(f'{folder} {wrong}; name a folder that is yours alone, or a new one', id='folder-not-ours')
