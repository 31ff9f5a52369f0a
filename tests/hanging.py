"""Storage whose server is gone, on any file system: a file at which whoever reads it hangs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def calls(name: str) -> int:
    """The threads that wait for something of this name which may hang."""
    return sum(thread.name == f'call-{name}' for thread in threading.enumerate())


@contextmanager
def dead(path: Path) -> Iterator[None]:
    """Whoever reads the file hangs; at the end all of them are let go, and it is as it was."""
    kept = path.rename(path.with_name(f'{path.name}.kept'))
    os.mkfifo(path)
    try:
        yield
    finally:
        fifo = os.open(path, os.O_RDWR)  # those that wait get a writer, which goes away again
        kept.rename(path)
        os.close(fifo)
