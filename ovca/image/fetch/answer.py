"""What an HTTP answer says of the source: its length, what changes with its content, how long to leave it alone."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovca.image.fetch import credentials

if TYPE_CHECKING:
    import requests

NUMBER = re.compile(r'[0-9]{1,18}')
RANGE = re.compile(rf'bytes ({NUMBER.pattern})-({NUMBER.pattern})/({NUMBER.pattern}|\*)')
SECONDS = re.compile(r'[0-9]{1,9}')
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that may be others a moment later."""


@dataclass(frozen=True)
class Answer:
    """An answer with the URI that gave it, after all redirects, and the login that it got."""

    response: requests.Response
    uri: str
    login: credentials.Login | None

    @property
    def size(self) -> int | None:
        """The length of the whole source."""
        if self.response.status_code == 206 and (match := self.range):
            return number(match[3])
        return number(self.response.headers.get('Content-Length', '')) if self.response.status_code == 200 else None

    @property
    def range(self) -> re.Match[str] | None:
        return RANGE.fullmatch(self.response.headers.get('Content-Range', '').strip())

    @property
    def ranges(self) -> bool:
        """Whether the server says that it gives ranges."""
        return self.response.status_code == 206 or self.response.headers.get('Accept-Ranges', '') == 'bytes'

    @property
    def etag(self) -> str | None:
        """The ETag, if it is a strong one: then the same ETag means the same bytes."""
        etag = str(self.response.headers.get('ETag', ''))
        return etag if etag.startswith('"') else None

    @property
    def validator(self) -> str | None:
        """What changes whenever the content does."""
        return self.etag or self._modified()

    def _modified(self) -> str | None:
        """Last-Modified, unless it is of the very second of the answer: within that, another change would not show."""
        modified, date = (str(self.response.headers.get(name, '')) for name in ('Last-Modified', 'Date'))
        try:
            changed = email.utils.parsedate_to_datetime(modified)
            fresh = bool(date) and (email.utils.parsedate_to_datetime(date) - changed).total_seconds() < 1
        except (TypeError, ValueError, OverflowError):
            return None
        return None if fresh else modified


def number(text: str) -> int | None:
    """The number of bytes that a text is; None if it is none that a file can have."""
    return int(text) if NUMBER.fullmatch(text) else None


def retry_after(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """For how many seconds a server asks to be left alone (RFC 9110, section 10.2.3); None if it says nothing usable.

    A date is held against the server's own one, where it tells it: the clocks may differ.
    """
    text = headers.get('Retry-After', '').strip()
    if SECONDS.fullmatch(text):
        return float(text)
    until = _date(text)
    if until is None:
        return None
    return max(0.0, (until - (_date(headers.get('Date', '')) or now)).total_seconds())


def _date(text: str) -> dt.datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
