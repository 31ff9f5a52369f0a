"""Threads with bounded queues: one receives, one writes. What fails in one is raised in the one that waits for it."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ovca.image.fetch.base import Fetcher

DEPTH = 8
WAIT = 0.2


class Receiver:
    """Runs a fetcher in a thread of its own, and hands its bytes over in order.

    Until :meth:`trust` is called it reads hardly ahead: of a source that will be refused, little is fetched.
    """

    def __init__(self, source: Fetcher, part: Path) -> None:
        self._source, self._part = source, part
        self._queue: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._places = threading.Semaphore(1)
        self._trusted = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='receive', daemon=True)
        self.received = 0

    def _run(self) -> None:
        try:
            for data in self._source.stream(self._part, self._stop.is_set):
                self._put(data)
                if self._stop.is_set():
                    return
            self._put(None)
        except BaseException as exc:
            self._put(exc)

    def _put(self, item: bytes | BaseException | None) -> None:
        while not self._stop.is_set():
            if self._places.acquire(timeout=WAIT):
                self._queue.put(item)
                return

    def trust(self) -> None:
        """From now on read ahead as far as the queue is deep."""
        if not self._trusted:
            self._trusted = True
            self._places.release(DEPTH - 1)

    def chunks(self, idle: Callable[[], None]) -> Iterator[bytes]:
        """The bytes, in order; ``idle`` is called while there are none. The errors of the thread are raised here."""
        self._thread.start()
        while True:
            try:
                item = self._queue.get(timeout=WAIT)
            except queue.Empty:
                idle()
                continue
            self._places.release()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            self.received += len(item)
            yield item

    def close(self) -> None:
        """End the thread; one that hangs in the network ends with its timeout."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)


class Sink:
    """Writes and hashes a file in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path, self._digest = path, hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='write', daemon=True)
        self.size = 0

    def __enter__(self) -> Sink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _run(self) -> None:
        try:
            with self._path.open('xb') as stream:
                while (data := self._queue.get()) is not None:
                    self._digest.update(data)
                    stream.write(data)
        except BaseException as exc:
            self._error = exc
            while self._queue.get() is not None:  # so that the one who puts does not wait for ever
                continue

    def write(self, data: bytes) -> None:
        """Hand data over. :raises OSError: what was handed over before could not be written."""
        if self._error is not None:
            raise self._error
        self.size += len(data)
        self._queue.put(data)

    def finish(self) -> str:
        """Wait for the end; return the SHA-256 in hex. :raises OSError: it could not be written."""
        self._end()
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
