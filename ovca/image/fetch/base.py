"""The base of all fetch drivers: it keeps what was received, and resumes."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ovca.conf import secrets
from ovca.files import write_json
from ovca.image.errors import SourceError, StorageFailed
from ovca.image.kept import Kept

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['CHUNK', 'FetchOptions', 'Fetcher', 'Opened', 'SourceChanged', 'SourceError']

CHUNK = 1024 * 1024


@dataclass(frozen=True)
class FetchOptions:
    """The options of ``[update]``; times in seconds, rates in bytes a second."""

    proxies: dict[str, str]
    no_proxy: tuple[str, ...] = ()
    ca_file: str | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    limit_rate: int = 0
    attempts: int = 5
    pause: float = 1.0

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> FetchOptions:
        """The options as they are now. :raises ConfigError: the file of a proxy cannot be used."""
        group = conf.update
        proxies = {scheme: secrets.configured(conf, 'update', f'{scheme}_proxy') for scheme in ('http', 'https', 'ftp')}
        return cls(
            {scheme: proxy for scheme, proxy in proxies.items() if proxy},
            tuple(group.no_proxy or ()),
            group.ca_file or None,
            group.connect_timeout,
            group.read_timeout,
            group.limit_rate,
        )


class ProxyFailed(OSError):
    """The proxy is in the way; like a broken connection it is tried again."""


@dataclass(frozen=True)
class Opened:
    """A source from ``offset`` on. ``validator`` changes when its content does (a strong ETag, a time)."""

    offset: int
    size: int | None
    validator: str | None
    chunks: Iterator[bytes]


class SourceChanged(SourceError):
    """The source is not what was partly received; what was received is dropped."""


class Fetcher(ABC):
    """Reads one URI; entry-point group ``ovca.fetch``.

    A driver writes one method, :meth:`_open`. The entry point's name is the scheme that it reads, in lower case; no
    configuration names it, the URI does. The base keeps what was received, resumes after a break, tries again, holds
    the rate limit and shows progress.

    *When it is called.* For each download a new driver is built with the URI and the options of ``[update]``; nothing
    is opened in ``__init__``. :meth:`_open` is called to begin, and again after each break, with the number of bytes
    that are there already (``offset``) and the ``validator`` of the answer that they came with. It answers with an
    :class:`Opened`, whose ``offset`` is the one asked for if the source is still what ``validator`` says, and 0 if it
    is not, or if that cannot be known, or if the source cannot begin in the middle.

    *From which thread.* From one, which does nothing else.

    *How long it may take.* As long as bytes come. Give up with an ``OSError`` after ``options.connect_timeout`` seconds
    without a connection and ``options.read_timeout`` seconds without a byte, or else a dead source is waited for
    without end. Yield pieces of up to :data:`CHUNK` bytes, the first ones small: an image is judged by its first
    kilobytes. The iterator is dropped when the download is cancelled; close what is open in its ``finally``.

    *What errors mean.* ``OSError``, from :meth:`_open` or from the iterator: the connection broke; after
    ``options.pause`` seconds it is tried again, ``options.attempts`` times without any progress. :exc:`SourceError`: it
    is hopeless (not found, forbidden), and the download ends with its text, which is ``<shown>: <what>``; take
    :attr:`shown` for the first half, as a URI may hold a password.

    *What must be idempotent.* :meth:`_open`: the source is only read, however often it is opened. A ``validator`` must
    change whenever the content does; without one nothing is resumed.

    .. code-block:: python

        class Tape(Fetcher):
            api = 1

            def _open(self, offset: int, validator: str | None) -> Opened:
                tape = find(self.uri)
                if tape is None:
                    raise SourceError(self.shown, 'there is no such tape; see `tape-list`')
                start = offset if validator == tape.serial else 0
                return Opened(start, tape.size, tape.serial, tape.blocks(start))
    """

    api: ClassVar[int] = 1

    def __init__(self, uri: str, options: FetchOptions) -> None:
        self.uri, self.options = uri, options
        self.size: int | None = None
        """The length of the whole, once it is known."""

    @abstractmethod
    def _open(self, offset: int, validator: str | None) -> Opened:
        """Open the source at ``offset`` if it still is what ``validator`` says, else at 0."""

    def stream(self, part: Path, stopped: Callable[[], bool]) -> Iterator[bytes]:
        """Yield the whole source: what ``part`` holds already, then the rest, which is kept there as well.

        :raises SourceChanged: the source changed after some of it was given; begin again.
        :raises SourceError: it cannot be read.
        """
        note = part.with_name(part.name + '.json')
        validator, held = self._held(part, note)
        with part.open('r+b' if held else 'w+b') as store, Kept(store) as kept:
            given = 0
            while data := store.read(min(CHUNK, held - given)):
                given += len(data)
                yield data
            failures = 0
            while True:
                try:
                    opened = self._open(given, validator)
                    if opened.offset != given:
                        self._forget(part, note)
                        raise SourceChanged(self.shown, 'it has changed since a part of it was received; begin again')
                    self.size, validator = opened.size, opened.validator
                    with _writing(part):
                        write_json(note, {'uri': self.uri_digest, 'validator': validator})
                    for data in self._limited(opened.chunks):
                        with _writing(part):
                            kept.write(data)
                        given += len(data)
                        failures = 0
                        yield data
                        if stopped():
                            return
                    if self.size is None or given == self.size:
                        with _writing(part):
                            kept.flush()
                        return
                    raise OSError(f'it ended after {given} of {self.size} bytes')
                except OSError as exc:
                    failures += 1
                    if failures >= self.options.attempts or stopped():
                        id = 'proxy-refused' if isinstance(exc, ProxyFailed) else 'source-unreachable'
                        raise SourceError(self.shown, f'{exc}; tried {failures} times', id=id) from exc
                    with _writing(part):
                        kept.flush()
                    time.sleep(self.options.pause)

    @property
    def shown(self) -> str:
        """The URI without secrets."""
        from ovca.image.fetch import redacted

        return redacted(self.uri)

    @property
    def uri_digest(self) -> str:
        """What names the source in the resume note, without its secrets."""
        import hashlib

        return hashlib.sha256(self.uri.encode()).hexdigest()

    def _held(self, part: Path, note: Path) -> tuple[str | None, int]:
        try:
            known = json.loads(note.read_bytes())
            held = part.stat().st_size
        except (OSError, ValueError):
            return None, 0
        if known.get('uri') != self.uri_digest or not known.get('validator'):
            return None, 0
        return str(known['validator']), held

    @staticmethod
    def _forget(part: Path, note: Path) -> None:
        note.unlink(missing_ok=True)
        part.unlink(missing_ok=True)

    def _limited(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        rate, start, sent = self.options.limit_rate, time.monotonic(), 0
        for data in chunks:
            yield data
            if rate:
                sent += len(data)
                time.sleep(max(0.0, sent / rate - (time.monotonic() - start)))


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    """Tell an error of our disk from one of the source's, which is worth another try."""
    try:
        yield
    except OSError as exc:
        raise StorageFailed(part.parent, exc) from exc
