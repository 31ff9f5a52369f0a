"""Foreign errors become ours, once, without the password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ovca.exceptions import DatabaseError, DatabaseUnavailable

# SQLSTATE classes and codes that mean "not now": connection, resources, locks, timeouts, shutdown, rollback.
_UNAVAILABLE_CLASSES = ('08', '28', '3D', '40', '53', '57', '58')
_UNAVAILABLE_CODES = ('25006', '25P02', '25P03', '25P04', '55P03')
_UNAVAILABLE_SQLITE = ('SQLITE_BUSY', 'SQLITE_LOCKED', 'SQLITE_CANTOPEN', 'SQLITE_IOERR', 'SQLITE_FULL')
# What an operator does differently, by the beginning of the SQLSTATE or of SQLite's name for the error.
_SITUATIONS = {
    'database-locked': ('40', '55P03', '57014', '25P03', 'SQLITE_BUSY', 'SQLITE_LOCKED'),
    'database-full': ('53100', 'SQLITE_FULL'),
    'database-login': ('28', '3D', '42501'),
    'database-read-only': ('25006', 'SQLITE_READONLY'),
    'database-damaged': ('XX', 'SQLITE_CORRUPT', 'SQLITE_NOTADB', 'SQLITE_IOERR'),
    'schema-missing': ('42P01',),
}
# psycopg gives no SQLSTATE for a connection that failed, nor SQLite a name of its own for a missing table.
_WORDS = {
    'database-login': ('authentication failed', 'no pg_hba.conf entry', 'does not exist', 'no password supplied'),
    'schema-missing': ('no such table',),
}


def shown(url: URL) -> str:
    """The URL as it may be shown: no password, no query (which may hold one)."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn what the driver raises into ours; a programmer's mistake stays what it is.

    :raises DatabaseUnavailable: the database cannot be reached, is locked, or took too long.
    :raises DatabaseError: anything else that it refuses.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as exc:
        raise translate(exc, url) from exc


def translate(exc: DBAPIError | PoolTimeout, url: URL) -> DatabaseError:
    """The same error as a sentence for an operator."""
    text = _text(exc, url)
    if _unavailable(exc):
        closed = isinstance(exc, DBAPIError) and getattr(exc.orig, 'sqlite_errorname', '') == 'SQLITE_CANTOPEN'
        remedy = 'its folder is there and open to this user' if closed else 'it runs and can be reached'
        return DatabaseUnavailable(
            f'the database {shown(url)} cannot be used now: {text}; check that {remedy}', id=_situation(exc)
        )
    return DatabaseError(
        f'the database {shown(url)} refused an operation: {text}', id=_situation(exc) or 'database-refused'
    )


def _situation(exc: DBAPIError | PoolTimeout) -> str | None:
    if isinstance(exc, PoolTimeout):
        return 'database-locked'
    code = str(getattr(exc.orig, 'sqlite_errorname', None) or getattr(exc.orig, 'sqlstate', None) or '')
    if code not in ('', 'SQLITE_ERROR'):
        return next((id for id, starts in _SITUATIONS.items() if code.startswith(starts)), None)
    text = str(exc.orig)
    return next((id for id, words in _WORDS.items() if any(word in text for word in words)), None)


def _unavailable(exc: DBAPIError | PoolTimeout) -> bool:
    if isinstance(exc, PoolTimeout):
        return True
    name = getattr(exc.orig, 'sqlite_errorname', None)
    if name is not None:
        return str(name).startswith(_UNAVAILABLE_SQLITE)
    state = getattr(exc.orig, 'sqlstate', None)
    if state is None:  # the driver itself: no connection, or it broke
        kinds = {kind.__name__ for kind in type(exc.orig).__mro__}
        return exc.connection_invalidated or bool(kinds & {'OperationalError', 'InterfaceError'})
    return str(state).startswith(_UNAVAILABLE_CLASSES) or state in _UNAVAILABLE_CODES


def _text(exc: DBAPIError | PoolTimeout, url: URL) -> str:
    cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    text = str(cause).strip().split('\n', 1)[0].rstrip('.;:') or type(cause).__name__
    for secret in (url.password, *(value for key, value in url.query.items() if 'password' in key)):
        if isinstance(secret, str) and secret:
            text = text.replace(secret, '***')
    return text
