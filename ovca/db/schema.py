"""The schema's revision: bring the database to it, and judge whether this software can work on it.

During an update old and new software work on one database. So a migration only ever adds: tables, indexes,
columns that may be empty or have a server default; and software of revision N works on the schemas N-1 and N,
and goes on working on N+1. Revisions are numbers with four digits, and the migration's file begins with its
own.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from ovca.db.engine import Database
from ovca.exceptions import SchemaError

FOLDER = Path(__file__).with_name('migrations')
_FILE = re.compile(r'(\d{4})_\w+\.py')
_LOCK = 0x6F766361  # PostgreSQL's advisory lock of a migration: "ovca"
_PATIENCE = 60  # seconds to wait for the migration that the other node is running


def head(folder: Path = FOLDER) -> str:
    """The revision of this software: that of the newest migration in the folder."""
    found = [match[1] for path in (folder / 'versions').iterdir() if (match := _FILE.fullmatch(path.name))]
    if not found:
        raise SchemaError(f'{folder} holds no migrations; install ovca again', id='installation-damaged')
    return max(found)


def current(database: Database) -> str | None:
    """The revision of the database's schema; None when it is empty, or a file that does not exist yet."""
    if database.missing:
        return None
    with database.read() as session:
        return current_in(session)


def check(database: Database, folder: Path = FOLDER) -> None:
    """Let the schema pass if this software can work on it: its own revision, the one before, the one after.

    :raises SchemaError: it cannot; says what to do.
    """
    _judge(database, current(database), head(folder))


def upgrade(database: Database, revision: str = 'head', *, folder: Path = FOLDER) -> None:
    """Migrate up to the revision, in one transaction; nothing happens when the schema is there or beyond.

    Two nodes may do it at the same time: the second waits for the first.

    :raises SchemaError: the schema is of a revision this software cannot judge.
    """
    target = head(folder) if revision == 'head' else revision
    there = current(database)
    if there is None or number(there) < number(target):
        make_ready()
    with database.write() as session:
        wait_for_turn(session)
        found = current_in(session)
        if found is not None and number(found) >= number(target):
            _judge(database, found, head(folder))
            return
        _run(session, target, folder)


def prepare(database: Database, folder: Path = FOLDER) -> None:
    """Give an empty database its tables; otherwise only :func:`check` it.

    :raises SchemaError: this software cannot work on what is there.
    """
    found = current(database)
    if found is None:
        upgrade(database, folder=folder)
        found = current(database)
    _judge(database, found, head(folder))


def make_ready() -> None:
    """Load what a migration needs. It takes a while, in which an open transaction would stand still."""
    import alembic.config
    import alembic.runtime.environment
    import alembic.script  # noqa: F401


def bring(session: Session, revision: str, *, folder: Path = FOLDER) -> None:
    """Migrate up to the revision within the caller's write transaction, whose turn it is; from nothing, if need be.

    Call :func:`make_ready` before the transaction.
    """
    found = current_in(session)
    if found is None or number(found) < number(revision):
        _run(session, revision, folder)


def wait_for_turn(session: Session) -> None:
    """Keep other migrations away until the end of this write transaction.

    :raises SchemaError: another node's takes longer than a minute.
    """
    if session.connection().dialect.name == 'sqlite':
        return  # there the write transaction itself is the lock
    deadline = time.monotonic() + _PATIENCE
    query = text('SELECT pg_try_advisory_xact_lock(:key)')
    while not session.execute(query, {'key': _LOCK}).scalar_one():
        if time.monotonic() > deadline:
            raise SchemaError(
                'another node has been migrating the schema for a minute; look at its log', id='schema-busy'
            )
        time.sleep(0.05)


def _run(session: Session, target: str, folder: Path) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.attributes['connection'] = session.connection()
    script = ScriptDirectory(str(folder))

    def steps(revision: Any, context: Any) -> Any:
        return script._upgrade_revs(target, revision)

    with EnvironmentContext(config, script, fn=steps, destination_rev=target):
        script.run_env()


def current_in(session: Session) -> str | None:
    """Like :func:`current`, in the caller's transaction."""
    if not inspect(session.connection()).has_table('alembic_version'):
        return None
    found = session.execute(text('SELECT version_num FROM alembic_version')).scalar_one_or_none()
    return None if found is None else str(found)


def _judge(database: Database, found: str | None, mine: str) -> None:
    if found is None:
        raise SchemaError(
            f'the database {database} is empty; start ovca.service, which makes the tables, or run `ovca db-upgrade`',
            id='schema-missing',
        )
    distance = number(found) - number(mine)
    if abs(distance) <= 1:
        return
    if distance < 0:
        id, advice = 'schema-too-old', 'this ovca is too new for it; update by way of the version in between'
    else:
        id, advice = 'schema-too-new', 'this ovca is too old for it; install the version that the other node runs'
    raise SchemaError(f'the database {database} has schema revision {found}, this software {mine}; {advice}', id=id)


def number(revision: str) -> int:
    """The revision as a number. :raises SchemaError: it is not one of ovca."""
    try:
        return int(revision)
    except ValueError:
        raise SchemaError(
            f'{revision} is not a schema revision of ovca; check [database] connection', id='schema-unknown'
        ) from None
