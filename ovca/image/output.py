"""Files of an image while they are written: new ones, without holes, and without filling the memory."""

from __future__ import annotations

import os
from pathlib import Path

from ovca.files import reserve

PIECE = 256 * 1024
"""Longer writes were slower where this was measured."""
WRITTEN_BACK = 8 * 1024 * 1024
RESERVED = 1024 * 1024
"""For smaller files it does not pay to ask for their blocks in advance."""


class Output:
    """A new file of a known size; for an unknown one, ``size`` is 0.

    :raises OSError: there is such a file or link already, or no room for it.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._written = self._begun = 0
        try:
            if size >= RESERVED:
                reserve(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            raise

    def fileno(self) -> int:
        """The descriptor, for copies that the kernel makes."""
        return self._descriptor

    def write(self, data: bytes | memoryview) -> None:
        """Append. :raises OSError: it cannot be written."""
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view[:PIECE])
            self._written += written
            view = view[written:]
        if self._written - self._begun >= WRITTEN_BACK:
            self._begun = write_back(self._descriptor, self._begun, self._written)

    def close(self, mode: int) -> None:
        """End the file and give it its mode."""
        try:
            os.fchmod(self._descriptor, mode)
        finally:
            os.close(self._descriptor)


def write_back(descriptor: int, begun: int, written: int) -> int:
    """Let the disk begin with what came since ``begun``, and the kernel forget what is there; return ``written``.

    The sync at the end then has little left to do, and the memory stays with those who read from it.
    """
    start = max(0, begun - 4 * WRITTEN_BACK)  # of what was begun before, most is on the disk now
    os.posix_fadvise(descriptor, start, written - start, os.POSIX_FADV_DONTNEED)
    return written
