"""Whether the storage that both nodes share is mounted: else what is written there goes with the node's own disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oslo_config import cfg

ROOT = Path('/')


def unmounted(conf: cfg.ConfigOpts) -> str | None:
    """Why the shared storage must not be used now; None if it may be, as far as this can tell.

    A folder that is not there is not the matter here: whoever uses it finds out.
    """
    folder = Path(conf.image.shared_storage)
    two_hosts = bool(conf.cluster.peer) and not conf.database.single_host
    if not needed(conf.image.shared_storage_mounted, two_hosts=two_hosts) or not on_root_disk(folder):
        return None
    return f"the shared storage {folder} is not mounted: it is a folder of this node's own disk"


def needed(option: bool | None, *, two_hosts: bool) -> bool:
    """Whether the storage has to be a mounted one."""
    return two_hosts if option is None else option


def on_root_disk(folder: Path) -> bool:
    """Whether a folder lies on the file system of ``/``; not, if it cannot be looked at."""
    try:
        return folder.stat().st_dev == ROOT.stat().st_dev
    except OSError:
        return False
