"""The database as lines of JSON, one file a table, and back: the same from SQLite as from PostgreSQL.

A table's first line names it and its columns, each with the kind of its values; each further line is a row. Tables are
read as the engine describes them, and not as this software knows them: so those of a newer schema are saved as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    Text,
    cast,
    column,
    func,
    insert,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.sql.selectable import TableClause
from sqlalchemy.types import TypeEngine

from ovca.backup.values import Kind, decode, encode, kind_of
from ovca.db.models import Base, UTCDateTime
from ovca.exceptions import BackupError

REVISION = 'alembic_version'
"""The table of the schema's revision; that is a fact of the whole backup, and no table of it."""
BATCH = 500
"""Rows that are in memory at one time."""


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    kind: Kind
    foreign: bool = False
    """Its type is one that ovca never makes, so its values are saved as texts."""


@dataclass(frozen=True)
class Shape:
    """One table, as the engine describes it."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether it is a table of this software."""
        return self.name in Base.metadata.tables


def order() -> list[str]:
    """The tables of this software; each comes after those that it refers to."""
    return [each.name for each in Base.metadata.sorted_tables]


def present(connection: Connection) -> list[str]:
    """The tables of this software that the database has, in :func:`order`."""
    there = set(inspect(connection).get_table_names())
    return [name for name in order() if name in there]


def shapes(connection: Connection) -> list[Shape]:
    """All tables of the database: those of this software in :func:`order`, then the others by name."""
    inspector = inspect(connection)
    known = order()
    names = [name for name in inspector.get_table_names() if name != REVISION]
    names.sort(key=lambda name: (known.index(name) if name in known else len(known), name))
    return [shape(connection, name) for name in names]


def shape(connection: Connection, name: str) -> Shape:
    """One table of the database."""
    inspector = inspect(connection)
    columns = []
    for found in inspector.get_columns(name):
        kind = kind_of(found['type'])
        columns.append(Column(found['name'], kind or Kind.TEXT, foreign=kind is None))
    key = inspector.get_pk_constraint(name)['constrained_columns']
    return Shape(name, tuple(columns), tuple(key))


def rows(connection: Connection, shape: Shape) -> int:
    """How many rows a table has."""
    return int(connection.execute(select(func.count()).select_from(table(shape.name))).scalar_one())


def dump(connection: Connection, shape: Shape) -> Iterator[bytes]:
    """A table's lines, the rows in the order of their keys; no more than :data:`BATCH` rows are held at a time."""
    yield _line({'table': shape.name, 'columns': [[each.name, each.kind.value] for each in shape.columns]})
    source = _clause(shape)
    wanted = [cast(source.c[c.name], Text) if c.foreign else source.c[c.name] for c in shape.columns]
    query = select(*wanted).order_by(*(source.c[name] for name in shape.key))
    found = connection.execute(query, execution_options={'yield_per': BATCH})
    kinds = [each.kind for each in shape.columns]
    for row in found:
        yield _line([encode(kind, value) for kind, value in zip(kinds, row, strict=True)])


def load(connection: Connection, name: str, lines: Iterable[bytes]) -> int:
    """Put a table's lines into a table that is there, and empty; return how many rows.

    :raises BackupError: the lines do not fit the table.
    """
    lines = iter(lines)
    target = shape(connection, name)
    try:
        columns = _header(next(lines, b''), target)
        nullable = {c['name'] for c in inspect(connection).get_columns(name) if c['nullable']}
        statement, count = insert(_clause(target, nullable)), 0
        while batch := [_row(line, columns) for line in islice(lines, BATCH)]:
            connection.execute(statement, batch)
            count += len(batch)
    except (ValueError, TypeError, KeyError) as exc:
        raise BackupError(
            f'the table {name} of the backup cannot be read: {exc}; restore another backup, see `ovca backup-list`',
            id='backup-damaged',
        ) from exc
    return count


def _header(line: bytes, target: Shape) -> list[Column]:
    told = json.loads(line)
    kinds = {each.name: each.kind for each in target.columns}
    columns = [Column(str(name), Kind(kind)) for name, kind in told['columns']]
    if told['table'] != target.name:
        raise ValueError(f'it is one of the table {told["table"]}')
    foreign = [each.name for each in columns if kinds.get(each.name) is not each.kind]
    if foreign:
        raise ValueError(f'the table has no such column: {", ".join(foreign)}')
    return columns


def _row(line: bytes, columns: Sequence[Column]) -> dict[str, Any]:
    values = json.loads(line)
    if len(values) != len(columns):
        raise ValueError('a row has too many values, or too few')
    return {each.name: decode(each.kind, value) for each, value in zip(columns, values, strict=True)}


def drop(connection: Connection) -> None:
    """Drop the tables of this software, and with them all that it knows."""
    there = inspect(connection).get_table_names()
    for name in [*reversed(present(connection)), *([REVISION] if REVISION in there else [])]:
        connection.execute(text(f'DROP TABLE {_quoted(connection, name)}'))


def count_on(connection: Connection) -> None:
    """Let the numbers of new rows go on after those that are there; SQLite does it by itself."""
    if connection.dialect.name == 'sqlite':
        return
    for name in present(connection):
        key = shape(connection, name).key
        if len(key) != 1:
            continue
        quoted = _quoted(connection, name)
        sequence = connection.execute(
            text('SELECT pg_get_serial_sequence(:table, :column)'), {'table': quoted, 'column': key[0]}
        ).scalar_one()
        if sequence is not None:
            newest = select(func.max(column(key[0]))).select_from(table(name)).scalar_subquery()
            connection.execute(select(func.setval(sequence, func.coalesce(newest, 1), newest.is_not(None))))


def _clause(shape: Shape, nullable: Collection[str] = ()) -> TableClause:
    """The table for a statement; in the columns that may be ``nullable``, None is SQL's "nothing", and no JSON."""
    types: dict[Kind, Callable[[Column], TypeEngine[Any]]] = {
        Kind.BOOLEAN: lambda each: Boolean(),
        Kind.JSON: lambda each: JSON(none_as_null=each.name in nullable),
        Kind.TIME: lambda each: UTCDateTime(),
    }
    # The drivers turn the other kinds into values of Python by themselves.
    return table(shape.name, *(column(c.name, types[c.kind](c) if c.kind in types else None) for c in shape.columns))


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)


def _line(value: Any) -> bytes:
    # In ASCII: JSON in a column may hold half a character, as of a file's name, which no UTF-8 has.
    return json.dumps(value, separators=(',', ':')).encode() + b'\n'
