"""Several connections to one source, where one is the limit: tried while it runs, and kept if they bring more.

The first connection reads on until it meets what the second has begun with. From then on each connection reads short
ranges, and what they bring is given in order. What waits for its turn is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from ovca.image.fetch.crew import Crew, Line, closable

SHORTEST, LONGEST = 128 * 1024, 3 * 1024 * 1024
"""The bounds of a range."""
WINDOW = 12 * 1024 * 1024
"""What may wait in memory for its turn, however many connections there are."""


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

    def __init__(
        self,
        first: Iterator[bytes],
        start: int,
        size: int,
        line: Callable[[], Line],
        most: int,
        *,
        pause: float = 1.0,
    ) -> None:
        self._first, self._at, self._size, self._line, self._most = first, start, size, line, most
        self._pause, self._clock = pause, time.monotonic
        self._judge: _Judge | None = None
        self._crew: Crew | None = None
        self._stopped = False

    @property
    def helped(self) -> bool:
        """Whether more than one connection were better than one."""
        return self._judge is not None and self._judge.helped

    def stop(self) -> None:
        """Let nobody wait for bytes any more; called from another thread."""
        self._stopped = True
        if self._crew is not None:
            self._crew.close()

    def pieces(self) -> Iterator[bytes]:
        """The bytes, in order. :raises OSError: the last connection broke."""
        with closing(closable(self._first)):
            rate = yield from self._alone()
            if rate is None:
                return
            length = int(min(LONGEST, WINDOW // (self._most + 2), max(SHORTEST, rate * self.trial.range)))
            meeting = min(self._at + length, self._size)
            crew = self._crew = Crew(self._line, meeting, self._size, length, pause=self._pause)
            judge = self._judge = _Judge(crew, rate, self._most, self.trial, self._clock)
            try:
                if self._stopped:
                    crew.close()
                crew.work(1)
                yield from self._meet(meeting, crew, judge)
            except BaseException:
                crew.close()
                raise
        try:
            if self._at < meeting:
                crew.add(self._at, meeting)
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

    def _meet(self, meeting: int, crew: Crew, judge: _Judge) -> Iterator[bytes]:
        """What the first connection still brings. When it breaks, that is for the others to read."""
        while self._at < meeting:
            try:
                data = next(self._first, b'')[: meeting - self._at]
            except OSError:
                return
            if not data:
                return
            judge.look(own=len(data))
            self._at += len(data)
            crew.given(self._at)
            yield data

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


class _Judge:
    """Tries more connections, and takes back those that do not help."""

    def __init__(self, crew: Crew, rate: float, most: int, trial: Trial, clock: Callable[[], float]) -> None:
        self._crew, self._most, self._trial, self._clock = crew, most, trial, clock
        self._before, self._was, self._number = rate, 1, min(2, most)
        self.alone = True
        """The first connection still reads, and is one of the number."""
        self.helped = False
        """More than one were better than one."""
        self._own = 0
        self._begun, self._from = clock(), -1
        self._opened = 0
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
        if self._opened != self._crew.opened:  # a line that broke says nothing of what it could bring
            self._opened = self._crew.opened
            self._begun, self._from = self._clock(), -1
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
