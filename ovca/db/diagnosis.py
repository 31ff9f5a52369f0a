"""What is the matter with the database: looked at from this machine, without changing anything."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from ovca.db import schema
from ovca.db.engine import Database
from ovca.db.models import Base
from ovca.exceptions import DatabaseError, SchemaError
from ovca.files import is_there

OFFSET = 30.0
"""Seconds by which the clocks may differ: beyond, logs and journal do not fit together."""
LIMITS = ('idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout')
DURABLE = ('fsync', 'full_page_writes')
SLOW = 1000.0
"""Milliseconds of one question and answer after which renewing the lease is at risk."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found; None is what could not be looked at."""

    engine: str
    database: str
    """The URL, without the password."""
    head: str
    """The schema's revision of this software."""
    reachable: bool = False
    revision: str | None = None
    """The schema's revision in the database."""
    compatible: bool | None = None
    latency_ms: float | None = None
    clock_offset_seconds: float | None = None
    """How far the database's clock is ahead of this machine's."""
    missing_tables: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    integrity: dict[str, Any] = field(default_factory=dict)
    """What the engine says of itself."""
    problems: tuple[str, ...] = ()


def diagnose(database: Database, folder: Path = schema.FOLDER) -> Diagnosis:
    """Look at everything that can be looked at; what cannot is a problem, and no error."""
    found = Diagnosis(database.dialect, str(database), schema.head(folder))
    file = database.file
    if file is not None and not is_there(file):
        return replace(
            found, problems=(f'{file} does not exist; `ovca db-upgrade` makes it, and so does ovca.service',)
        )
    for look in (_reach, _schema, _tables, _integrity):
        try:
            found = look(database, found, folder)
        except DatabaseError as exc:
            found = replace(found, problems=(*found.problems, str(exc)))
            if not found.reachable:
                break
    return found


def _reach(database: Database, found: Diagnosis, folder: Path) -> Diagnosis:
    with database.read() as session:
        before, began = dt.datetime.now(dt.UTC), time.perf_counter()
        theirs = database.now(session)
        took = time.perf_counter() - began
    offset = (theirs - before).total_seconds() - took / 2
    problems = []
    if abs(offset) > OFFSET:
        problems.append(
            f'the clock of the database is {abs(offset):.0f} s {"ahead of" if offset > 0 else "behind"} the clock of '
            f'this machine; let both follow one time server'
        )
    if took * 1000 > SLOW:
        problems.append(
            f'the database took {took * 1000:.0f} ms for a small question; look at its load and the network'
        )
    return replace(
        found,
        reachable=True,
        latency_ms=round(took * 1000, 2),
        clock_offset_seconds=round(offset, 3),
        problems=tuple(problems),
    )


def _schema(database: Database, found: Diagnosis, folder: Path) -> Diagnosis:
    found = replace(found, revision=schema.current(database))
    try:
        schema.check(database, folder)
    except SchemaError as exc:
        return replace(found, compatible=False, problems=(*found.problems, str(exc)))
    return replace(found, compatible=True)


def _tables(database: Database, found: Diagnosis, folder: Path) -> Diagnosis:
    tables, columns = [], []
    with database.read() as session:
        seen = inspect(session.connection())
        names = set(seen.get_table_names())
        for table in Base.metadata.sorted_tables:
            if table.name not in names:
                tables.append(table.name)
                continue
            have = {column['name'] for column in seen.get_columns(table.name)}
            columns += [f'{table.name}.{column.name}' for column in table.columns if column.name not in have]
    problems = list(found.problems)
    # In an older schema they are missing rightly, and an empty one is named already.
    if (tables or columns) and found.revision is not None and found.revision >= found.head:
        missing = ', '.join([*tables, *columns])
        problems.append(
            f'the schema has revision {found.revision} but lacks {missing}; somebody has changed it by hand, so '
            f'restore the database from a backup'
        )
    return replace(
        found, missing_tables=tuple(sorted(tables)), missing_columns=tuple(columns), problems=tuple(problems)
    )


def _integrity(database: Database, found: Diagnosis, folder: Path) -> Diagnosis:
    with database.read() as session:
        facts, problems = (_sqlite if database.dialect == 'sqlite' else _postgresql)(session)
    return replace(found, integrity=facts, problems=(*found.problems, *problems))


def _sqlite(session: Session) -> tuple[dict[str, Any], list[str]]:
    answers = [str(row[0]) for row in session.execute(text('PRAGMA quick_check(10)'))]
    facts = {
        'version': session.execute(text('SELECT sqlite_version()')).scalar_one(),
        'journal_mode': session.execute(text('PRAGMA journal_mode')).scalar_one(),
        'quick_check': answers,
    }
    problems = []
    if answers != ['ok']:
        problems.append(f'the file is damaged: {answers[0]}; stop ovca.service and restore the file from a backup')
    return facts, problems


def _postgresql(session: Session) -> tuple[dict[str, Any], list[str]]:
    query = text('SELECT name, setting FROM pg_settings WHERE name = ANY(:names)')
    settings = {str(n): str(v) for n, v in session.execute(query, {'names': [*LIMITS, *DURABLE, 'server_version']})}
    replica = bool(session.execute(text('SELECT pg_is_in_recovery()')).scalar_one())
    facts: dict[str, Any] = {'version': settings.get('server_version'), 'replica': replica}
    facts |= {f'{name}_seconds': int(settings.get(name, '0')) / 1000 for name in LIMITS}
    facts |= {name: settings.get(name) for name in DURABLE}
    problems = [
        f'{name} is not in force: a process that stops could hold its locks for ever; connect to the server without '
        f'a pooler in between'
        for name in LIMITS
        if settings.get(name, '0') == '0'
    ]
    problems += [
        f'{name} is {settings[name]} on the server: a power loss could take back who is master; turn it on'
        for name in DURABLE
        if settings.get(name, 'on') != 'on'
    ]
    if replica:
        problems.append('the server is a replica, which takes no changes; set [database] connection to the primary')
    return facts, problems
