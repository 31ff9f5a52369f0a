"""A source in memory, with the vices of real ones: for tests, and as the shortest example of a driver."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ovca.image.errors import SourceError
from ovca.image.fetch.base import Fetcher, FetchOptions, Opened


@dataclass
class FakeSource:
    """What is behind a URI; change it at any time."""

    content: bytes = b''
    missing: bool = False
    """There is nothing at this URI."""
    drops: int = 0
    """So many connections break after :attr:`drop_after` bytes."""
    drop_after: int = 0
    piece: int = 64 * 1024
    """Bytes given at a time."""
    opened: list[int] = field(default_factory=list)
    """The offset at which each connection began."""


class FakeFetcher(Fetcher):
    """Reads a :class:`FakeSource`; loaded by its scheme, it reads the text in the URI itself: ``fake:some-bytes``."""

    def __init__(self, uri: str, options: FetchOptions, *, source: FakeSource | None = None) -> None:
        super().__init__(uri, options)
        self.source = source or FakeSource(unquote(urlsplit(uri).path).encode())

    def _open(self, offset: int, validator: str | None) -> Opened:
        content = self.source.content
        if self.source.missing:
            raise SourceError(self.shown, 'there is no such source; set `missing` to False', id='source-refused')
        found = hashlib.sha256(content).hexdigest()
        start = offset if validator == found else 0
        self.source.opened.append(start)
        return Opened(start, len(content), found, self._pieces(content, start))

    def _pieces(self, content: bytes, start: int) -> Iterator[bytes]:
        end = len(content)
        breaks = self.source.drops > 0
        if breaks:
            self.source.drops -= 1
            end = min(end, start + self.source.drop_after)
        for place in range(start, end, self.source.piece):
            yield content[place : min(place + self.source.piece, end)]
        if breaks:
            raise ConnectionResetError('the connection broke')
