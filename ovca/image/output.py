"""Files of an image while they are written: new ones, without holes, and without filling the memory."""

from __future__ import annotations

import os
from pathlib import Path

from ovca.files import reserve
from ovca.image.sink import Sink

RESERVED = 1024 * 1024
"""For smaller files it does not pay to ask for their blocks in advance, nor to go past the page cache."""


class Output:
    """A new file of a known size; for an unknown one, ``size`` is 0.

    Of one that is to be ``read`` soon, the kernel may keep in memory what it wants.

    :raises OSError: there is such a file or link already, or no room for it.
    """

    def __init__(self, path: Path, size: int = 0, *, read: bool = False) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if size >= RESERVED:
                reserve(self._descriptor, size)
            self._sink = Sink(self._descriptor, direct=size >= RESERVED and not read)
        except BaseException:
            os.close(self._descriptor)
            raise

    def fileno(self) -> int:
        """The descriptor, for copies that the kernel makes; then nothing is written here."""
        return self._descriptor

    def write(self, data: bytes | memoryview) -> None:
        """Append. :raises OSError: it cannot be written."""
        self._sink.write(data)

    def close(self, mode: int) -> None:
        """End the file and give it its mode. :raises OSError: what was given last cannot be written."""
        try:
            self._sink.flush()
            os.fchmod(self._descriptor, mode)
        finally:
            os.close(self._descriptor)
