"""Threads that hand pieces on, through queues of bounded size. The first failure ends them all, and none hangs."""

from __future__ import annotations

import collections
import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ovca.image.fetch.base import Fetcher

AHEAD = 4 * 1024 * 1024
"""Bytes that may wait between two stages."""
KEPT_FREE = 16 * 1024 * 1024
ARENA_MAX = -8
"""As in malloc.h."""
TURN = 0.0005
"""Seconds."""
WAIT = 0.2
LEAVE = 10.0
"""Seconds that a thread gets to end; one that hangs in the network ends with its timeout."""

T = TypeVar('T')


class Stopped(Exception):
    """Raised in a stage that should go on no longer: another one has failed, or the download was cancelled."""


@dataclass
class Times:
    """Seconds of one stage: ``starved`` waiting for what comes, ``blocked`` because what follows is slower.

    The rest it was ``busy``: on a ``processor``, waiting for one, or in the network or disk.
    """

    total: float = 0.0
    starved: float = 0.0
    blocked: float = 0.0
    processor: float = 0.0

    @property
    def busy(self) -> float:
        """Seconds that are not spent waiting for other stages."""
        return self.total - self.starved - self.blocked


class Flow:
    """The threads of one download."""

    def __init__(self) -> None:
        keep_memory()
        take_turns()
        self.stopped = threading.Event()
        self.times: dict[str, Times] = {}
        self._pipes: list[Pipe[object]] = []
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._running = 0

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run ``work`` in a thread; what it raises is raised by :meth:`wait`."""
        times = self.times[name] = Times()

        def run() -> None:
            begin = time.perf_counter()
            try:
                work()
            except Stopped:
                pass
            except BaseException as exc:
                self.fail(exc)
            finally:
                times.total, times.processor = time.perf_counter() - begin, time.thread_time()
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

        with self._changed:
            self._running += 1
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def fail(self, exc: BaseException) -> None:
        """End all threads; the first one that fails says why."""
        with self._changed:
            if self._failure is None and not self.stopped.is_set():
                self._failure = exc
        self._stop()

    def check(self) -> None:
        """Raise what a thread has raised."""
        if self._failure is not None:
            raise self._failure

    def wait(self, idle: Callable[[], None]) -> None:
        """Wait until all threads are done; ``idle`` is called meanwhile. Raises what the first of them raised."""
        while True:
            with self._changed:
                if not self._running or self._failure is not None:
                    break
                self._changed.wait(WAIT)
            idle()
        self.check()

    def close(self, wake: Callable[[], None] = lambda: None) -> None:
        """End all threads that still run; ``wake`` is called for one that waits for something else than a pipe."""
        self._stop()
        wake()
        until = time.monotonic() + LEAVE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _stop(self) -> None:
        self.stopped.set()
        for pipe in self._pipes:
            pipe.wake()

    def spent(self) -> Times:
        """The times of the stage that this thread is; those of other threads are nobody's."""
        return self.times.get(threading.current_thread().name) or Times()

    def joined(self, pipe: Pipe[object]) -> None:
        """Wake this pipe's threads when all end."""
        self._pipes.append(pipe)


