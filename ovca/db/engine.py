"""The way to the database: short transactions, bounded waits, errors an operator can read.

SQLite is for one machine, PostgreSQL for an appliance; both behave alike here. A writer takes its lock at the
start (``BEGIN IMMEDIATE``; on PostgreSQL the caller locks the row it decides on), a reader sees one snapshot.
Never do anything slow inside a transaction: a stopped process holds its locks until the server's idle timeout
ends them.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Engine, Result, Row, Select, Update, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.dml import ReturningUpdate

from ovca.conf import secrets
from ovca.db import errors, postgresql, sqlite
from ovca.db.models import UTCDateTime
from ovca.exceptions import ConfigError, SchemaError

if TYPE_CHECKING:
    from oslo_config import cfg


READING: dict[str, Any] = {'isolation_level': 'REPEATABLE READ', 'postgresql_readonly': True}
WRITING: dict[str, Any] = {'isolation_level': 'READ COMMITTED', 'postgresql_readonly': False}
"""What PostgreSQL's sessions are used with; each goes from one kind of transaction to the other."""

CHANGED = 'ovca-changed'
"""The mark of a session by which a row was changed whose number the driver does not tell."""


# Statements that each pass of a thread says are made once: to make one takes longer than to ask a database on the same
# machine. So the clock is one object for each kind of database, and what is made with it can be kept by it.
_CLOCKS: dict[str, ColumnElement[dt.datetime]] = {
    # In the form in which SQLAlchemy stores times, which are compared as texts.
    'sqlite': func.strftime('%Y-%m-%d %H:%M:%f000', 'now', type_=UTCDateTime()),
    'postgresql': func.clock_timestamp(type_=UTCDateTime()),
}
_NOW = {dialect: select(clock) for dialect, clock in _CLOCKS.items()}


def clock(session: Session) -> ColumnElement[dt.datetime]:
    """The database's own time as an expression: to be stored, or to be read together with rows."""
    return _CLOCKS[session.get_bind().dialect.name]


def now(session: Session) -> dt.datetime:
    """The database's own time, in UTC; within one transaction it goes on."""
    moment: dt.datetime = rows(session, _NOW[session.get_bind().dialect.name]).scalar_one()
    return moment


def rows(
    session: Session, query: Select[*tuple[Any, ...]], values: Mapping[str, Any] | None = None
) -> Result[*tuple[Any, ...]]:
    """Read columns, for what each pass asks: without what makes objects of rows, it takes half the time.

    What the session has not flushed is not seen.
    """
    return session.connection().execute(query, values)


