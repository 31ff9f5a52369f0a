"""Whether what is written will outlive the node: the shared storage is mounted, and backups are not on its own disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oslo_config import cfg

ROOT = Path('/')
BACKUPS = 'backup'
"""The folder of the backups, below the shared storage, where the configuration names no other."""
SHARE = 'let [backup] folder name one on the shared storage, or on another file system that no wipe takes'


def unmounted(conf: cfg.ConfigOpts) -> str | None:
    """Why the shared storage must not be used now; None if it may be, as far as this can tell.

    A folder that is not there is not the matter here: whoever uses it finds out.
    """
    folder = Path(conf.image.shared_storage)
    two_hosts = bool(conf.cluster.peer) and not conf.database.single_host
    if not needed(conf.image.shared_storage_mounted, two_hosts=two_hosts) or not on_root_disk(folder):
        return None
    return f"the shared storage {folder} is not mounted: it is a folder of this node's own disk"


def backups(conf: cfg.ConfigOpts) -> Path:
    """The folder of the backups."""
    return Path(conf.backup.folder or Path(conf.image.shared_storage) / BACKUPS)


def perishable(conf: cfg.ConfigOpts, folder: Path) -> tuple[str, str] | None:
    """Why backups in a folder would go with this node, and what to do; None if they would not, as far as this can tell.

    The folder need not be there yet: then the nearest one above it counts, in which it would be made.
    """
    if folder.is_relative_to(conf.image.shared_storage):
        why = unmounted(conf)
        return (why, 'mount it') if why else None
    two_hosts = bool(conf.cluster.peer) and not conf.database.single_host
    if not needed(conf.image.shared_storage_mounted, two_hosts=two_hosts) or not on_root_disk(nearest(folder)):
        return None
    return owned(folder), SHARE


def owned(folder: Path) -> str:
    """What is wrong with a folder of backups on the node's own disk."""
    return f"the folder of the backups {folder} is on this node's own disk, which a wipe takes"


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((each for each in (folder, *folder.parents) if _there(each)), ROOT)


def _there(folder: Path) -> bool:
    try:
        folder.stat()
    except OSError:
        return False
    return True


def needed(option: bool | None, *, two_hosts: bool) -> bool:
    """Whether the storage has to be a mounted one."""
    return two_hosts if option is None else option


def on_root_disk(folder: Path) -> bool:
    """Whether a folder lies on the file system of ``/``; not, if it cannot be looked at."""
    try:
        return folder.stat().st_dev == ROOT.stat().st_dev
    except OSError:
        return False
