"""Appends to an open file, where it is sound past the kernel's memory.

What is written through the page cache is copied there, and later looked for, mapped and sent to the disk, which costs
more of a processor than all of our own work on it; and the end of a download waits for what is not on the disk yet. On
the file systems in :data:`DIRECT` whole blocks are sent from aligned memory instead (``O_DIRECT``). Everywhere else the
page cache is better: a client of NFS, for one, sends no second piece before the first one is answered.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ovca.files import file_system

PIECE = 256 * 1024
"""Longer writes to the page cache were slower where this was measured."""
WRITTEN_BACK = 8 * 1024 * 1024
GATHERED = 1024 * 1024
"""Bytes that go to the disk at a time."""
BLOCK = 4096
"""Of files and of memory; no disk wants more."""
DIRECT = frozenset({0xEF53, 0x58465342})
"""The file systems that write whole blocks from our memory, by their magic numbers: ext4, XFS."""
UNSUITED = (errno.EINVAL, errno.EOPNOTSUPP)
FULL = (errno.ENOSPC, errno.EDQUOT)


class Sink:
    """Writes at the place of a descriptor, which nobody else moves meanwhile; closing it is the caller's.

    What was given is in the file after :meth:`flush`, before it up to :data:`GATHERED` bytes are not. The file is never
    longer than what was written to it. Others may read it through the same descriptor, but not while this one writes.
    """

    def __init__(self, descriptor: int, *, direct: bool) -> None:
        self._descriptor = descriptor
        self.place = self._begun = os.lseek(descriptor, 0, os.SEEK_CUR)
        """How far the file is written."""
        self._direct = direct and file_system(descriptor) in DIRECT
        self._memory: memoryview | None = None
        self._first = self._last = self.place % BLOCK
        """What of the memory is to be written; it lies there as in the blocks of the file."""

    @property
    def waiting(self) -> bool:
        """Whether something is not in the file yet."""
        return self._last > self._first

    def write(self, data: bytes | memoryview) -> None:
        """Append. :raises OSError: this, or what was given before, cannot be written."""
        view = memoryview(data)
        if not self._direct:
            self.flush()
            self._write(view)
            return
        if self._memory is None:
            self._memory = memoryview(mmap.mmap(-1, GATHERED))  # it begins with a page
        while view:
            part = view[: GATHERED - self._last]
            end = self._last + len(part)
            self._memory[self._last : end] = part
            self._last, view = end, view[len(part) :]
            if end == GATHERED:
                self.flush()

    def flush(self) -> None:
        """Write what is not in the file yet. :raises OSError: it cannot be."""
        if self._memory is None or not self.waiting:
            return
        first, last = self._first, self._last
        self._first = self._last = 0  # what fails is not tried again
        begin, end = min(last, first + -first % BLOCK), last - last % BLOCK
        self._write(self._memory[first:begin])
        if begin < end:
            self._write(self._memory[begin:end], whole=True)
        self._write(self._memory[max(begin, end) : last])
        self._first = self._last = self.place % BLOCK

    def _write(self, view: memoryview, *, whole: bool = False) -> None:
        """Write it, ``whole`` blocks past the page cache as far as they can be."""
        if whole and self._direct:
            view = view[self._past(view) :]
        while view:
            written = os.write(self._descriptor, view[:PIECE])
            self.place += written
            view = view[written:]
        if self.place - self._begun >= WRITTEN_BACK and not self._direct:
            self._begun = write_back(self._descriptor, self._begun, self.place)

    def _past(self, view: memoryview) -> int:
        """Return how much of the blocks was written; what is left has another way, or the error, there."""
        try:
            with _unbuffered(self._descriptor):
                written = os.write(self._descriptor, view)
        except OSError as exc:
            if exc.errno in UNSUITED:
                self._direct = False
            elif exc.errno not in FULL:
                raise
            return 0
        self.place += written
        return written


@contextmanager
def _unbuffered(descriptor: int) -> Iterator[None]:
    """Only for a moment, as who reads through the same descriptor has no aligned memory."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
    try:
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def write_back(descriptor: int, begun: int, written: int) -> int:
    """Let the disk begin with what came since ``begun``, and the kernel forget what is there; return ``written``.

    The sync at the end then has little left to do, and the memory stays with those who read from it.
    """
    start = max(0, begun - 4 * WRITTEN_BACK)  # of what was begun before, most is on the disk now
    os.posix_fadvise(descriptor, start, written - start, os.POSIX_FADV_DONTNEED)
    return written
