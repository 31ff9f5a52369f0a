"""What operators type, read: whole numbers within bounds, and times."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from ovca.exceptions import UsageError

LARGEST = 2**63 - 1
"""The largest number that the database holds."""
SPAN = re.compile(r'(?:\d{1,9}[smhdw])+', re.ASCII)
UNITS = {'s': 'seconds', 'm': 'minutes', 'h': 'hours', 'd': 'days', 'w': 'weeks'}


def number(what: str, *, least: int = 1, most: int = LARGEST) -> Callable[[str], int]:
    """A ``type`` for an argument that is a whole number; the error names it as ``what``."""

    def read(text: str) -> int:
        value = int(text) if re.fullmatch(r'[+-]?\d{1,20}', text, re.ASCII) else None
        if value is None or not least <= value <= most:
            limits = f'above {least - 1}' if most == LARGEST else f'from {least} to {most}'
            raise UsageError(f'{what} is a whole number {limits}, not {text!r}', id='bad-number')
        return value

    return read


def moment(text: str) -> dt.datetime | dt.timedelta:
    """A time as ISO 8601 (UTC unless it names a zone), or how long ago: ``90s``, ``2h``, ``1d12h``.

    :raises UsageError: it is neither.
    """
    try:
        if SPAN.fullmatch(text):
            parts = re.findall(r'(\d+)([smhdw])', text)
            return sum((dt.timedelta(**{UNITS[unit]: int(count)}) for count, unit in parts), dt.timedelta())
        found = dt.datetime.fromisoformat(text)
        return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f'{text!r} is no time; write one as 2026-11-24T10:00:00Z, or how long ago as 90s, 30m, 2h or 1d12h',
            id='bad-time',
        ) from None
