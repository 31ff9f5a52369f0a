"""A fresh database for a program that is no test: the same server as the tests have."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ENGINES, PostgresServer, postgres_programs

__all__ = ['ENGINES', 'fresh_database', 'postgresql_server']


@contextmanager
def fresh_database(engine: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database; a PostgreSQL server of its own, or a file in ``folder``."""
    if engine == 'sqlite':
        yield f'sqlite:///{folder / "ovca.sqlite"}'
        return
    with postgresql_server() as server:
        server.create('ovca')
        yield server.url('ovca')


@contextmanager
def postgresql_server() -> Iterator[PostgresServer]:
    """A private server that ends with the block. :raises RuntimeError: there is no PostgreSQL here."""
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError('PostgreSQL is not installed: apt-get install postgresql; or choose --engine sqlite')
    with tempfile.TemporaryDirectory(prefix='ovca-postgresql-') as name:
        server = PostgresServer(programs, Path(name))
        try:
            server.start()
            yield server
        finally:
            server.stop()
