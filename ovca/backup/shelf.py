"""The folder of the backups: one folder for each, which appears whole or not at all, and only root can look into it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovca.backup import record as records
from ovca.backup.archive import Reader, reading
from ovca.backup.record import DATA, FILE, ID, Record
from ovca.conf import storage
from ovca.exceptions import BackupError, UsageError
from ovca.files import fsync_dir, is_there, write_json

if TYPE_CHECKING:
    from oslo_config import cfg

NEW, OLD = '.new-', '.old-'
"""How the folders begin that are not yet backups, and those that are backups no more."""
SAME_SECOND = 99
"""How many backups of one version may be made within a second."""
STALE = 3600.0
"""Seconds after which nobody writes any more what was begun and is not finished."""


@dataclass(frozen=True)
class Shelved:
    """One backup on the shelf."""

    id: str
    folder: Path
    record: Record | None
    problem: str = ''
    """Why it cannot be used; what only a look at all of it would show is not known."""

    @property
    def data(self) -> Path:
        """The file that holds it."""
        return self.folder / DATA


class Shelf:
    """The backups below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Shelf:
        """The one that ``[backup] folder`` names."""
        return cls(storage.backups(conf))

    def backups(self) -> list[Shelved]:
        """All of them, the newest first; those whose record cannot be read come last.

        :raises BackupError: the folder cannot be read.
        """
        try:
            names = [each.name for each in os.scandir(self.folder) if ID.fullmatch(each.name) and each.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise self._unreadable(exc) from exc
        found = [_look(self.folder / name) for name in names]
        first = dt.datetime.min.replace(tzinfo=dt.UTC)
        return sorted(found, key=lambda each: (each.record.created_at if each.record else first, each.id), reverse=True)

    def find(self, which: str) -> Shelved:
        """The backup of this id; or with this path, of its folder or of a file in it.

        :raises UsageError: there is none. :raises BackupError: it cannot be used.
        """
        folder = Path(which) if '/' in which else self.folder / which
        if folder.name in (FILE, DATA) and not folder.is_dir():
            folder = folder.parent
        try:
            there = folder.is_dir()
        except OSError as exc:  # a folder above it is closed
            raise self._unreadable(exc, folder) from exc
        if not there or not (is_there(folder / FILE) if '/' in which else ID.fullmatch(which)):
            known = ', '.join(each.id for each in self.backups()[:5]) or 'none'
            raise UsageError(
                f'there is no backup {which!r}; name one as `ovca backup-list` shows it, or its folder. The newest in '
                f'{self.folder}: {known}',
                id='no-backup',
            )
        return _look(folder)

    def usable(self, which: str) -> tuple[Shelved, Record]:
        """Like :meth:`find`, with its record. :raises BackupError: it cannot be used, at the first look."""
        found = self.find(which)
        return found, found.record or records.read(found.folder / FILE)  # which says why it cannot be

    @contextmanager
    def open(self, which: str) -> Iterator[tuple[Record, Reader]]:
        """Open a backup to read it. The errors are those of :meth:`usable`."""
        found, record = self.usable(which)
        with reading(record, found.data) as reader:
            yield record, reader

    @contextmanager
    def new(self) -> Iterator[Path]:
        """A private folder to make a backup in; :meth:`publish` takes it, and what is left of it goes.

        :raises OSError: it cannot be made.
        """
        tidy(self.folder, (NEW, OLD))
        self.folder.mkdir(mode=0o700, exist_ok=True)  # not its parents: a missing one is storage that is not mounted
        self.folder.chmod(0o700)
        folder = self.folder / f'{NEW}{secrets.token_hex(8)}'
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, record: Record) -> Record:
        """Let a folder of :meth:`new` be a backup, with the data in it; return the record with the id it has got.

        :raises OSError: it cannot be written.
        """
        for number in range(1, SAME_SECOND + 1):
            named = record if number == 1 else dataclasses.replace(record, id=f'{record.id}-{number}')
            write_json(folder / FILE, named.encode(), mode=0o600)
            fsync_dir(folder)
            try:
                folder.rename(self.folder / named.id)
            except OSError as exc:
                if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                continue
            fsync_dir(self.folder)
            return named
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.folder / record.id))

    def belongs_to(self, id: str, update_id: int) -> None:
        """Note of which update a backup is. :raises BackupError, OSError: it cannot be noted."""
        _, record = self.usable(id)
        told = dataclasses.replace(record, update_id=update_id).encode()
        write_json(self.folder / id / FILE, told, mode=0o600)

    def delete(self, id: str) -> None:
        """Delete a backup: at once it is none any more. :raises BackupError: it cannot be deleted."""
        folder = self.find(id).folder
        if folder.parent != self.folder:
            raise UsageError(f'{id} is a path; name a backup as `ovca backup-list` shows it', id='no-backup')
        try:
            trash = folder.with_name(f'{OLD}{secrets.token_hex(8)}')
            folder.rename(trash)
            fsync_dir(self.folder)
        except OSError as exc:
            raise BackupError(
                f'backup {id} cannot be deleted: {exc.strerror}; see to {self.folder}', id='backup-not-deleted'
            ) from exc
        try:
            shutil.rmtree(trash)
        except OSError as exc:
            raise BackupError(
                f'backup {id} is no backup any more, but files of it are left: {exc.strerror}; remove {trash}',
                id='backup-not-deleted',
            ) from exc

    def retain(self, keep: int, *, newest: str = '', newest_update: int | None = None) -> list[str]:
        """Delete the oldest beyond ``keep``; return their ids. The newest update's own stays, and so do damaged ones.

        ``newest`` is the one that was just made, and stays whatever the clock says; ``newest_update`` the number of the
        newest update that the database knows.

        :raises BackupError: one cannot be deleted.
        """
        # Its folder names it; the id in the record of one that was renamed or copied may be that of another.
        records = [dataclasses.replace(each.record, id=each.id) for each in self.backups() if each.record]
        records.sort(key=lambda each: each.id != newest)
        surplus = beyond(records, keep, newest_update)
        for id in surplus:
            self.delete(id)
        return surplus

    def _unreadable(self, exc: OSError, folder: Path | None = None) -> BackupError:
        return BackupError(
            f'{folder or self.folder} cannot be read: {exc.strerror}; run it as root, and see to the storage',
            id='backup-unreadable',
        )


