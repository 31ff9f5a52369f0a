"""Keeps on disk what is received, in a thread of its own: who receives does not wait for the disk."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

from ovca.image.sink import Sink

AHEAD = 4 * 1024 * 1024
"""Bytes that may wait to be written."""
SYNCED = 256 * 1024 * 1024
"""A power loss costs at most so many bytes of what was received, and the next ones."""
SYNCED_AFTER = 15.0
"""Seconds; on a slow line, what a power loss costs is counted in time."""
GATHER = 0.25
"""Seconds that what came may wait for more, before it is written: the death of this process costs no more."""


class Kept:
    """Writes to an open file from its present place on, in order.

    What was handed over is written when the block ends, however it ends; up to ``ahead`` bytes wait for that. Nothing
    else writes to the file meanwhile.
    ``synced`` is told, from the other thread, up to which place a power loss cannot take anything any more.
    """

    def __init__(
        self, stream: BinaryIO, *, ahead: int = AHEAD, synced: Callable[[int], None] = lambda place: None
    ) -> None:
        self._stream, self._ahead, self._synced = stream, ahead, synced
        self._waiting: deque[bytes | memoryview] = deque()
        self._size = 0
        self._ended = self._hurried = False
        self._since: float | None = None
        """When the oldest came of what was taken and is not in the file yet."""
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def write(self, data: bytes | memoryview) -> None:
        """Hand data over. :raises OSError: what was handed over before could not be written."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name='keep', daemon=True)
            self._thread.start()
        with self._changed:
            while self._waiting and self._size + len(data) > self._ahead and self._error is None:
                self._changed.wait()
            self._raise()
            self._waiting.append(data)
            self._size += len(data)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all is written, to the file but not yet to the disk. :raises OSError: it could not be."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            while (self._waiting or self._since is not None) and self._error is None:
                self._changed.wait()
            self._hurried = False
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._keep()
        except Exception as exc:  # else those who wait for this thread would wait for ever
            with self._changed:
                self._error = exc
                self._changed.notify_all()

    def _keep(self) -> None:
        descriptor = self._stream.fileno()
        sink = Sink(descriptor, direct=True)
        synced, synced_at = sink.place, time.monotonic()
        while (data := self._next()) is not None:
            before = sink.place
            sink.write(data)
            now = time.monotonic()
            late = now - synced_at >= SYNCED_AFTER
            if late or not data or (self._since is not None and now - self._since >= GATHER):
                sink.flush()
            if (late or sink.place - synced >= SYNCED) and sink.place > synced:
                sync(descriptor, synced)
                synced, synced_at = sink.place, time.monotonic()
                self._synced(synced)
            with self._changed:
                if data:
                    self._waiting.popleft()
                    self._size -= len(data)
                if not sink.waiting:
                    self._since = None
                elif self._since is None or sink.place > before:
                    self._since = now
                self._changed.notify_all()

    def _next(self) -> bytes | memoryview | None:
        """What is to be written; nothing when what was gathered is; None at the end.

        It stays in the queue until it is written, so that a flush waits for it.
        """
        with self._changed:
            while not self._waiting:
                if self._since is None:
                    if self._ended:
                        return None
                    self._changed.wait()
                elif self._ended or self._hurried or time.monotonic() - self._since >= GATHER:
                    return b''
                else:
                    self._changed.wait(GATHER)
            return self._waiting[0]


def sync(descriptor: int, before: int) -> None:
    """Make what was written survive a power loss; all up to ``before`` does already.

    :raises OSError: the disk did not take it. Then the file ends at ``before``: the kernel forgets what it could not
        write, and nobody can say what of it is there.
    """
    try:
        os.fdatasync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise
