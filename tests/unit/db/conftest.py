from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovca.db.engine import Database
from ovca.testing import tables


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the tables of this software; short limits."""
    yield from _prepared(database_url)


@pytest.fixture
def on_postgresql(postgresql_url: str) -> Iterator[Database]:
    """The same, on PostgreSQL only."""
    yield from _prepared(postgresql_url)


def _prepared(url: str) -> Iterator[Database]:
    database = Database(url, lock_timeout=1, statement_timeout=2, idle_timeout=2, connect_timeout=2)
    tables.prepare(database)
    yield database
    database.dispose()
