"""The database that both nodes share, on a real PostgreSQL server whose clock is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.pool import StaticPool

from ovca.db.engine import READING, WRITING, parse_url
from tests.simulation.database import FACTS, Server

# Found before the server's own: what is asked for a time is asked here, also by the defaults of columns.
_CLOCK = """
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
AS $$ SELECT current_setting('simulation.clock')::timestamptz $$
"""
_TABLES = """
SELECT format('%I', tablename) FROM pg_catalog.pg_tables WHERE schemaname = 'public' ORDER BY tablename
"""
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename), start_value, last_value
FROM pg_catalog.pg_sequences WHERE schemaname = 'public' ORDER BY sequencename
"""


class PostgresqlServer(Server):
    """An empty database of a server, at this URL.

    No session has a timeout: the server's run on real time, of which a run on a busy machine takes any amount.
    """

    reading, writing = READING, WRITING

    def __init__(self, url: str) -> None:
        super().__init__()
        import psycopg

        parsed = parse_url(url)
        path = parsed.set(drivername='postgresql').render_as_string(hide_password=False)
        options = '-c search_path=public,pg_catalog -c timezone=UTC -c synchronous_commit=off'
        self.raw = psycopg.connect(path, options=options, application_name='ovca')
        self._observer = psycopg.connect(path, autocommit=True, application_name='ovca-watch')
        self._observer.execute(_CLOCK.encode())
        self._again, self._told = b'', ''
        self.engine = create_engine(parsed, creator=lambda: self.raw, poolclass=StaticPool, hide_parameters=True)

        @event.listens_for(self.engine, 'begin')
        def begin(connection: Any) -> None:
            # Past the driver, which would begin the transaction for it: so it stays told until the time goes on.
            if self._told != self.clock:
                self._told = self.clock
                self.raw.pgconn.exec_(f"SET simulation.clock = '{self._told}'".encode())

    def save(self) -> None:
        """Keep a copy beside it, and the statements that put it back, as one message to the server."""
        observer = self._observer
        tables = [row[0] for row in observer.execute(_TABLES.encode()).fetchall()]
        observer.execute(b'DROP SCHEMA IF EXISTS saved CASCADE; CREATE SCHEMA saved')
        # A table is emptied, not its rows deleted: what is read in no order is read in the order of its pages.
        again = [
            'BEGIN',
            'SET LOCAL session_replication_role = replica',
            f'TRUNCATE {", ".join(f"public.{table}" for table in tables)}',
        ]
        for table in tables:
            observer.execute(f'CREATE TABLE saved.{table} AS TABLE public.{table}'.encode())
            if observer.execute(f'SELECT FROM saved.{table}'.encode()).rowcount:
                again.append(f'INSERT INTO public.{table} TABLE saved.{table}')
        for sequence, start, last in observer.execute(_SEQUENCES.encode()).fetchall():
            used = 'true' if last is not None else 'false'
            again.append(f"SELECT pg_catalog.setval('{sequence}', {last or start}, {used})")
        self._again = '; '.join([*again, 'COMMIT']).encode()

    def restore(self) -> None:
        self._observer.execute(self._again)

    def facts(self, tables: Iterable[str]) -> dict[str, list[tuple[Any, ...]]]:
        asked = list(tables)
        cursor = self._observer.execute('; '.join(FACTS[table] for table in asked).encode())
        found = {}
        for table in asked:
            found[table] = cursor.fetchall()
            cursor.nextset()
        return found

    def close(self) -> None:
        self.engine.dispose()
        self.raw.close()
        self._observer.close()
