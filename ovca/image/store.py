"""Where images live on the shared storage: staged out of sight, then published by renames, then committed by a row."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import logging
import os
import shutil
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import fasteners

from ovca.exceptions import DatabaseError, ImageError
from ovca.files import fsync_dir, sync_filesystem, write_atomic
from ovca.image import note
from ovca.image.errors import AlreadyPublished, DownloadRunning, NoSpace, StorageFailed
from ovca.image.manifest import Manifest
from ovca.image.note import Note
from ovca.image.version import ImageVersion, is_version

if TYPE_CHECKING:
    from oslo_config import cfg

COMPONENTS = ('mgmt', 'hmp', 'ovm')
STAGING = '.ovca-staging'
WORK = 'work'
TRASH = 'trash'
STALE = 7 * 24 * 3600.0
FLOCK = struct.Struct('@hhqqi')
"""``struct flock`` of Linux."""
UNKNOWN = 'its owner is not known'
Known = Mapping[str, Note | None] | Collection[str]
"""The versions that have a row, perhaps with the note that each of them is to have."""
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who holds the lock of the images."""

    owner: str
    node: str
    since: dt.datetime | None


class Store:
    """The images below one shared folder. All names in it come from checked versions."""

    def __init__(self, shared_storage: Path, *, reserve: int = 0, owner: str = '') -> None:
        """``owner`` is what others are told while this one holds the lock."""
        self.root, self.reserve = shared_storage, reserve
        self.owner = owner or f'process {os.getpid()} on {socket.gethostname()}'

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, *, owner: str = '') -> Store:
        return cls(Path(conf.image.shared_storage), reserve=conf.image.space_reserve, owner=owner)

    @property
    def staging(self) -> Path:
        """Where a download is put together."""
        return self.root / STAGING

    def folder(self, component: str, version: str) -> Path:
        """The published folder of a component."""
        return self.root / f'{component}_image' / str(ImageVersion(version))

    def mgmt(self, version: str) -> Path:
        """The folder that holds the ISO, the manifest, and the tree."""
        return self.folder('mgmt', version)

    def tree(self, version: str) -> Path:
        """The unpacked root file system of a management node."""
        return self.mgmt(version) / 'tree'

    def manifest_json(self, version: str) -> Path:
        """The manifest as it was signed."""
        return self.mgmt(version) / 'manifest.json'

    def manifest(self, version: str) -> Manifest:
        """The manifest of a published image.

        :raises ImageError: the image is not here, or its manifest cannot be read.
        """
        path = self.manifest_json(version)
        try:
            return Manifest.parse(path.read_bytes(), str(path))
        except OSError as exc:
            raise ImageError(
                f'image {version} is not on {self.root}: {exc.strerror}; see `ovca image-list`', id='image-unreadable'
            ) from exc

    def iso_path(self, version: str) -> Path:
        """The ISO of a published image."""
        return self.mgmt(version) / self.manifest(version).iso.name

    def installer(self, version: str) -> Path:
        """The installer that the image brings."""
        return self.mgmt(version) / 'boot' / 'installer.pyz'

    def versions(self) -> list[str]:
        """The versions that have a folder, the oldest first; the database knows which of them count."""
        names = (folder.name for folder in self._of_versions('mgmt'))
        return sorted(names, key=lambda name: (ImageVersion(name), name))

    def unknown(self, known: Collection[str], running: Collection[str] = ()) -> list[str]:
        """Published versions that the database does not know, the oldest first.

        ``known`` are those that have a row. What runs, ``running``, was published even where no note says so.

        :raises StorageFailed: the storage cannot be looked at.
        """
        try:
            others = [version for version in self.versions() if version not in known]
            return [version for version in others if version in running or note.is_there(self.mgmt(version))]
        except OSError as exc:
            raise StorageFailed(self.root, exc, what='read') from exc

    def forget(self, versions: Iterable[str]) -> list[str]:
        """Remove the notes of these images, before their rows are; return the versions that had one.

        Who dies behind that leaves what the next cleaning removes, if the row is gone, or notes again, if it is not.
        The caller holds the :meth:`lock`.

        :raises StorageFailed: one cannot be removed.
        """
        try:
            noted = [version for version in versions if note.is_there(self.mgmt(version))]
            for version in noted:
                note.remove(self.mgmt(version))
        except OSError as exc:
            raise StorageFailed(self.root, exc) from exc
        return noted

    def _of_versions(self, component: str) -> list[Path]:
        """A component's folders; not those that no image can have, as ``.snapshot``, which some servers show there."""
        parent = self.root / f'{component}_image'
        found = sorted(parent.iterdir()) if parent.is_dir() else []
        return [folder for folder in found if is_version(folder.name) and folder.is_dir()]

    def folders(self, version: str) -> dict[Path, int]:
        """The folders that an image has, and how many bytes the files in each of them hold.

        :raises StorageFailed: the storage cannot be looked at.
        """
        found = [self.folder(component, version) for component in COMPONENTS]
        try:
            return {folder: _bytes_in(folder) for folder in found if folder.is_dir()}
        except OSError as exc:
            raise StorageFailed(self.root, exc, what='read') from exc

    def remove(self, version: str) -> None:
        """Remove an image's folders; its note and row have to be gone before, and the caller holds the :meth:`lock`.

        They are first moved out of sight: nobody reads a half of them. What a crash leaves, :meth:`clean` removes.
        Nothing is made for that: a storage may be so full that it takes no folder.
        """
        self.drop_second_names([version])
        moved = []
        for component in COMPONENTS:
            folder, trash = self.folder(component, version), self.staging / f'{TRASH}-{component}'
            if trash.is_symlink():
                trash.unlink()
            shutil.rmtree(trash, ignore_errors=True)
            if folder.exists():
                folder.rename(trash)
                fsync_dir(folder.parent)
                moved.append(trash)
        for trash in moved:
            _remove(trash)

    def files_json(self, version: str) -> Path:
        """The list of files of an image."""
        return self.mgmt(version) / 'files.json'

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One download at a time.

        :raises DownloadRunning: another one holds the lock. :raises StorageFailed: the storage takes none.
        """
        path = self.staging / 'lock'
        lock = fasteners.InterProcessLock(str(path))
        try:
            self.staging.mkdir(parents=True, exist_ok=True)
            taken = lock.acquire(blocking=False)
        except (OSError, threading.ThreadError) as exc:  # the latter is of fasteners, as for a server without locks
            cause = exc if isinstance(exc, OSError) else exc.__context__
            raise StorageFailed(self.root, cause if isinstance(cause, OSError) else OSError(str(exc))) from exc
        owner = path.with_suffix('.owner')
        if not taken:
            raise DownloadRunning(owner.read_text() if owner.exists() else UNKNOWN)
        try:
            self._sign(owner)
            yield
        finally:
            lock.release()

    def _sign(self, path: Path) -> None:
        """Tell others who holds the lock; a storage that is full is no reason to do without, as room is to be made."""
        since = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())
        for _ in range(2):
            try:
                write_atomic(path, f'{self.owner}, since {since}'.encode())
            except OSError as exc:
                problem = exc.strerror
            else:
                return
            with contextlib.suppress(OSError):
                path.unlink()  # it tells of another one, and its room may do
        LOG.warning('who holds the lock of the images is not told to others: %s cannot be written: %s', path, problem)

    def lock_holder(self) -> Holder | None:
        """Who holds the lock, without taking it; None if nobody does.

        Only for a process that never takes it: closing the file would give up the lock that the same process holds.
        """
        path = self.staging / 'lock'
        try:
            with path.open('rb') as file:
                wanted = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                found = FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, wanted))
            if found[0] == fcntl.F_UNLCK:
                return None
        except FileNotFoundError:
            return None
        except OSError as exc:
            LOG.debug('%s cannot be looked at: %s', path, exc)
            return None
        try:
            told = path.with_suffix('.owner').read_text()
        except OSError as exc:
            LOG.debug('who holds the lock cannot be read: %s', exc)
            return Holder(UNKNOWN, '', None)
        owner, _, since = told.rpartition(', since ')
        try:
            moment = dt.datetime.fromisoformat(since)
        except ValueError:
            moment = None
        return Holder(owner, owner.rpartition(' on ')[2], moment)

    def need(self, size: int) -> None:
        """Check that ``size`` more bytes fit beside the reserve. :raises NoSpace: they do not."""
        free = shutil.disk_usage(self.root).free
        if free < size + self.reserve:
            raise NoSpace(self.root, size + self.reserve, free)

    def publish(self, staged: Path, version: str, commit: Callable[[], None]) -> None:
        """Move the staged component folders into place and commit; without the commit they are taken away again.

        A crash in between leaves folders without row and note, which :meth:`clean` removes. The caller writes the note.

        :raises AlreadyPublished: there is an image of this version.
        """
        sync_filesystem(staged)
        moved: list[Path] = []
        try:
            for component in COMPONENTS:
                source, target = staged / f'{component}_image', self.folder(component, version)
                if not source.is_dir():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    raise AlreadyPublished(version)
                source.rename(target)
                moved.append(target)
                fsync_dir(target.parent)
            commit()
        except DatabaseError:
            raise  # the row may be there although the answer was lost; clean() finds out
        except BaseException:
            for target in moved:
                shutil.rmtree(target, ignore_errors=True)
            raise

    def clean(self, known: Known | Callable[[], Known]) -> list[Path]:
        """Remove what was killed has left: folders of versions without row and note, and old parts; return the folders.

        So are the names of published ISOs that they had while they were received, and what is no file among the parts.
        What has a note but no row stays: it was published, and perhaps runs, and the database is an older or a wrong
        one.

        ``known`` are the versions that have a row; or all that stay, each with the note that is written if it has
        none, or None. A function is called once no download can run: a list that was made before may lack an image that
        was published meanwhile.

        :raises DownloadRunning: a download is under way. :raises StorageFailed: something cannot be removed.
        """
        with self.lock():
            versions = known() if callable(known) else known
            try:
                return self._clean(versions)
            except OSError as exc:
                raise StorageFailed(exc.filename or self.root, exc) from exc

    def _clean(self, known: Known) -> list[Path]:
        removed = []
        for left in (self.staging / WORK, *self.staging.glob(f'{TRASH}*')):
            shutil.rmtree(left, ignore_errors=True)
        for path in (path for files in self._left().values() for path in files):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):  # a download makes files only, and cannot use anything else
                shutil.rmtree(path)
            elif not stat.S_ISREG(mode):
                path.unlink()
        for files in self._left().values():
            if time.time() - max(path.stat().st_mtime for path in files) > STALE:
                for path in files:
                    path.unlink(missing_ok=True)
        stay = {*known, *self.unknown(known)}
        for component in COMPONENTS:
            for folder in self._of_versions(component):
                if folder.name not in stay:
                    _remove(folder)
                    removed.append(folder)
        self.drop_second_names(stay)
        if isinstance(known, Mapping):
            self.make_up(filter(None, known.values()))
        return removed

    def make_up(self, notes: Iterable[Note]) -> None:
        """Write the notes that images lack: those of older software, and of who died before. The lock is held."""
        for each in notes:
            folder = self.mgmt(each.version)
            if folder.is_dir() and not note.is_there(folder):
                note.write(folder, each)

    def drop_second_names(self, versions: Iterable[str]) -> None:
        """Remove the names that published ISOs had while they were received, if a download died before it did that.

        The first members that may lie beside one stay: with them a download that is begun again needs no server to see
        that the image is there, and then it removes them. The caller holds the :meth:`lock`.
        """
        for files in self._left().values():
            isos = [path for path in files if '.iso' in path.suffixes]
            if isos and any(os.path.samestat(path.lstat(), facts) for path in isos for facts in self._files(versions)):
                for path in isos:
                    path.unlink()

    def _files(self, versions: Iterable[str]) -> Iterator[os.stat_result]:
        """What lies beside the trees of these images."""
        for folder in map(self.mgmt, versions):
            yield from (path.lstat() for path in folder.iterdir()) if folder.is_dir() else ()

    def _left(self) -> dict[str, list[Path]]:
        """What interrupted downloads have left: a part, an ISO, and their notes, by the source."""
        found: dict[str, list[Path]] = {}
        for path in (*self.staging.glob('*.part*'), *self.staging.glob('*.iso*')):
            found.setdefault(path.name.lstrip('.').partition('.')[0], []).append(path)
        return found


def _remove(folder: Path) -> None:
    """Remove a folder with all in it; of a link in its place, which somebody has put there, only the link."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _bytes_in(folder: Path) -> int:
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # gone meanwhile
                total += Path(top, name).lstat().st_size
    return total
