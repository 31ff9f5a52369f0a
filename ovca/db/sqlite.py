"""SQLite: one file on a local disk of one machine."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from ovca.exceptions import ConfigError

# SQLite's locks and its shared memory do not work across hosts.
_NETWORK = {
    'nfs',
    'nfs4',
    'cifs',
    'smb3',
    'smbfs',
    '9p',
    'afs',
    'ceph',
    'lustre',
    'gfs2',
    'ocfs2',
    'glusterfs',
}
_MOUNTS = Path('/proc/self/mountinfo')


def create(url: URL, *, lock_timeout: float, reading: bool = False) -> Engine:
    """An engine on the file, to read or to write; every connection waits ``lock_timeout`` seconds for a lock.

    They are two, as SQLite forgets all prepared statements of a connection whose mode is set.

    :raises ConfigError: the file is on a network file system.
    """
    if url.database is None:
        raise ValueError('the URL names no file')
    refuse_network(Path(url.database))
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=5,
        max_overflow=20,
        pool_timeout=lock_timeout,
        connect_args={'timeout': lock_timeout, 'check_same_thread': False},
        hide_parameters=True,
    )

    @event.listens_for(engine, 'connect')
    def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        # The driver's own transactions begin late and read first; ours begin when we say so.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f'PRAGMA busy_timeout = {int(lock_timeout * 1000)}')
        _use_wal(connection, lock_timeout)
        cursor.execute('PRAGMA synchronous = FULL')
        cursor.execute('PRAGMA foreign_keys = ON')
        cursor.execute(f'PRAGMA query_only = {int(reading)}')
        cursor.close()

    @event.listens_for(engine, 'begin')
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql('BEGIN DEFERRED' if reading else 'BEGIN IMMEDIATE')

    return engine


def _use_wal(connection: DBAPIConnection, patience: float) -> None:
    # Changing the mode needs the file for itself, and SQLite does not always wait for that on its own.
    deadline = time.monotonic() + patience
    while True:
        cursor = connection.cursor()
        try:
            if cursor.execute('PRAGMA journal_mode').fetchone()[0] == 'wal':
                return
            mode = cursor.execute('PRAGMA journal_mode = WAL').fetchone()[0]
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        finally:
            cursor.close()
        if mode != 'wal':
            raise sqlite3.OperationalError(f'its file system does not allow WAL mode (SQLite answers {mode})')
        return


def refuse_network(file: Path, mounts: Path = _MOUNTS) -> None:
    """Refuse a file on a network file system; where the system does not tell, believe the configuration.

    :raises ConfigError: the file's folder is on one.
    """
    try:
        lines = mounts.read_text(encoding='utf-8', errors='surrogateescape').splitlines()
    except OSError:
        return
    folder = file.resolve().parent
    best, kind = Path('/'), ''
    for line in lines:
        left, _, right = line.partition(' - ')
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = Path(_unescape(fields[4]))
        if folder.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, right.split()[0]
    if kind in _NETWORK or (kind.startswith('fuse.') and kind[5:] in (*_NETWORK, 'sshfs', 's3fs')):
        raise ConfigError(
            f'[database] connection: {file} is on {best}, a network file system ({kind}) that corrupts '
            f'SQLite files; use a local disk, or PostgreSQL',
            id='sqlite-network-disk',
        )


def _unescape(name: str) -> str:
    for code, char in (('\\040', ' '), ('\\011', '\t'), ('\\012', '\n'), ('\\134', '\\')):
        name = name.replace(code, char)
    return name
