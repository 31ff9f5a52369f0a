"""The tables of a fresh database, for tests: the migrations run once in a process, and what came of them is copied."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovca.db.engine import Database

__all__ = ['prepare']

_statements: list[str] = []


def prepare(database: Database) -> None:
    """Give an empty database its tables, as :func:`ovca.db.schema.prepare` does it.

    :raises SchemaError: this software cannot work on what is there.
    """
    from ovca.db import schema

    if database.file is not None:
        if database.missing:
            database.file.write_bytes(_file())
    elif schema.current(database) is None:
        _say_again(database)
    schema.prepare(database)


@functools.cache
def _file() -> bytes:
    from ovca.db import schema
    from ovca.db.engine import Database

    with tempfile.TemporaryDirectory(prefix='ovca-tables-') as folder:
        file = Path(folder) / 'tables.sqlite'
        database = Database(f'sqlite:///{file}')
        schema.prepare(database)
        database.dispose()  # the last connection to be closed moves what is in the write-ahead log
        return file.read_bytes()


def _say_again(database: Database) -> None:
    """Migrate for the first time, and hear what is said; say the same in one breath from then on."""
    from sqlalchemy import event

    from ovca.db import schema

    if _statements:
        with database.write() as session:
            session.connection().exec_driver_sql(';\n'.join(_statements))
        return
    with database.write() as session:
        connection, heard = session.connection(), []

        def hear(*about: Any) -> None:
            heard.append(about[2])

        event.listen(connection, 'before_cursor_execute', hear)
        schema.bring(session, schema.head())
    _statements.extend(each for each in heard if not each.lstrip().upper().startswith('SELECT'))
