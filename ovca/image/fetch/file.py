"""Local files, by path or ``file:`` URI."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from ovca.image.errors import SourceError
from ovca.image.fetch.base import CHUNK, Fetcher, Opened


class FileFetcher(Fetcher):
    """Reads a file that this node can open."""

    def stream(self, part: Path, stopped: Callable[[], bool]) -> Iterator[bytes]:
        """Yield the file; it lies here already, so no part of it is kept."""
        opened = self._open(0, None)
        self.size = opened.size
        for data in self._limited(opened.chunks):
            yield data
            if stopped():
                return

    def _open(self, offset: int, validator: str | None) -> Opened:
        parts = urlsplit(self.uri)
        path = Path(unquote(parts.path) if parts.scheme else self.uri)
        try:
            facts = path.stat()
            if stat.S_ISFIFO(facts.st_mode) or stat.S_ISCHR(facts.st_mode):  # either may have no end, or no beginning
                raise self._unreadable('a pipe or a device, and no file')
            found = f'{facts.st_ino}-{facts.st_mtime_ns}-{facts.st_size}'
            stream = path.open('rb')
        except (OSError, ValueError) as exc:  # the latter of a path that holds a zero
            raise self._unreadable(exc.strerror if isinstance(exc, OSError) else str(exc)) from exc
        start = offset if validator == found else 0
        stream.seek(start)

        def chunks() -> Iterator[bytes]:
            with stream:
                while data := self._read(stream):
                    yield data

        return Opened(start, facts.st_size, found, chunks())

    def _read(self, stream: BinaryIO) -> bytes:
        try:
            return stream.read(CHUNK)
        except OSError as exc:
            raise SourceError(
                self.shown, f'it cannot be read: {exc.strerror}; see to the disk that it is on', id='file-unreadable'
            ) from exc

    def _unreadable(self, what: str | None) -> SourceError:
        return SourceError(self.shown, f'{what}; name a file that this node can read', id='file-unreadable')