@functools.lru_cache
def _telling(what: Update, *told: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ReturningUpdate[Any]:
    return what.returning(*told)


def change(
    session: Session,
    what: Update,
    values: Mapping[str, Any],
    *told: ColumnElement[Any] | InstrumentedAttribute[Any],
) -> Row[Any] | None:
    """Change one row by one statement, and return what ``told`` says after it; None: there is no such row.

    ``values`` are those of the parameters in ``what``, which is made once. An SQLite below 3.35 cannot do both at once,
    so there it is two statements.
    """
    connection = session.connection()
    if connection.dialect.update_returning:
        found = connection.execute(_telling(what, *told), values).one_or_none()
        if found is not None:
            session.info[CHANGED] = True  # SQLite does not count the rows before they are read
        return found
    if connection.execute(what, values).rowcount == 0:
        return None
    condition = what.whereclause
    seen = select(*told).select_from(what.table)
    return connection.execute(seen if condition is None else seen.where(condition), values).one_or_none()


class Database:
    """One database and a small pool of connections to it; safe to share between threads.

    All times are seconds. ``lock_timeout`` bounds the wait for somebody else's lock, ``statement_timeout``
    one statement, ``idle_timeout`` how long a transaction may stand still before the server ends it; all of
    them belong well below the lease's ttl.

    :raises ConfigError: the URL is wrong, or names an SQLite file on a network file system.
    """

    sessions: type[Session] = Session
    """What its transactions are made of."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = 5,
        lock_timeout: float = 5,
        statement_timeout: float = 10,
        idle_timeout: float = 5,
    ) -> None:
        parsed = parse_url(url)
        if parsed.get_backend_name() == 'sqlite':
            writer = sqlite.create(parsed, lock_timeout=lock_timeout)
            reader = sqlite.create(parsed, lock_timeout=lock_timeout, reading=True)
            self._use(writer, reader, time.monotonic)
            return
        engine = postgresql.create(
            parsed,
            connect_timeout=connect_timeout,
            lock_timeout=lock_timeout,
            statement_timeout=statement_timeout,
            idle_timeout=idle_timeout,
        )
        self._use(engine.execution_options(**WRITING), engine.execution_options(**READING), time.monotonic)

    def _use(self, writer: Engine | Connection, reader: Engine | Connection, monotonic: Callable[[], float]) -> None:
        self._writer, self._reader = writer, reader
        self._url, self._local, self._monotonic = writer.engine.url, threading.local(), monotonic
        self.dialect: str = self._url.get_backend_name()
        self._wrote = -math.inf

        @event.listens_for(self._writer, 'after_cursor_execute')
        def note_change(connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: Any) -> None:
            if context is not None and (context.isinsert or context.isupdate or context.isdelete):
                self._local.changed = getattr(self._local, 'changed', False) or cursor.rowcount > 0

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Database:
        """The database that ``[database]`` names.

        :raises ConfigError: nothing usable is configured.
        """
        group = conf.database
        return cls(
            configured_url(conf),
            connect_timeout=group.connect_timeout,
            lock_timeout=group.lock_timeout,
            statement_timeout=group.statement_timeout,
            idle_timeout=group.idle_timeout,
        )

    @property
    def engines(self) -> tuple[Engine, Engine]:
        """What writes and what reads; the two of PostgreSQL share their sessions."""
        return self._writer.engine, self._reader.engine

    @property
    def file(self) -> Path | None:
        """The file that holds it; None when a server does."""
        return Path(self._url.database) if self.dialect == 'sqlite' and self._url.database else None

    @property
    def missing(self) -> bool:
        """Whether it is a file that does not exist yet, in a folder in which it can be made."""
        if self.file is None:
            return False
        try:
            self.file.stat()
        except FileNotFoundError:
            return self.file.parent.is_dir()
        except OSError:  # SQLite says why it cannot be opened
            pass
        return False

    def __repr__(self) -> str:
        return f'<Database {self}>'

    def __str__(self) -> str:
        return errors.shown(self._url)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one snapshot and cannot change anything.

        What was loaded stays usable after it.

        :raises DatabaseUnavailable: the database cannot be reached.
        :raises SchemaError: it is an SQLite file that does not exist; to connect would make it.
        """
        if self.missing:
            raise SchemaError(
                f'there is no database yet, {self.file} does not exist; start ovca.service, which makes it, or run '
                f'`ovca db-upgrade`',
                id='schema-missing',
            )
        with errors.translated(self._url), self.sessions(self._reader, expire_on_commit=False) as session:
            session.connection()
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at the end of the block, or rolled back by any exception.

        :raises DatabaseUnavailable: the database cannot be reached or is locked. When the connection broke
            during the commit, the change may have been made: read again before deciding anything.
        :raises DatabaseError: the database refused a statement.
        """
        if getattr(self._local, 'writing', False):
            raise RuntimeError('a write transaction is already open in this thread; pass its session on')
        self._local.writing, self._local.changed = True, False
        try:
            with (
                errors.translated(self._url),
                self.sessions(self._writer, expire_on_commit=False) as session,
                session.begin(),
            ):
                session.connection()  # begins now: SQLite takes its write lock before anything is read
                yield session
            if self._local.changed or session.info.get(CHANGED):
                self._wrote = self._monotonic()
        finally:
            self._local.writing = False

    def wrote(self, within: float) -> bool:
        """Whether a change was committed through here in the last ``within`` seconds: then it takes writes."""
        return self._monotonic() - self._wrote <= within

    def now(self, session: Session) -> dt.datetime:
        """The database's own time, in UTC; within one transaction it goes on."""
        return now(session)

    def dispose(self) -> None:
        """Close all connections; the next transaction opens new ones."""
        for engine in self.engines:
            engine.dispose()


def configured_url(conf: cfg.ConfigOpts) -> str:
    """The URL in ``[database] connection_file`` when that is set, else ``[database] connection``.

    :raises ConfigError: the file cannot be used, or neither names a database.
    """
    url = secrets.configured(conf, 'database', 'connection')
    if not url:
        raise ConfigError('[database] connection is empty; set it to the URL of the database', id='no-database')
    return str(url)


def parse_url(text: str) -> URL:
    """The URL with the driver that ovca uses.

    :raises ConfigError: it is no URL of a database that ovca knows; the text itself is never shown.
    """
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):
        # No "from": the cause could carry the URL and so the password.
        raise ConfigError(
            '[database] connection is not a URL; write sqlite:////path/ovca.sqlite or '
            'postgresql://user:password@host/name',
            id='database-url',
        ) from None
    if backend == 'sqlite':
        if not url.database or url.database == ':memory:':
            raise ConfigError(
                '[database] connection names no file; write sqlite:////path/ovca.sqlite', id='database-url'
            )
        return url.set(drivername='sqlite')
    if backend in ('postgresql', 'postgres'):
        return url.set(drivername='postgresql+psycopg')
    raise ConfigError(f'[database] connection: {backend} is not supported; use sqlite or postgresql', id='database-url')


def check_single_host(conf: cfg.ConfigOpts) -> None:
    """Refuse SQLite where a peer is configured: two hosts with a file each would be two masters.

    :raises ConfigError: it is so, and ``[database] single_host`` does not say that both nodes share one
        machine.
    """
    url = parse_url(configured_url(conf))
    if url.get_backend_name() == 'sqlite' and conf.cluster.peer and not conf.database.single_host:
        raise ConfigError(
            f'[cluster] peer is {conf.cluster.peer} but [database] connection is an SQLite file, which two '
            f'hosts cannot share; use PostgreSQL, or set [database] single_host = true if both nodes run on '
            f'this machine',
            id='sqlite-two-hosts',
        )
