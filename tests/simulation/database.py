"""The database that both nodes share, on a clock that is told: SQLite in memory, or a PostgreSQL server."""

from __future__ import annotations

import datetime as dt
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from ovca.db.engine import Database
from ovca.exceptions import DatabaseUnavailable

BEGINNING = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FACTS = {
    'lease': 'SELECT holder, incarnation, epoch, acting, fence_proof, demoted_epoch FROM lease',
    'update': 'SELECT id, state, digest, first, second, proven_at, finished_at, handovers, old_digest,'
    ' abort_requested_at'
    ' FROM "update" ORDER BY id',
    'entry': 'SELECT node, attempt, final_at, final_attempt, final_digest, power_orders FROM entry ORDER BY node',
    'install_grant': 'SELECT id, node, attempt, epoch, consumed_at, written_at, failed, revoked_at, expires_at,'
    ' nonce_hash FROM install_grant ORDER BY id',
    'node': 'SELECT name, health, healthy_since, role, epoch_seen, running_digest, ready, boot_id FROM node'
    ' ORDER BY name',
    'directive': 'SELECT update_id, kind FROM directive WHERE lifted_at IS NULL ORDER BY id',
}
"""What an observer reads, table by table."""


def _pass(writing: bool) -> None:
    pass


def _nobody(normal: bool, tables: set[str]) -> None:
    pass


class Watched(Session):
    """A session that says which tables it has changed, and when it commits."""


@event.listens_for(Watched, 'after_flush')
def _flushed(session: Session, context: Any) -> None:
    tables = session.info.setdefault('tables', set())
    for rows in (session.new, session.dirty, session.deleted):
        tables.update(row.__tablename__ for row in rows)


@event.listens_for(Watched, 'before_commit')
def _committing(session: Session) -> None:
    session.flush()
    if server := session.info.get('server'):
        server.committing(session.info.get('tables', set()))


@event.listens_for(Watched, 'after_commit')
def _committed(session: Session) -> None:
    session.info['committed'] = True


class Server(ABC):
    """The database server: its content, its clock, its reachability.

    Both nodes share one connection to it, so a transaction that begins while another one is open is an error: whoever
    waited for the lock of the other one would wait for ever.
    """

    engine: Engine
    reading: ClassVar[dict[str, Any]] = {}
    writing: ClassVar[dict[str, Any]] = {}
    """What the product gives to its engine for either kind of transaction."""

    def __init__(self) -> None:
        self.utc = 0.0
        """Seconds since :data:`BEGINNING`."""
        self._inside = False
        self._text = ('', -1.0)
        self.committing: Callable[[set[str]], None] = lambda tables: None

    @property
    def clock(self) -> str:
        """The server's time as a text, in milliseconds as SQLite's, so that all servers say the same."""
        if self._text[1] != self.utc:
            moment = BEGINNING + dt.timedelta(seconds=self.utc)
            self._text = (moment.strftime('%Y-%m-%d %H:%M:%S.%f')[:-3], self.utc)
        return self._text[0]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For the time of a transaction. :raises RuntimeError: another one is open."""
        if self._inside:
            raise RuntimeError('a transaction begins while another one is open')
        self._inside = True
        try:
            yield
        finally:
            self._inside = False

    @abstractmethod
    def save(self) -> None:
        """Make what is there now what :meth:`restore` puts back."""

    @abstractmethod
    def restore(self) -> None:
        """Put the content back, and the numbers that it gives to new rows."""

    def kept(self, engine: Engine) -> Engine | Connection:
        """What the transactions of a client begin on: its engine, or a connection of that until :meth:`restore`."""
        return engine

    @abstractmethod
    def facts(self, tables: Iterable[str]) -> dict[str, list[tuple[Any, ...]]]:
        """What stands in these tables now, as :data:`FACTS` asks for it."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open to it."""

    def open(
        self,
        gate: Callable[[bool], None] = _pass,
        after: Callable[[bool, set[str]], None] = _nobody,
        monotonic: Callable[[], float] = lambda: 0.0,
    ) -> SharedDatabase:
        """A client's way to it; without arguments, that of one to whom nothing happens."""
        return SharedDatabase(self, gate, after, monotonic)

    def seconds(self, moment: Any) -> float:
        """A moment in a row as seconds since :data:`BEGINNING`."""
        if isinstance(moment, str):
            moment = dt.datetime.fromisoformat(moment)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return float((moment - BEGINNING).total_seconds())


class SqliteServer(Server):
    """SQLite in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = sqlite3.connect(':memory:', check_same_thread=False, isolation_level=None, cached_statements=512)
        self.raw.create_function('strftime', -1, self._strftime)
        self.engine = create_engine('sqlite://', creator=lambda: self.raw, poolclass=StaticPool, hide_parameters=True)
        self._saved = b''
        self._kept: list[Connection] = []
        # As the product's, but for the pragma that lets a reader write nothing: half the time of a transaction. On a
        # single connection there is nobody to whom it makes a difference when a lock is taken.
        setattr(self.engine.dialect, 'do_begin', self._begin)  # noqa: B010 - no event, which costs as much as the statement

    def _begin(self, connection: Any) -> None:
        self.raw.execute('BEGIN')

    def kept(self, engine: Engine) -> Connection:
        connection = engine.connect()
        self._kept.append(connection)
        return connection

    def _strftime(self, form: str, *words: str) -> str:
        return self.clock + ('000' if form.endswith('000') else '')

    def save(self) -> None:
        self._saved = self.raw.serialize()

    def restore(self) -> None:
        while self._kept:
            self._kept.pop().close()
        self.raw.deserialize(self._saved)

    def facts(self, tables: Iterable[str]) -> dict[str, list[tuple[Any, ...]]]:
        return {table: self.raw.execute(FACTS[table]).fetchall() for table in tables}

    def close(self) -> None:
        self.engine.dispose()
        self.raw.close()


class SharedDatabase(Database):
    """A node's database: ``gate`` is passed before each transaction, ``after`` is told of each that was committed."""

    sessions = Watched

    def __init__(
        self,
        server: Server,
        gate: Callable[[bool], None],
        after: Callable[[bool, set[str]], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.server, self._gate, self._after = server, gate, after
        engine = server.engine
        self._use(engine.execution_options(**server.writing), engine.execution_options(**server.reading), monotonic)
        self._writer, self._reader = (server.kept(each) for each in self.engines)

    @contextmanager
    def read(self) -> Iterator[Session]:
        self._gate(False)
        with self.server.alone(), super().read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        self._gate(True)
        session = None
        try:
            with self.server.alone(), super().write() as session:
                session.info['server'] = self.server if self._after is not _nobody else None
                yield session
        except Exception:
            if session is not None and session.info.get('committed'):
                self._after(False, session.info.get('tables', set()))
            raise
        self._after(True, session.info.get('tables', set()))


def unavailable(why: str) -> DatabaseUnavailable:
    """What a client sees of a server that it cannot reach."""
    return DatabaseUnavailable(f'the database cannot be used now: {why}; check that it runs and can be reached')
