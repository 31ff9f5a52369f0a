"""PostgreSQL: sessions whose every wait has an end, whichever side is stopped or cut off."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from ovca.exceptions import ConfigError

_GRACE = 2.0  # seconds that the server's "statement timeout" may be on its way

_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"


def create(
    url: URL, *, connect_timeout: float, lock_timeout: float, statement_timeout: float, idle_timeout: float
) -> Engine:
    """An engine whose sessions carry these limits (seconds) from their first moment.

    :raises ConfigError: psycopg is not installed.
    """
    try:
        connect = _connector(answer_within=statement_timeout + _GRACE)
    except ImportError as exc:
        raise ConfigError(
            f'[database] connection names PostgreSQL, but its driver cannot be loaded ({exc}); '
            f"install it: pip install 'ovca[postgresql]'",
            id='postgresql-missing',
        ) from exc
    network = max(1, round(max(idle_timeout, connect_timeout)))
    settings = {
        'idle_in_transaction_session_timeout': _ms(idle_timeout),
        'lock_timeout': _ms(lock_timeout),
        'statement_timeout': _ms(statement_timeout),
        # The server's own view of a client that has vanished.
        'tcp_user_timeout': _ms(network),
        'tcp_keepalives_idle': network,
        'tcp_keepalives_interval': 2,
        'tcp_keepalives_count': 3,
        'timezone': 'UTC',
    }
    given = url.query.get('options', '')
    options = ' '.join(
        [given if isinstance(given, str) else ' '.join(given)]
        + [f'-c {name}={value}' for name, value in settings.items()]
    )
    engine = create_engine(
        url.difference_update_query(['options']),
        poolclass=QueuePool,
        pool_size=3,
        max_overflow=20,
        pool_timeout=connect_timeout,
        pool_pre_ping=True,
        pool_recycle=600,
        connect_args={
            'connect_timeout': max(2, round(connect_timeout)),  # libpq's smallest is two seconds
            'options': options.strip(),
            'application_name': 'ovca',
            'keepalives': 1,
            'keepalives_idle': network,
            'keepalives_interval': 2,
            'keepalives_count': 3,
            'tcp_user_timeout': _ms(network),
        },
        hide_parameters=True,
    )

    @event.listens_for(engine, 'do_connect')
    def open_connection(dialect: Any, entry: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return connect(**kwargs)

    @event.listens_for(engine, 'connect')
    def keep_commits(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        # A claim that a crash of the server takes back would be given out twice.
        cursor = connection.cursor()
        cursor.execute(_DURABLE)
        cursor.close()
        connection.commit()

    return engine


def _connector(answer_within: float) -> Any:
    """Make ``connect`` of a connection that closes itself when the server is silent for too long.

    The server ends a statement at its own timeout, so whoever waits longer waits for a cut line. TCP does not
    notice that when something in between (a forwarder, a stopped server) keeps the connection up.
    """
    import psycopg

    class Impatient(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
            return super().wait(self._bounded(gen), *args, **kwargs)

        def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
            # psycopg's wait sends 0 ("nothing yet") ten times a second.
            deadline = time.monotonic() + answer_within
            try:
                state = next(gen)
                while True:
                    ready = yield state
                    if not ready and time.monotonic() > deadline:
                        self.pgconn.finish()
                        raise psycopg.OperationalError(f'no answer for {answer_within:g} s')
                    state = gen.send(ready)
            except StopIteration as stop:
                return stop.value

    return Impatient.connect


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