def tidy(folder: Path, beginnings: tuple[str, ...]) -> None:
    """Remove from a folder what somebody has begun who was killed, by the beginnings of its names."""
    with contextlib.suppress(OSError):
        for each in list(folder.iterdir()):
            if each.name.startswith(beginnings) and not each.is_symlink() and _age(each) > STALE:
                shutil.rmtree(each, ignore_errors=True)


def beyond(newest_first: list[Record], keep: int, newest_update: int | None = None) -> list[str]:
    """The ids of the backups that are one too many, the oldest first.

    The one of ``newest_update`` is none of them; if that has none, the newest one that any update has made. (The
    highest number does not tell: after a restore numbers are given again.)
    """
    by_update = [each for each in newest_first if each.update_id is not None]
    kept = next((each for each in by_update if each.update_id == newest_update), by_update[0] if by_update else None)
    return [each.id for each in reversed(newest_first[keep:]) if kept is None or each.id != kept.id]


def name(at: dt.datetime, version: str) -> str:
    """The id of a backup that is made now."""
    return f'{at.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{re.sub(r"[^A-Za-z0-9._+~-]", "_", version)[:64]}'


def _look(folder: Path) -> Shelved:
    try:
        record = records.read(folder / FILE)
    except BackupError as exc:
        return Shelved(folder.name, folder, None, str(exc))
    problem = ''
    try:
        size = (folder / DATA).stat().st_size
    except OSError as exc:
        problem = f'{DATA} cannot be read: {exc.strerror}'
    else:
        if size != record.size:
            problem = f'{DATA} has {size} bytes, and was made with {record.size}'
    return Shelved(folder.name, folder, record, problem)


def _age(folder: Path) -> float:
    newest = max((each.stat().st_mtime for each in (folder, *folder.rglob('*'))), default=0.0)
    return time.time() - newest