class Pipe(Generic[T]):
    """A queue from one stage to the next that holds at most ``limit`` bytes, or one piece if that is larger."""

    def __init__(self, flow: Flow, limit: int = AHEAD) -> None:
        self._flow, self._limit = flow, limit
        self._items: collections.deque[tuple[T, int]] = collections.deque()
        self._size = 0
        self._ended = self._ignored = False
        self._changed = threading.Condition()
        flow.joined(self)  # type: ignore[arg-type]

    def put(self, item: T, size: int) -> None:
        """Hand on a piece; wait for room. :raises Stopped: it is not wanted any more."""
        with self._changed:
            if self._items and self._size + size > self._limit and not self._ignored:
                begin = time.perf_counter()
                while self._items and self._size + size > self._limit and not self._ignored:
                    self._heed()
                    self._changed.wait()
                self._flow.spent().blocked += time.perf_counter() - begin
            self._heed()
            if not self._ignored:
                self._items.append((item, size))
                self._size += size
                self._changed.notify_all()

    def end(self) -> None:
        """Say that nothing more comes."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def ignore(self) -> None:
        """Drop what is there and what comes."""
        with self._changed:
            self._ignored = True
            self._items.clear()
            self._changed.notify_all()

    def widen(self, limit: int = AHEAD) -> None:
        """Hold up to ``limit`` bytes from now on."""
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those who wait see that all is stopped."""
        with self._changed:
            self._changed.notify_all()

    def get(self, idle: Callable[[], None] | None = None) -> T | None:
        """The next piece, or None at the end; ``idle`` is called while there is none.

        :raises Stopped: there will be none, as all is stopped.
        """
        begin = 0.0
        with self._changed:
            while not self._items:
                if self._ended:
                    return None
                self._heed()
                begin = begin or time.perf_counter()
                self._changed.wait(None if idle is None else WAIT)
                if idle is not None and not self._items and not self._ended:
                    idle()
            item, size = self._items.popleft()
            self._size -= size
            self._changed.notify_all()
        if begin:
            self._flow.spent().starved += time.perf_counter() - begin
        return item

    def __iter__(self) -> Iterator[T]:
        while (item := self.get()) is not None:
            yield item

    def _heed(self) -> None:
        if self._flow.stopped.is_set():
            raise Stopped


def keep_memory() -> None:
    """Have glibc keep the memory of pieces for the next ones, and in one place; for all of this process.

    It asks the kernel for each large block anew, which costs a tenth of the processor time of a download, unless a
    larger one was ever given back. And it has a store for each thread, of which each would keep as much as all need.
    """
    bytearray(KEPT_FREE)
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:  # another libc has other ways
        mallopt(ARENA_MAX, 1)


def take_turns() -> None:
    """Have a thread that computes in Python give way soon to one that comes from a read, a write or a digest.

    By default it may go on for ten times as long, while a processor or the disk has nothing to do; for all of this
    process.
    """
    sys.setswitchinterval(min(TURN, sys.getswitchinterval()))


def read_beside(source: Fetcher, work: Callable[[Callable[[], bool]], None], idle: Callable[[], None]) -> None:
    """Read from a source in a thread of its own: ``work`` gets what says whether it is to stop.

    ``idle`` is called meanwhile; what it raises ends the reading, and is raised. So is what ``work`` raises.
    """
    flow = Flow()
    try:
        flow.start('receive', lambda: work(flow.stopped.is_set))
        flow.wait(idle)
    finally:
        flow.close(source.interrupt)


class Receiver:
    """Runs a fetcher in a thread of its own, and hands its bytes over in order.

    Until :meth:`trust` is called it reads hardly ahead: of a source that will be refused, little is fetched.
    """

    def __init__(self, flow: Flow, source: Fetcher, part: Path, idle: Callable[[], None]) -> None:
        self._flow, self._source, self._part = flow, source, part
        self._idle: Callable[[], None] | None = idle
        self._pipe: Pipe[bytes] = Pipe(flow, 1)
        self.received = 0

    def _run(self) -> None:
        for data in self._source.stream(self._part, self._flow.stopped.is_set):
            if data:
                self._pipe.put(data, len(data))
        self._pipe.end()

    def trust(self) -> None:
        """From now on read ahead, and let another thread take the bytes: it has nothing to do while there are none."""
        self._idle = None
        self._pipe.widen()

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in order. What fails in any thread is raised here."""
        self._flow.start('receive', self._run)
        try:
            while (data := self._pipe.get(self._idle)) is not None:
                self.received += len(data)
                if self._idle is not None:  # of a source that never lets us wait, too
                    self._idle()
                yield data
        except Stopped:
            self._flow.check()
            raise
