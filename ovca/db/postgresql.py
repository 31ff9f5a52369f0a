"""PostgreSQL: sessions whose every wait has an end, whichever side is stopped or cut off."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from ovca.exceptions import ConfigError


def create(
    url: URL, *, connect_timeout: float, lock_timeout: float, statement_timeout: float, idle_timeout: float
) -> Engine:
    """An engine whose sessions carry these limits (seconds) from their first moment.

    :raises ConfigError: psycopg is not installed.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError as exc:
        raise ConfigError(
            f'[database] connection names PostgreSQL, but its driver cannot be loaded ({exc}); '
            f"install it: pip install 'ovca[postgresql]'"
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
    return create_engine(
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


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
