from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovca.db.engine import Database
from ovca.testing import tables
from tests.operated import STALLED


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the tables of this software."""
    database = Database(database_url, lock_timeout=5, idle_timeout=STALLED)
    tables.prepare(database)
    yield database
    database.dispose()
