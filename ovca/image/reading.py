"""Reads many files again, by several threads, at the speed of the disk and without taking the memory from others."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

WORKERS = 4
READ = 1024 * 1024
FORGOTTEN = 8 * 1024 * 1024
PAUSE = 0.2

T = TypeVar('T')
Told = Callable[[int, int], None]
"""Gets how many bytes were read, and how many there are to read."""


class _Interrupted(Exception):
    """The caller does not want to know any more."""


class Reader:
    """Reads for one job; what it has read is counted."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped, self.read = stopped, 0

    def digest(self, path: Path) -> str:
        """The SHA-256 of a file, in hex, as it is on the disk.

        What the kernel holds of it in memory is dropped first: a disk that lost it shall be found out.

        :raises OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            buffer = memoryview(bytearray(min(READ, os.fstat(descriptor).st_size + 1)))
            at = forgotten = 0
            while count := os.readv(descriptor, [buffer]):
                digest.update(buffer[:count])
                at += count
                self.read += count
                if at - forgotten >= FORGOTTEN:
                    os.posix_fadvise(descriptor, forgotten, at - forgotten, os.POSIX_FADV_DONTNEED)
                    forgotten = at
                if self._stopped.is_set():
                    raise _Interrupted
            os.posix_fadvise(descriptor, forgotten, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        return digest.hexdigest()


@dataclass(frozen=True)
class Job(Generic[T]):
    """Work that reads about ``size`` bytes."""

    size: int
    work: Callable[[Reader], T]


def each(jobs: Sequence[Job[T]], told: Told | None = None) -> list[T]:
    """Do all jobs, the large ones first; return what they return, in order.

    ``told`` is called in the caller's thread, now and then and at the end. If it raises, all ends at once; so it does
    with Ctrl-C.
    """
    stopped, total = threading.Event(), sum(job.size for job in jobs)
    readers = [Reader(stopped) for _ in jobs]
    if total <= READ:  # it is read before the threads had begun
        results = [job.work(reader) for job, reader in zip(jobs, readers, strict=True)]
        if told is not None:
            told(total, total)
        return results
    order = sorted(range(len(jobs)), key=lambda number: -jobs[number].size)
    finished, running = 0, dict.fromkeys(order)
    pool = concurrent.futures.ThreadPoolExecutor(WORKERS, 'read')
    try:
        futures = {pool.submit(jobs[number].work, readers[number]): number for number in order}
        waiting = set(futures)
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, PAUSE, return_when=concurrent.futures.FIRST_EXCEPTION)
            for future in done:
                future.result()
                finished += jobs[futures[future]].size
                del running[futures[future]]
            if told is not None:
                told(finished + sum(min(readers[n].read, jobs[n].size) for n in running), total)
        by_number = {number: future for future, number in futures.items()}
        return [by_number[number].result() for number in range(len(jobs))]
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
