"""What operators type, read: whole numbers within bounds, and times.

Commands call this when they run, not as a ``type`` of argparse: in another cliff application only what is raised while
a command runs becomes our sentence and our exit status.
"""

from __future__ import annotations

import datetime as dt
import re

from ovca.exceptions import UsageError

LARGEST = 2**63 - 1
"""The largest number that the database holds."""
MOST_ROWS = 1_000_000
"""What a list may be limited to."""
FASTEST = 2**40
"""The largest limit for a rate, as ``[update] limit_rate`` has it."""
SPAN = re.compile(r'(?:\d{1,9}[smhdw])+', re.ASCII)
UNITS = {'s': 'seconds', 'm': 'minutes', 'h': 'hours', 'd': 'days', 'w': 'weeks'}


def number(what: str, text: str, *, most: int = LARGEST) -> int:
    """A whole number from 1 to ``most``. :raises UsageError: it is none; the sentence names it as ``what``."""
    value = int(text) if re.fullmatch(r'\d{1,20}', text, re.ASCII) else 0
    if not 1 <= value <= most:
        limits = 'above 0' if most == LARGEST else f'from 1 to {most}'
        raise UsageError(f'{what} is a whole number {limits}, not {text!r}', id='bad-number')
    return value


def rate(text: str | None) -> int | None:
    """Bytes a second, if they were given: a number, with k, M or G for 1024, 1024² or 1024³ behind it.

    :raises UsageError: it is no such number.
    """
    if text is None:
        return None
    match = re.fullmatch(r'(\d{1,12}(?:\.\d{1,3})?)([kKmMgG]?)', text, re.ASCII)
    value = int(float(match[1]) * 1024 ** ' kmg'.index(match[2].lower() or ' ')) if match else -1
    if not match or not 0 <= value <= FASTEST or (value == 0 and float(match[1])):
        raise UsageError(
            f'--limit-rate is a number of bytes a second, as 500k, 20M or 1.5G, not {text!r}; 0 means no limit',
            id='bad-rate',
        )
    return value


def update_id(text: str | None) -> int | None:
    """The number of an update, if one was given. :raises UsageError: it is no such number."""
    return None if text is None else number('the number of an update', text)


def moment(text: str, *, span: str = 'how long ago') -> dt.datetime | dt.timedelta:
    """A time as ISO 8601 (UTC unless it names a zone), or how long ago: ``90s``, ``2h``, ``1d12h``.

    ``span`` says what a duration means, where it is something else.

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
            f'{text!r} is no time; write one as 2026-11-24T10:00:00Z, or {span} as 90s, 30m, 2h or 1d12h',
            id='bad-time',
        ) from None
