"""The base of all fetch drivers: it keeps what was received, and resumes."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ovca.conf import secrets
from ovca.exceptions import OvcaError
from ovca.image.errors import SourceError
from ovca.image.fetch.credentials import bare
from ovca.image.fetch.held import Part
from ovca.image.fetch.rates import Pace

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['CHUNK', 'FetchOptions', 'Fetcher', 'Opened', 'SourceBusy', 'SourceChanged', 'SourceError']

LOG = logging.getLogger(__name__)
CHUNK = 1024 * 1024
LONGEST_PAUSE = 30.0
LONGEST_PATIENCE = 600.0
"""Seconds that a source is left alone at most, whatever it asks for."""
FIRST_ATTEMPTS = 4
"""How often a source is tried that has never answered: its address may be wrong, and somebody waits to be told."""
CHANGED = 'it has changed since a part of it was received; begin again'
NAP = 0.25
"""Seconds after which a sleeper looks whether it is to stop."""


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
    low_speed_limit: int = 0
    low_speed_time: float = 60.0
    connections: int = 1
    client_certificate: str | None = None
    client_key: str | None = None
    credentials_file: str | None = None
    ftp_passive: bool = True
    ftp_tls: str = 'off'

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
            group.attempts,
            low_speed_limit=group.low_speed_limit,
            low_speed_time=group.low_speed_time,
            connections=group.connections,
            client_certificate=group.client_certificate or None,
            client_key=group.client_key or None,
            credentials_file=group.credentials_file or None,
            ftp_passive=group.ftp_passive,
            ftp_tls=group.ftp_tls,
        )


class ProxyFailed(OSError):
    """The proxy is in the way; like a broken connection it is tried again."""


class SourceBusy(OSError):
    """The source cannot answer now; ``seconds`` is how long it asks to be left alone, if it says so."""

    def __init__(self, what: str, seconds: float | None = None) -> None:
        self.seconds = seconds
        super().__init__(what)


@dataclass(frozen=True)
class Opened:
    """A source from ``offset`` on. ``validator`` changes when its content does (a strong ETag, a time)."""

    offset: int
    size: int | None
    validator: str | None
    chunks: Iterator[bytes]
    ranges: bool = False
    """It says that it can begin anywhere, as long as it is what the validator says."""


@dataclass(frozen=True)
class Gap:
    """Bytes that are not wanted: from ``begin`` to before ``end``."""

    begin: int
    end: int


class SourceChanged(SourceError):
    """The source is not what was partly received; what was received is dropped."""


class NoRanges(SourceChanged):
    """The source cannot be taken up in its middle, although it said that it can; perhaps it is the same."""

    id = 'source-changed'


class Fetcher(ABC):
    """Reads one URI; entry-point group ``ovca.fetch``.

    A driver writes one method, :meth:`_open`. The entry point's name is the scheme that it reads, in lower case; no
    configuration names it, the URI does. The base keeps what was received, resumes after a break, tries again, holds
    the rate limit and shows progress.

    *When it is called.* For each download a new driver is built with the URI and the options of ``[update]``; nothing
    is opened in ``__init__``. :meth:`_open` is called to begin, and again after each break, with the number of bytes
    that are there already (``offset``) and the ``validator`` of the answer that they came with. It answers with an
    :class:`Opened`, whose ``offset`` is the one asked for if the source is still what ``validator`` says, and 0 if it
    is not, or if that cannot be known, or if the source cannot begin in the middle. When what is kept of a source would
    be refused, one more driver is built and opened once, to see whether the source still is that (:meth:`confirm`).

    *From which thread.* From one, which does nothing else.

    *How long it may take.* As long as bytes come. Give up with an ``OSError`` after ``options.connect_timeout`` seconds
    without a connection and ``options.read_timeout`` seconds without a byte, or else a dead source is waited for
    without end. Yield pieces of up to :data:`CHUNK` bytes, the first ones small: an image is judged by its first
    kilobytes. The iterator is dropped when the download is cancelled; close what is open in its ``finally``.

    *What errors mean.* ``OSError``, from :meth:`_open` or from the iterator: the connection broke; after
    ``options.pause`` seconds, and then twice as many each time, it is tried again, ``options.attempts`` times without
    any progress. :exc:`SourceBusy`, an ``OSError``: the source names the seconds for which it wants to be left alone;
    they are waited for instead, up to ten minutes. :exc:`SourceError`: it is hopeless (not found, forbidden), and the
    download ends with its text, which is ``<shown>: <what>``; take :attr:`shown` for the first half, as a URI may hold
    a password.

    *What must be idempotent.* :meth:`_open`: the source is only read, however often it is opened. A ``validator`` must
    change whenever the content does; without one nothing is resumed. When it opens at 0 although bytes are there, and
    neither ``validator`` nor ``size`` says that the source is another, what comes is compared with them. ``ranges`` of
    :class:`Opened` promises that it will open at any ``offset``: then what was received need not be kept as it came.
    (A driver that has a :meth:`stream` of its own must not promise that.)

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
        self.notice: Callable[[str], None] = LOG.warning
        """Tells the operator what he should know, but needs not act upon."""
        self.pace = Pace(options.limit_rate)
        """Holds the rate limit."""
        self.validator: str | None = None
        """What vouches for the content, once it is known."""
        self.ranges = False
        """Whether the source has said that it can be taken up anywhere, and is the same then."""
        self.gap: Gap | None = None
        """What :meth:`stream` leaves out, set before: it begins within what is kept, and who reads has the rest."""
        self.keep_all = False
        """What it says of ranges is not relied on, nor in later downloads; set before :meth:`stream`."""
        self.asked = False
        """Whether the source has answered that it is, or may be, what is kept of it."""
        self._leaving = False

    def interrupt(self) -> None:
        """Wake the thread that waits for bytes, as they are not wanted any more; called from another thread.

        A driver may do without: then the end of a stalled download waits for ``options.read_timeout``, but no longer
        than some seconds.
        """
        return None

    def leave(self) -> None:
        """Keep no more of what comes, as the caller keeps what it becomes; called from another thread.

        All that :meth:`stream` has yielded by then is kept, and lasts before anything else comes.
        """
        self._leaving = True

    def confirm(self, part: Path, stopped: Callable[[], bool]) -> None:
        """Ask the source, once, whether it still is what ``part`` holds of it. One that does not answer may be.

        Who is ``stopped`` meanwhile drops nothing: the part may be another download's by then.

        :raises SourceChanged: it is not, or was found to be another before; what was received is dropped.
        """
        with closing(Part(part, self.uri_digest)) as kept:
            if (not kept.held or self._has_changed(kept)) and not stopped():
                kept.forget()
                raise SourceChanged(self.shown, CHANGED)

    def _has_changed(self, kept: Part) -> bool:
        self.size = kept.size
        try:
            opened = self._open(kept.held, kept.validator)
        except (OSError, OvcaError) as exc:
            LOG.info('%s cannot be asked whether it has changed: %s', self.shown, exc)
            return False
        with suppress(OSError):
            next(opened.chunks, None)  # only what was begun is sure to close what is open
        return _others(kept, opened)

    @abstractmethod
    def _open(self, offset: int, validator: str | None) -> Opened:
        """Open the source at ``offset`` if it still is what ``validator`` says, else at 0."""

    def stream(self, part: Path, stopped: Callable[[], bool]) -> Iterator[bytes]:
        """Yield the whole source: what ``part`` holds already, then the rest, which is kept there as well.

        The bytes of :attr:`gap` are left out, and what follows it is not kept.

        :raises SourceChanged: the source changed after some of it was given; begin again.
        :raises SourceError: it cannot be read.
        """
        kept = Part(part, self.uri_digest)
        self.size, self.validator, self.ranges = kept.size, kept.validator, kept.ranges and not self.keep_all
        try:
            yield from kept.replay(self.gap.begin if self.gap else None)
            if self.gap is not None:
                kept.skip(self.gap.end)
            yield from self._rest(kept, stopped)
        except SourceChanged:
            if not stopped():  # else it may be another download's by now
                kept.forget()
            raise
        finally:
            kept.close()

    def _rest(self, kept: Part, stopped: Callable[[], bool]) -> Iterator[bytes]:
        """What is not there yet, tried again and again as long as something comes."""
        failures = 0
        while True:
            try:
                self.size = kept.size
                opened = self._open(kept.held, kept.validator)
                for data in self._new(opened, kept, stopped):
                    if self._leaving:
                        kept.leave()
                    kept.append(data)
                    failures = 0
                    yield data
                    if stopped():
                        return
                if stopped():
                    return
                if opened.size is None or kept.held == opened.size:
                    kept.flush()
                    kept.complete = True
                    return
                raise OSError(f'it ended after {kept.held} of {opened.size} bytes')
            except OSError as exc:
                failures += 1
                known = self.size is not None or kept.held > 0
                most = self.options.attempts if known else min(self.options.attempts, FIRST_ATTEMPTS)
                if failures >= most or stopped():
                    id = 'proxy-refused' if isinstance(exc, ProxyFailed) else 'source-unreachable'
                    raise SourceError(self.shown, f'{exc}; tried {failures} times', id=id) from exc
                self._sleep(self._pause(exc, failures, most), stopped)
                if stopped():
                    return

    def _pause(self, exc: OSError, failures: int, most: int) -> float:
        """The seconds until it is tried again. They are told where they are no longer ours to choose."""
        # A server that restarts needs some time, so each wait is twice the one before.
        seconds = min(LONGEST_PAUSE, self.options.pause * 2.0 ** (failures - 1))
        asked = exc.seconds if isinstance(exc, SourceBusy) else None
        if asked is None or asked <= seconds:
            LOG.info('%s: %s; trying again', self.shown, exc)
            return seconds
        seconds = min(asked, LONGEST_PATIENCE)
        self.notice(
            f'{self.shown}: {exc}, and asks for {asked:.0f} s of patience; it is asked again in {seconds:.0f} s '
            f'(attempt {failures + 1} of {most})'
        )
        return seconds

    def _new(self, opened: Opened, kept: Part, stopped: Callable[[], bool]) -> Iterator[bytes]:
        """The bytes of what was opened that are not there yet. :raises SourceChanged: it is another source."""
        if _others(kept, opened):
            raise SourceChanged(self.shown, CHANGED)
        self.size, self.asked = opened.size, True
        if opened.offset == kept.held:
            self.ranges = opened.ranges and opened.validator is not None and not self.keep_all
            self.validator = opened.validator
            kept.remember(opened.validator, opened.size, ranges=self.ranges)
            yield from self._limited(opened.chunks, stopped)
        elif kept.left:
            raise NoRanges(self.shown, 'it cannot be taken up in its middle, as it said it could; begin again')
        else:
            self.notice(
                f'{self.shown} cannot be taken up in its middle; it is read from its beginning, and the '
                f'{kept.held} bytes that are here are compared'
            )
            yield from self._compared(opened, kept, stopped)

    def _compared(self, opened: Opened, kept: Part, stopped: Callable[[], bool]) -> Iterator[bytes]:
        at, same = 0, kept.validator == opened.validator
        if not same:
            kept.remember(None, opened.size)  # nothing vouches for what is here before it is compared
        for data in self._limited(opened.chunks, stopped):
            if stopped():
                return
            here = min(len(data), max(0, kept.held - at))
            if here and not kept.matches(data[:here], at):
                raise SourceChanged(self.shown, CHANGED)
            at += len(data)
            if here < len(data):
                if not same:
                    kept.remember(opened.validator, opened.size)
                    same = True
                yield data[here:]
        if at < kept.held and opened.size is None:
            raise SourceChanged(self.shown, 'it became shorter since a part of it was received; begin again')

    @property
    def shown(self) -> str:
        """The URI without secrets."""
        from ovca.image.fetch import redacted

        return redacted(self.uri)

    @property
    def uri_digest(self) -> str:
        """What names the source in the resume note, without user and password."""
        import hashlib

        return hashlib.sha256(bare(self.uri).encode(errors='backslashreplace')).hexdigest()

    def _limited(self, chunks: Iterator[bytes], stopped: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
        for data in chunks:
            yield data
            self._sleep(self.pace.spend(len(data)), stopped)

    @staticmethod
    def _sleep(seconds: float, stopped: Callable[[], bool]) -> None:
        """Sleep, but not past the moment when it is stopped."""
        count = math.ceil(seconds / NAP)
        for _ in range(count):
            if stopped():
                return
            time.sleep(seconds / count)


def _others(kept: Part, opened: Opened) -> bool:
    """Whether what was opened cannot be what is kept."""
    differs = _differ(kept.size, opened.size) or _differ(kept.validator, opened.validator)
    return (kept.held > 0 and differs) or opened.offset not in (0, kept.held)


def _differ(before: object, now: object) -> bool:
    return before is not None and now is not None and before != now
