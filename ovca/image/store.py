"""Where images live on the shared storage: staged out of sight, then published by renames, then committed by a row."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import fasteners

from ovca.files import fsync_dir, write_atomic
from ovca.image.errors import DownloadRunning, NoSpace
from ovca.image.version import ImageVersion

if TYPE_CHECKING:
    from oslo_config import cfg

COMPONENTS = ('mgmt', 'hmp', 'ovm')
STAGING = '.ovca-staging'


class Store:
    """The images below one shared folder. All names in it come from checked versions."""

    def __init__(self, shared_storage: Path, *, reserve: int = 0) -> None:
        self.root, self.reserve = shared_storage, reserve

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Store:
        return cls(Path(conf.image.shared_storage), reserve=conf.image.space_reserve)

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

    def files_json(self, version: str) -> Path:
        """The list of files of an image."""
        return self.mgmt(version) / 'files.json'

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One download at a time on this host. :raises DownloadRunning: another one holds the lock."""
        self.staging.mkdir(parents=True, exist_ok=True)
        path = self.staging / f'lock-{socket.gethostname()}'
        lock = fasteners.InterProcessLock(str(path))
        if not lock.acquire(blocking=False):
            owner = path.with_suffix('.owner')
            raise DownloadRunning(owner.read_text() if owner.exists() else 'its owner is not known')
        try:
            write_atomic(path.with_suffix('.owner'), f'process {os.getpid()} on {socket.gethostname()}'.encode())
            yield
        finally:
            lock.release()

    def need(self, size: int) -> None:
        """Check that ``size`` more bytes fit beside the reserve. :raises NoSpace: they do not."""
        free = shutil.disk_usage(self.root).free
        if free < size + self.reserve:
            raise NoSpace(self.root, size, free)

    def publish(self, staged: Path, version: str, commit: Callable[[], None]) -> None:
        """Move the staged component folders into place and commit; without the commit they are taken away again.

        A crash in between leaves folders without a row, which :meth:`clean` removes.
        """
        os.sync()
        moved: list[Path] = []
        try:
            for component in COMPONENTS:
                source, target = staged / f'{component}_image', self.folder(component, version)
                if not source.is_dir():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    shutil.rmtree(target)
                source.rename(target)
                moved.append(target)
                fsync_dir(target.parent)
            commit()
        except BaseException:
            for target in moved:
                shutil.rmtree(target, ignore_errors=True)
            raise

    def clean(self, known: Collection[str]) -> list[Path]:
        """Remove published folders of versions without a row; return them."""
        removed = []
        for component in COMPONENTS:
            parent = self.root / f'{component}_image'
            for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
                if folder.is_dir() and folder.name not in known:
                    shutil.rmtree(folder)
                    removed.append(folder)
        return removed
