"""Several connections to one source, where one is the limit: tried while it runs, and kept if they bring more.

The first connection reads on until it meets what the second has begun with. From then on each connection reads short
ranges, and what they bring is given in order. What waits for its turn is bounded.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, cast

SHORTEST, LONGEST = 128 * 1024, 3 * 1024 * 1024
"""The bounds of a range."""
WINDOW = 18 * 1024 * 1024
"""What may wait in memory for its turn, however many connections there are."""


class Line(Protocol):
    """A connection that reads ranges of the source."""

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``stop``. :raises OSError: they do not come."""

    def close(self) -> None:
        """Give it up."""


@dataclass(frozen=True)
class Trial:
    """How long, in seconds, it is looked before another number of connections is judged."""

    settle: float = 0.5
    """What comes at first does not count."""
    measure: float = 1.5
    range: float = 2.0
    """How long a connection is busy with a range."""
    worth: float = 5.0
    """With less than this to go nothing is tried any more."""
    waiting: float = 0.7
    """The share of the time that a connection was waited for, from which on it is the limit."""


def helps(before: float, now: float, was: int, number: int) -> bool:
    """Whether ``number`` connections with the rate ``now`` are clearly better than ``was`` with the rate ``before``.

    At least half of what they could bring has to come.
    """
    return now >= before * (1 + (number / was - 1) / 2)


