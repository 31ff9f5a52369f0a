"""What each node had saved of its site settings, as files: an operator can copy them into place on that node."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable
from pathlib import Path

from ovca.exceptions import BackupError
from ovca.provision import putback
from ovca.provision.authority import SiteFile, encode_file
from ovca.provision.client import InstallError
from ovca.provision.site import state

LOG = logging.getLogger(__name__)
NODES = 'nodes'


class _AsFarAsKnown(putback.Owners):
    """The owners that this system knows; a file of another one stays with who writes it."""

    def give(self, path: Path, owner: str, group: str) -> None:
        with contextlib.suppress(InstallError, PermissionError):
            super().give(path, owner, group)


def unfold(site: Path, folder: Path) -> list[Path]:
    """Write the files of each node that ``site`` holds a state of below ``folder``/nodes/<node>; return their paths.

    Modes and, by name, owners are those on the node. Of a damaged state, the one before it counts.

    :raises BackupError: a file would not lie below the node's folder. :raises OSError: one cannot be written.
    """
    written = []
    for place in sorted(path for path in site.iterdir() if path.is_dir()) if site.is_dir() else ():
        root = folder / NODES / place.name
        for file in _files(place):
            try:
                putback.put(root, encode_file(file), _AsFarAsKnown(Path('/')))
            except InstallError as exc:
                raise BackupError(f'the site files of {place.name} are damaged: {exc}', id='backup-damaged') from exc
            written.append(root / file.path.lstrip('/'))
            _as_an_installer_makes_them(root, written[-1].parent, {each.path for each in file.folders})
    return written


def _as_an_installer_makes_them(root: Path, folder: Path, known: Collection[str]) -> None:
    """Let folders that the node had as any other have its mode: who copies all with modes must not close ``/etc``."""
    while True:
        name = folder.relative_to(root).as_posix()
        if name not in known:
            folder.chmod(0o755)
        if folder == root:
            return
        folder = folder.parent


def _files(place: Path) -> Iterable[SiteFile]:
    for name in (state.NEWEST, state.PREVIOUS):
        try:
            return state.decode((place / name).read_bytes(), place.name).files
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError) as exc:
            LOG.warning('%s of %s is damaged (%s)', name, place.name, exc)
    return ()
