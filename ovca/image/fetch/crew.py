"""Threads that read a source in ranges, each by a line of its own, and what they bring until its turn comes."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol, cast

from ovca.image.fetch.base import SourceBusy

REOPENED, NEW_REOPENED = 3, 1
"""How often in a row a line is opened anew although nothing comes by it; and one that never brought anything."""


class Refused(OSError):
    """The source gives no such range, however often it is asked: it has changed, or does not like to be asked."""


class Line(Protocol):
    """A connection that reads ranges of the source."""

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``stop``. :raises OSError: they do not come. :raises Refused: never."""

    def close(self) -> None:
        """Give it up."""


class Closable(Protocol):
    def close(self) -> None: ...


def closable(pieces: Iterator[bytes]) -> Closable:
    """The same; what gives pieces are generators, which can be closed."""
    return cast('Closable', pieces)


class Crew:
    """Reads the source from ``start`` to ``end`` in ranges of ``length`` bytes.

    When a line breaks, the others take what it has not read. It is opened anew after ``pause`` seconds, and then after
    twice as many each time, but not often, and not at all if the source refuses or wants to be left alone for longer.
    """

    def __init__(self, line: Callable[[], Line], start: int, end: int, length: int, *, pause: float = 1.0) -> None:
        self._line, self._next, self._end, self._length, self._pause = line, start, end, length, pause
        self._given = start
        self._there: dict[int, bytes] = {}
        """What was read and not given yet, by its place in the source."""
        self._left: list[tuple[int, int]] = []
        """Ranges that somebody began and did not finish."""
        self._wanted, self._working = 0, 0
        self._error: BaseException | None = None
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self.received, self.lost, self.opened = 0, 0, 0
        self.lone = False
        """There will be one only, who takes all that is left."""

    def work(self, number: int) -> None:
        """Have ``number`` at work from now on; who is too many ends with its range."""
        with self._changed:
            self._wanted = number
            while self._working < self._wanted and not self._closed.is_set():
                self._working += 1
                threading.Thread(target=self._run, name='receive-range', daemon=True).start()
            self._changed.notify_all()

    def add(self, start: int, stop: int) -> None:
        """Read this, too, and before all that comes later."""
        with self._changed:
            heapq.heappush(self._left, (start, stop))
            self._changed.notify_all()

    def given(self, at: int) -> None:
        """All before ``at`` is out of our hands."""
        with self._changed:
            self._given = at
            self._changed.notify_all()

    def take(self, at: int) -> bytes:
        """The next bytes, which begin at ``at``. :raises OSError: nobody is left to read them."""
        with self._changed:
            while at not in self._there:
                if self._closed.is_set():
                    raise OSError('it was stopped')
                if not self._working:
                    seconds = self._error.seconds if isinstance(self._error, SourceBusy) else None
                    raise SourceBusy(f'all connections broke ({self._error})', seconds)
                self._changed.wait()
            return self._there.pop(at)

    def close(self) -> None:
        """End all; one that hangs in the network ends with its timeout."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()

    @property
    def _window(self) -> int:
        return self._given + (self._wanted + 2) * self._length

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._read_on()
        except BaseException as exc:
            error = exc
        with self._changed:
            self._working -= 1
            if error is not None:
                self._error = error
                self.lost += 1
                self._wanted = max(1, min(self._wanted, self._working))
            self._changed.notify_all()

    def _read_on(self) -> None:
        """Read by one line after the other. :raises OSError: they bring nothing."""
        ever, failures = False, 0
        while not self._closed.is_set():
            brought = 0
            with self._changed:
                self.opened += 1
            try:
                with closing(self._line()) as line:
                    while (task := self._task()) is not None:
                        for size in self._read(line, *task):
                            brought += size
                return
            except Refused:
                raise
            except OSError as exc:
                ever, failures = ever or brought > 0, 1 if brought else failures + 1
                seconds = self._pause * 2.0 ** (failures - 1)
                asked = exc.seconds if isinstance(exc, SourceBusy) else None
                if failures > (REOPENED if ever else NEW_REOPENED) or (asked is not None and asked > seconds):
                    raise
            self._closed.wait(seconds)

    def _task(self) -> tuple[int, int] | None:
        with self._changed:
            while not self._closed.is_set() and self._working <= self._wanted:
                if self._left:
                    return heapq.heappop(self._left)
                if self._next >= self._end:
                    return None
                if self._next < self._window:
                    start = self._next
                    self._next = self._end if self.lone else min(start + self._length, self._end)
                    return start, self._next
                self._changed.wait()
            return None

    def _read(self, line: Line, start: int, stop: int) -> Iterator[int]:
        """Read a range; yield how much came, each time.

        A connection may be closed between two ranges, so what breaks at once is tried once more.
        """
        at, again = start, True
        try:
            while at < stop:
                before = at
                try:
                    with closing(closable(pieces := line.read(at, stop))):
                        for data in pieces:
                            if at + len(data) > stop:  # what lies behind would never have its turn
                                raise Refused('a range is longer than it was asked for')
                            if not self._put(at, data):
                                return
                            at += len(data)
                            yield len(data)
                            if self._needed_before(at):
                                return
                    if at < stop:
                        raise OSError('a range ended too early')
                except OSError as exc:
                    if isinstance(exc, SourceBusy | Refused) or (at == before and not again):
                        raise
                    again = at > before
        finally:
            if at < stop:
                self.add(at, stop)

    def _needed_before(self, at: int) -> bool:
        """Whether there is no room for what comes ``at``, because something before it waits for somebody to read it."""
        with self._changed:
            return self._blocked(at)

    def _blocked(self, at: int) -> bool:
        return bool(self._left) and at >= self._window > self._left[0][0]

    def _put(self, at: int, data: bytes) -> bool:
        """Hand bytes over once there is room for them; False when nobody wants them any more."""
        with self._changed:
            while not self._closed.is_set() and at >= self._window and not self._blocked(at):
                self._changed.wait()
            if self._closed.is_set():
                return False
            self._there[at] = data
            self.received += len(data)
            self._changed.notify_all()
            return True
