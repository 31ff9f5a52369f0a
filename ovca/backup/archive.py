"""The one file that holds a backup: a zip, written once from its beginning to its end, and read by its record."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ovca.backup.record import Content, Record
from ovca.exceptions import BackupError

CHUNK = 2**20
Told = Callable[[int, int], None]
"""Gets the bytes that were read, and all of them."""


class Writer:
    """Writes the file; :meth:`close` makes it durable. Only its owner can read it."""

    def __init__(self, path: Path) -> None:
        """:raises OSError: it cannot be made, or is there."""
        self.path = path
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._stream = os.fdopen(descriptor, 'w+b')
        self._zip = zipfile.ZipFile(self._stream, 'w', zipfile.ZIP_DEFLATED)
        self.contents: list[Content] = []

    def add(self, name: str, pieces: Iterable[bytes], *, table: bool = False) -> None:
        """Add a file from its pieces; of a ``table`` each but the first is a row.

        :raises BackupError: its name cannot be written down.
        """
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            shown = name.encode(errors='backslashreplace').decode()
            raise BackupError(
                f'no backup could be made: the name of {shown} is not UTF-8; rename the file', id='backup-failed'
            ) from exc
        digest, size, count = hashlib.sha256(), 0, 0
        # Nothing in a zip of its own is worth the date of: the record has it.
        about = zipfile.ZipInfo(name)
        about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
        with self._zip.open(about, 'w', force_zip64=True) as member:
            for piece in pieces:
                digest.update(piece)
                size, count = size + len(piece), count + 1
                member.write(piece)
        self.contents.append(Content(name, size, digest.hexdigest(), count - 1 if table else None))

    def add_file(self, name: str, path: Path) -> None:
        """Add a file of the disk. :raises OSError: it cannot be read."""
        with path.open('rb') as stream:
            self.add(name, _chunks(stream))

    def close(self) -> tuple[int, str]:
        """Finish the file and make it durable; return its size and digest."""
        self._zip.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.seek(0)
        digest = hashlib.sha256()
        for chunk in _chunks(self._stream):
            digest.update(chunk)
        size = self._stream.tell()
        self._stream.close()
        return size, digest.hexdigest()

    def abandon(self) -> None:
        """Close what cannot be finished."""
        self._zip.fp = None  # else it would write its end into the closed file, some time later
        with contextlib.suppress(OSError):  # what is still in memory does not fit the disk
            self._stream.close()


class Reader:
    """An open file of a backup; what it gives is what the record says, or an error."""

    def __init__(self, record: Record, stream: IO[bytes], where: Path) -> None:
        self.record, self.where = record, where
        self._stream = stream
        self._zip: zipfile.ZipFile | None = None

    def verify(self, told: Told | None = None) -> list[str]:
        """Read all of it; return what is wrong, which is nothing in a good one."""
        digest, done = hashlib.sha256(), 0
        try:
            size = os.fstat(self._stream.fileno()).st_size
            self._stream.seek(0)
            for chunk in _chunks(self._stream):
                digest.update(chunk)
                done += len(chunk)
                if told is not None:
                    told(done, size)
        except OSError as exc:
            return [f'{self.where.name}: cannot be read: {exc.strerror}']
        if done != self.record.size:
            return [f'{self.where.name}: {done} bytes, and the record says {self.record.size}']
        if digest.hexdigest() != self.record.sha256:
            return [f'{self.where.name}: its digest is not the one that the record says']
        return self._differences()

    def _differences(self) -> list[str]:
        problems = []
        try:
            names = self._opened().namelist()
        except BackupError as exc:
            return [f'{self.where.name}: {exc}']
        listed = {each.name for each in self.record.contents}
        problems += [f'{name}: is not listed in the record' for name in names if name not in listed]
        for each in self.record.contents:
            try:
                for _ in self.chunks(each):
                    pass
            except BackupError as exc:
                problems.append(f'{each.name}: {exc.args[0]}')
        return problems

    def chunks(self, content: Content) -> Iterator[bytes]:
        """A file's bytes. :raises BackupError: they are not those of the record; at the end, if not before."""
        digest, size = hashlib.sha256(), 0
        try:
            with self._opened().open(content.name) as member:
                for chunk in _chunks(member):
                    digest.update(chunk)
                    size += len(chunk)
                    if size > content.size:
                        break
                    yield chunk
        except KeyError:
            raise _damaged('is missing') from None
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
            raise _damaged(f'cannot be read: {exc}') from exc
        if size != content.size:
            raise _damaged('its size is not the one that the record says')
        if digest.hexdigest() != content.sha256:
            raise _damaged('its digest is not the one that the record says')

    def _opened(self) -> zipfile.ZipFile:
        if self._zip is None:
            try:
                self._zip = zipfile.ZipFile(self._stream)
            except (OSError, zipfile.BadZipFile, ValueError) as exc:
                raise _damaged(f'cannot be read: {exc}') from exc
        return self._zip


def _damaged(what: str) -> BackupError:
    return BackupError(what, id='backup-damaged')


@contextmanager
def reading(record: Record, path: Path) -> Iterator[Reader]:
    """Open the file of a backup. :raises BackupError: it cannot be read."""
    try:
        stream = path.open('rb')
    except OSError as exc:
        raise BackupError(f'{path} cannot be read: {exc.strerror}; see to the storage', id='backup-unreadable') from exc
    with stream:
        yield Reader(record, stream, path)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
