"""An appliance as its rows, for the failures that others had: where the engine matters, on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from ovca.db.models import Lease
from tests.operated import NEW, OLD, Operated


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    """mn1 is master, mn2 the standby, and the images of both versions are published; on SQLite."""
    yield from _made(tmp_path, None)


@pytest.fixture
def on_each(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    """The same, on each engine."""
    yield from _made(tmp_path, database_url)


def _made(folder: Path, url: str | None) -> Iterator[Operated]:
    appliance = Operated(folder, url=url).started().image('1.0.0', OLD).image('1.1.0', NEW)
    with appliance.database.write() as session:
        session.scalars(select(Lease)).one().incarnation = 'this run'
    yield appliance
    appliance.close()
