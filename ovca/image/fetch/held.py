"""What was received of a source: a part file, and a note beside it that says what of it can be believed.

After the death of this process the kernel still has all that was written, so the file's length is believed as long as
the machine has not been started anew. After a power loss the file may be longer than what reached the disk; then only
what was synced is believed. The note holds both: the boot, and the length that was synced in it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovca.files import write_json
from ovca.image.errors import StorageFailed
from ovca.image.kept import AHEAD, Kept, sync

READ = 1024 * 1024
BOOT_ID = Path('/proc/sys/kernel/random/boot_id')


class Part:
    """The bytes of one source from its first on, kept in a file; opened when it is made.

    ``source`` names the source. ``validator`` and ``size`` are what was known of it when the bytes came. Those that
    others keep, as what they become, are counted and not written (:meth:`skip`, :meth:`leave`). Up to ``ahead`` bytes
    may wait to be written.

    :raises StorageFailed: the file cannot be opened.
    """

    def __init__(self, path: Path, source: str, *, ahead: int = AHEAD) -> None:
        self.path, self.note = path, note_of(path)
        self._source, self._ahead = source, ahead
        self.validator: str | None = None
        self.size: int | None = None
        self.ranges = False
        """The source said that it can be taken up anywhere."""
        self.complete = False
        """All is there: nothing has to be made sure for later."""
        self.left = False
        """What comes is kept elsewhere."""
        self._synced = 0
        held = self._believed()
        with self._writing():
            self._file = path.open('r+b' if held else 'w+b', buffering=0)
            self._file.truncate(held)
        self.held, self._synced = held, min(held, self._synced)
        self._writer: Kept | None = None
        self._noting = threading.Lock()

    def _believed(self) -> int:
        try:
            known = json.loads(self.note.read_bytes())
            length = self.path.stat().st_size
        except (OSError, ValueError, RecursionError):
            return 0
        if not isinstance(known, dict) or known.get('uri') != self._source or not known.get('validator'):
            return 0
        self.validator = str(known['validator'])
        self.size = known['size'] if isinstance(known.get('size'), int) else None
        self.ranges = known.get('ranges') is True
        self._synced = max(0, known['synced']) if isinstance(known.get('synced'), int) else 0
        here = boot()
        if here is None or known.get('boot') != here:
            length = min(length, self._synced)
        return length if self.size is None else min(length, self.size)

    def replay(self, until: int | None = None) -> Iterator[bytes]:
        """What is there, or its first ``until`` bytes."""
        with self._writing():
            self._file.seek(0)
        left = self.held if until is None else min(until, self.held)
        while left:
            with self._writing():
                data = self._file.read(min(READ, left))
            if not data:
                raise StorageFailed(self.path.parent, OSError(f'{self.path.name} became shorter'))
            left -= len(data)
            yield data

    def matches(self, data: bytes, offset: int) -> bool:
        """Whether these bytes are there at ``offset``."""
        self.flush()
        with self._writing():
            return os.pread(self._file.fileno(), len(data), offset) == data

    def remember(self, validator: str | None, size: int | None, *, ranges: bool = False) -> None:
        """Note what the source says of itself now, and which boot this is."""
        self.validator, self.size, self.ranges = validator, size, ranges
        with self._writing():
            self._write_note()

    def skip(self, to: int) -> None:
        """What comes next begins there: what lies before is kept elsewhere as far as it is not here."""
        self.held, self.left = to, True

    def leave(self) -> None:
        """From now on only count what comes. :raises StorageFailed: what came before cannot be made to stay."""
        if not self.left:
            self.flush()
            self.left = True
            with self._writing():
                sync(self._file.fileno(), self._synced)
                self._noted(self.held)

    def cut(self, length: int) -> None:
        """Keep the first bytes only, and go on behind them. :raises StorageFailed: the file cannot be cut."""
        self.held, self._synced = length, min(self._synced, length)
        with self._writing():
            self._write_note()
            self._file.truncate(length)

    def append(self, data: bytes | memoryview) -> None:
        """Keep these bytes too; another thread writes them, and now and then makes sure that they stay.

        :raises StorageFailed: what came before could not be written.
        """
        if self.left:
            self.held += len(data)
            return
        with self._writing():
            if self._writer is None:
                self._file.seek(self.held)
                self._writer = Kept(self._file, ahead=self._ahead, synced=self._noted)
            self._writer.write(data)
        self.held += len(data)

    def flush(self) -> None:
        """Wait until all is written. :raises StorageFailed: it could not be."""
        with self._writing():
            if self._writer is not None:
                self._writer.flush()

    def forget(self) -> None:
        """Remove file and note; the file is closed."""
        self._end()
        self._file.close()
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write what was handed over, and close the file; if it is to be taken up later, make it last."""
        if self._file.closed:
            return
        try:
            self._end()
            length = self._file.seek(0, os.SEEK_END)
            if not self.complete and length > self._synced:
                sync(self._file.fileno(), self._synced)
                self._noted(length)
        except OSError:
            pass  # what failed before, or will when it is taken up, is told there
        finally:
            self._file.close()

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.__exit__()
            self._writer = None

    def _noted(self, place: int) -> None:
        self._synced = place
        self._write_note()

    def _write_note(self) -> None:
        with self._noting:
            note: dict[str, Any] = {
                'uri': self._source,
                'validator': self.validator,
                'size': self.size,
                'ranges': self.ranges,
                'synced': self._synced,
                'boot': boot(),
            }
            write_json(self.note, note)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell an error of our disk from one of the source's, which is worth another try."""
        try:
            yield
        except OSError as exc:
            raise StorageFailed(self.path.parent, exc) from exc


def note_of(path: Path) -> Path:
    """The note beside a file."""
    return path.with_name(path.name + '.json')


def boot() -> str | None:
    """What names this start of the machine; None where nothing does."""
    try:
        return BOOT_ID.read_text().strip() or None
    except OSError:
        return None
