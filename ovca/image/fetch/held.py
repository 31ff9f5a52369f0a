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
from ovca.image.kept import Kept, sync

READ = 1024 * 1024
BOOT_ID = Path('/proc/sys/kernel/random/boot_id')


class Part:
    """The bytes of one source from its first on, kept in a file; opened when it is made.

    ``source`` names the source. ``validator`` and ``size`` are what was known of it when the bytes came.

    :raises StorageFailed: the file cannot be opened.
    """

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.note = path, path.with_name(path.name + '.json')
        self._source = source
        self.validator: str | None = None
        self.size: int | None = None
        self.complete = False
        """All is there: nothing has to be made sure for later."""
        held = self._believed()
        with self._writing():
            self._file = path.open('r+b' if held else 'w+b', buffering=0)
            self._file.truncate(held)
        self.held = self._synced = held
        self._writer: Kept | None = None
        self._noting = threading.Lock()

    def _believed(self) -> int:
        try:
            known = json.loads(self.note.read_bytes())
            length = self.path.stat().st_size
        except (OSError, ValueError):
            return 0
        if not isinstance(known, dict) or known.get('uri') != self._source or not known.get('validator'):
            return 0
        self.validator = str(known['validator'])
        self.size = known['size'] if isinstance(known.get('size'), int) else None
        here = boot()
        if here is None or known.get('boot') != here:
            length = min(length, known['synced'] if isinstance(known.get('synced'), int) else 0)
        return length if self.size is None else min(length, self.size)

    def replay(self) -> Iterator[bytes]:
        """What is there."""
        with self._writing():
            self._file.seek(0)
        left = self.held
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

    def remember(self, validator: str | None, size: int | None) -> None:
        """Note what the source says of itself now, and which boot this is."""
        self.validator, self.size = validator, size
        with self._writing():
            self._write_note()

    def append(self, data: bytes) -> None:
        """Keep these bytes too; another thread writes them, and now and then makes sure that they stay.

        :raises StorageFailed: what came before could not be written.
        """
        with self._writing():
            if self._writer is None:
                self._file.seek(self.held)
                self._writer = Kept(self._file, synced=self._noted)
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


def boot() -> str | None:
    """What names this start of the machine; None where nothing does."""
    try:
        return BOOT_ID.read_text().strip() or None
    except OSError:
        return None