class Connections:
    """Gives the bytes of a source from ``start`` to ``size``; ``first`` reads them already."""

    trial = Trial()

    def __init__(self, first: Iterator[bytes], start: int, size: int, line: Callable[[], Line], most: int) -> None:
        self._first, self._at, self._size, self._line, self._most = first, start, size, line, most
        self._clock = time.monotonic
        self._judge: _Judge | None = None

    @property
    def helped(self) -> bool:
        """Whether more than one connection were better than one."""
        return self._judge is not None and self._judge.helped

    def pieces(self) -> Iterator[bytes]:
        """The bytes, in order. :raises OSError: the last connection broke."""
        with closing(cast('_Closable', self._first)):
            rate = yield from self._alone()
            if rate is None:
                return
            length = int(min(LONGEST, WINDOW // (self._most + 2), max(SHORTEST, rate * self.trial.range)))
            meeting = min(self._at + length, self._size)
            crew = _Crew(self._line, meeting, self._size, length)
            judge = self._judge = _Judge(crew, rate, self._most, self.trial, self._clock)
            try:
                crew.work(1)
                while self._at < meeting and (data := next(self._first, None)) is not None:
                    data = data[: meeting - self._at]
                    judge.look(own=len(data))
                    self._at += len(data)
                    crew.given(self._at)
                    yield data
            except BaseException:
                crew.close()
                raise
        try:
            if self._at < meeting:
                return  # it ended too early; the base sees that, and opens it again
            judge.alone = False
            judge.hire()
            while self._at < self._size:
                data = crew.take(self._at)
                judge.look()
                self._at += len(data)
                crew.given(self._at)
                yield data
        finally:
            crew.close()

    def _alone(self) -> Generator[bytes, None, float | None]:
        """Read by the first connection; return its rate once it is the limit, or None at the end."""
        trial, begun, got, waited = self.trial, self._clock(), 0, 0.0
        settled = False
        while True:
            before = self._clock()
            data = next(self._first, None)
            now = self._clock()
            if data is None:
                return None
            got, waited, self._at = got + len(data), waited + now - before, self._at + len(data)
            yield data
            now = self._clock()
            if now - begun < (trial.measure if settled else trial.settle):
                continue
            rate = got / (now - begun)
            limits = waited / (now - begun) >= trial.waiting
            if settled and limits and self._size - self._at > rate * trial.worth:
                return rate
            begun, got, waited, settled = self._clock(), 0, 0.0, True


class _Closable(Protocol):
    def close(self) -> None: ...


class _Judge:
    """Tries more connections, and takes back those that do not help."""

    def __init__(self, crew: _Crew, rate: float, most: int, trial: Trial, clock: Callable[[], float]) -> None:
        self._crew, self._most, self._trial, self._clock = crew, most, trial, clock
        self._before, self._was, self._number = rate, 1, min(2, most)
        self.alone = True
        """The first connection still reads, and is one of the number."""
        self.helped = False
        """More than one were better than one."""
        self._own = 0
        self._begun, self._from = clock(), -1
        self._done = False

    def look(self, own: int = 0) -> None:
        """Called now and then; ``own`` are the bytes that the first connection brought."""
        self._own += own
        if self._done:
            return
        if self._crew.lost:  # the server may not like it
            self._done, self._number = True, max(1, self._number - self._crew.lost)
            self._crew.lone = self._number == 1
            return
        passed = self._clock() - self._begun
        if self._from < 0 and passed >= self._trial.settle:
            self._from, self._begun = self._total(), self._clock()
        elif self._from >= 0 and passed >= self._trial.measure:
            self._decide((self._total() - self._from) / passed)

    def hire(self) -> None:
        """Have as many at work as are wanted."""
        self._crew.work(max(1, self._number - self.alone))

    def _total(self) -> int:
        return self._crew.received + self._own

    def _decide(self, rate: float) -> None:
        if not helps(self._before, rate, self._was, self._number):
            self._number, self._done = self._was, True
            self._crew.lone = self._was == 1
        elif self._number == self._most:
            self._done = True
        else:
            self._before, self._was = rate, self._number
            self._number = min(2 * self._number, self._most)
        self.helped = self.helped or self._number > 1
        self._begun, self._from = self._clock(), -1
        self.hire()


class _Crew:
    """Threads that read the source from ``start`` to ``end`` in ranges."""

    def __init__(self, line: Callable[[], Line], start: int, end: int, length: int) -> None:
        self._line, self._next, self._end, self._length = line, start, end, length
        self._given = start
        self._there: dict[int, bytes] = {}
        """What was read and not given yet, by its place in the source."""
        self._left: list[tuple[int, int]] = []
        """Ranges that somebody began and did not finish."""
        self._wanted, self._working = 0, 0
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self.received, self.lost = 0, 0
        self.lone = False
        """There will be one only, who takes all that is left."""

    def work(self, number: int) -> None:
        """Have ``number`` at work from now on; who is too many ends with its range."""
        with self._changed:
            self._wanted = number
            while self._working < self._wanted and not self._closed:
                self._working += 1
                threading.Thread(target=self._run, name='receive-range', daemon=True).start()
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
                if not self._working:
                    raise OSError(f'all connections broke ({self._error})')
                self._changed.wait()
            return self._there.pop(at)

    def close(self) -> None:
        """End all; one that hangs in the network ends with its timeout."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def _window(self) -> int:
        return self._given + (self._wanted + 2) * self._length

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with closing(self._line()) as line:
                while (task := self._task()) is not None:
                    self._read(line, *task)
        except BaseException as exc:
            error = exc
        with self._changed:
            self._working -= 1
            if error is not None:
                self._error = error
                self.lost += 1
                self._wanted = max(1, min(self._wanted, self._working))
            self._changed.notify_all()

    def _task(self) -> tuple[int, int] | None:
        with self._changed:
            while not self._closed and self._working <= self._wanted:
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

    def _read(self, line: Line, start: int, stop: int) -> None:
        """Read a range. A connection may be closed between two ranges, so what breaks at once is tried once more."""
        at, again = start, True
        try:
            while at < stop:
                before = at
                try:
                    with closing(cast('_Closable', line.read(at, stop))) as pieces:
                        for data in cast('Iterator[bytes]', pieces):
                            if not self._put(at, data):
                                return
                            at += len(data)
                    if at < stop:
                        raise OSError('a range ended too early')
                except OSError:
                    if at == before and not again:
                        raise
                    again = at > before
        except BaseException:
            with self._changed:
                heapq.heappush(self._left, (at, stop))
            raise

    def _put(self, at: int, data: bytes) -> bool:
        """Hand bytes over once there is room for them; False when nobody wants them any more."""
        with self._changed:
            while not self._closed and at >= self._window:
                self._changed.wait()
            if self._closed:
                return False
            self._there[at] = data
            self.received += len(data)
            self._changed.notify_all()
            return True
