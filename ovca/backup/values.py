"""Values of columns as JSON, alike from both engines."""

from __future__ import annotations

import base64
import datetime as dt
import enum
from typing import Any

from sqlalchemy import JSON, Boolean, Integer, LargeBinary, Numeric, String
from sqlalchemy import DateTime as SaDateTime
from sqlalchemy.types import TypeEngine


class Kind(enum.StrEnum):
    """What a column holds."""

    BOOLEAN = 'boolean'
    BYTES = 'bytes'
    INTEGER = 'integer'
    JSON = 'json'
    NUMBER = 'number'
    TEXT = 'text'
    TIME = 'time'


_KINDS: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (Boolean, Kind.BOOLEAN),
    (LargeBinary, Kind.BYTES),
    (Integer, Kind.INTEGER),
    (JSON, Kind.JSON),
    (Numeric, Kind.NUMBER),  # Float and Double derive from it
    (String, Kind.TEXT),
    (SaDateTime, Kind.TIME),
)


def kind_of(column_type: TypeEngine[Any]) -> Kind | None:
    """The kind of a column as the engine describes it; None for one that ovca never makes."""
    return next((kind for base, kind in _KINDS if isinstance(column_type, base)), None)


def encode(kind: Kind, value: Any) -> Any:
    """A value as the driver gives it, as JSON can hold it. A time without a zone is UTC, as SQLite keeps it."""
    if value is None:
        return None
    if kind is Kind.TIME:
        aware = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        return aware.isoformat(timespec='microseconds').replace('+00:00', 'Z')
    if kind is Kind.BYTES:
        return base64.b64encode(value).decode()
    if kind is Kind.NUMBER:
        return float(value)
    return value


def decode(kind: Kind, value: Any) -> Any:
    """The value that :func:`encode` was given. :raises ValueError, TypeError: it is none of this kind."""
    if value is None:
        return None
    if kind is Kind.TIME:
        return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
    if kind is Kind.BYTES:
        return base64.b64decode(value, validate=True)
    return value
