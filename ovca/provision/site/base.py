"""The interface of a site item: one kind of settings that a node keeps through a wipe."""

from __future__ import annotations

import errno
import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, TypeVar

from ovca.exceptions import ProvisionError
from ovca.image.names import shown
from ovca.provision import putback
from ovca.provision.authority import SiteFile, SiteFolder, decode_file, encode_file

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['FileItem', 'SiteFile', 'SiteFolder', 'SiteItem', 'SiteItemError']

T = TypeVar('T')
GROUP = 'ovca.site'
LARGEST = 4 * 2**20
"""Bytes that one file, or the data of one item, may have: settings, not stores."""
TOTAL = 32 * 2**20
"""Bytes that all items of a node may have together: an installer gets them in one answer, and keeps them in memory."""


class SiteItemError(ProvisionError):
    """One kind of site settings could not be saved or put back."""

    id = 'site-item'


def too_much(name: str) -> SiteItemError:
    """What is said when the items of a node outgrow their bound, and which of them did it."""
    return SiteItemError(
        f'with site item {name} the site settings have more than {TOTAL} bytes; take what is no setting out of its '
        f'patterns'
    )


class SiteItem(ABC):
    """One kind of settings that are saved before a node is wiped, and put back after; entry-point group ``ovca.site``.

    What lies in files is a :class:`FileItem`, which only names them. Anything else is an item that writes
    :meth:`_save` and :meth:`_restore`. The entry point's name is what an operator writes into ``[provision]
    site_items``, and what ``ovca site-show`` lists.

    *When it is called.* ovcad builds the items once, at its start, on both nodes. :meth:`save` is called on each node
    about once a minute, and at once before the node is wiped or hands over. :meth:`restore` is called once on the
    installed node, at the first start of its ovcad, before the node serves.

    *From which thread.* From one at a time.

    *How long it may take.* :meth:`save`: less than a second, for an install waits for it a few seconds at most.
    :meth:`restore`: seconds.

    *What errors mean.* Any exception is told with the item's name. An item that cannot be saved leaves the others
    alone, keeps what was saved of it before, and raises an alarm. One that cannot be put back is reported as failed,
    and tried again at the next start of ovcad. Never put a secret into an error's text.

    *What must be idempotent.* Both: :meth:`save` changes nothing, and returns the same bytes while nothing changes;
    :meth:`restore` may be called again with the same data.

    *Secrets.* What :meth:`save` returns is kept on the shared storage, for root's eyes only, and goes to the installer
    of the node over TLS, once its grant is consumed.

    .. code-block:: python

        class RackLights(SiteItem):
            api = 1

            def _save(self, root: Path) -> bytes | None:
                return json.dumps(lights.read_all(), sort_keys=True).encode()

            def _restore(self, root: Path, data: bytes) -> None:
                lights.set_all(json.loads(data))
    """

    api: ClassVar[int] = 1

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
        self.name = type(self).__name__
        """The entry point's name, once the item is loaded by it."""

    def covers(self) -> Sequence[str]:
        """Patterns of the paths below the root that this item keeps in its own way: they do not count as lost."""
        return ()

    def save(self, root: Path) -> bytes | None:
        """Return the settings of the system below ``root``; None: there are none.

        :raises SiteItemError: they cannot be had.
        """
        data = self._guarded('saved', lambda: self._save(root))
        if data is not None and len(data) > LARGEST:
            raise SiteItemError(f'site item {self.name} has {len(data)} bytes, more than {LARGEST}; it is not saved')
        return data

    def restore(self, root: Path, data: bytes) -> None:
        """Put back what :meth:`save` returned. :raises SiteItemError: it could not be done."""
        self._guarded('put back', lambda: self._restore(root, data))

    def _guarded(self, what: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except SiteItemError:
            raise
        except Exception as exc:  # whatever an item's library raises
            cause = f'{type(exc).__name__}: {exc}'.removesuffix(': ')
            raise SiteItemError(f'site item {self.name} could not be {what}: {cause}') from exc

    @abstractmethod
    def _save(self, root: Path) -> bytes | None:
        """Return the settings, or None."""

    @abstractmethod
    def _restore(self, root: Path, data: bytes) -> None:
        """Put the settings back."""


class FileItem(SiteItem):
    """Settings that are files: the installer puts them back itself, before the node first boots.

    A driver sets :attr:`patterns`. Files that are still as the image brought them are left to the next image; links are
    not carried over, and folders only with the files in them: with mode and owner, where the next image has them not.

    .. code-block:: python

        class RackFiles(FileItem):
            api = 1
            patterns = ('etc/rack/*.conf', 'etc/rack/keys/*')
    """

    patterns: Sequence[str] = ()
    """Paths below the root, or patterns as ``pathlib`` has them; ``**`` stands for any folders."""

    def covers(self) -> Sequence[str]:
        """The patterns."""
        return self.patterns

    def paths(self, root: Path) -> list[str]:
        """The files below ``root`` that match, by path below it; in a stable order."""
        found: dict[str, None] = {}
        for pattern in self.covers():
            for path in sorted(root.glob(pattern.lstrip('/'))):
                if path.is_file() and not path.is_symlink():
                    found[path.relative_to(root).as_posix()] = None
        return list(found)

    def content(self, root: Path, path: str, data: bytes) -> bytes:
        """What is to be put back of a file that holds ``data`` now: the same, unless an item knows better."""
        return data

    def notes(self, root: Path, paths: Sequence[str]) -> Mapping[str, str]:
        """What an operator should know of the files, by path or by another word."""
        return {}

    def files(self, root: Path, skip: Callable[[str], bool] | None = None) -> tuple[SiteFile, ...]:
        """The files with their content, but for those to ``skip``. :raises SiteItemError: one cannot be read."""
        return self._guarded('saved', lambda: self._files(root, skip))

    def _files(self, root: Path, skip: Callable[[str], bool] | None = None) -> tuple[SiteFile, ...]:
        users, groups = putback.names(root, 'passwd'), putback.names(root, 'group')
        found, total = [], 0
        for name in self.paths(root):
            if skip is not None and skip(name):
                continue
            try:
                read = _read(root / name)
            except FileNotFoundError:
                continue  # it went while it was looked at
            if read is None:
                continue
            state, data = read
            if len(data) > LARGEST:
                raise SiteItemError(
                    f'site item {self.name}: {shown(name)} has {state.st_size} bytes, more than {LARGEST}; '
                    f'it is no setting, take it out of the patterns'
                )
            total += len(data)
            if total > TOTAL:
                raise too_much(self.name)
            found.append(
                SiteFile(
                    name,
                    state.st_mode & 0o777,
                    self.content(root, name, data),
                    item=self.name,
                    owner=users.get(state.st_uid, str(state.st_uid)),
                    group=groups.get(state.st_gid, str(state.st_gid)),
                    folders=tuple(_folders(root, name, users, groups)),
                )
            )
        return tuple(found)

    def _save(self, root: Path) -> bytes | None:
        files = self._files(root)
        return json.dumps([encode_file(file) for file in files]).encode() if files else None

    def _restore(self, root: Path, data: bytes) -> None:
        files = [decode_file(each) for each in json.loads(data)]
        owners = putback.Owners(root)
        for file in files:
            putback.put(root, encode_file(file), owners)


def _folders(root: Path, name: str, users: Mapping[int, str], groups: Mapping[int, str]) -> Iterator[SiteFolder]:
    """The folders above a file that are other than an installer makes them by itself."""
    for folder in reversed(PurePosixPath(name).parents[:-1]):
        state = (root / folder).stat()
        mode = stat.S_IMODE(state.st_mode)
        if (mode, state.st_uid, state.st_gid) != (0o755, 0, 0):
            owner, group = (known.get(id, str(id)) for known, id in ((users, state.st_uid), (groups, state.st_gid)))
            yield SiteFolder(folder.as_posix(), mode, owner, group)


def _read(path: Path) -> tuple[os.stat_result, bytes] | None:
    """A file with what it holds, up to a little more than :data:`LARGEST`; None if it is none any more.

    Who may write to its folder could put a link in its place, and so be given what only root may read.

    :raises OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            return None
        raise
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            return None
        with os.fdopen(descriptor, 'rb', closefd=False) as stream:
            return state, stream.read(LARGEST + 1)
    finally:
        os.close(descriptor)
