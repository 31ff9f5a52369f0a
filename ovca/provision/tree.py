"""Puts an image's system on a disk. Standard library only: it runs on the machine that is to become a node.

What makes a disk look like a system goes first and comes last, so that an install that dies at any point never leaves
something that boots and is not whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovca.files import fsync_dir, write_json
from ovca.image.iso9660 import Iso, IsoError
from ovca.provision import putback
from ovca.provision.client import InstallError
from ovca.provision.putback import inside

MARKER = '.ovca-lab'
INSTALLED = 'etc/ovca/installed.json'
EVIDENCE = 'var/lib/ovca/evidence.json'
PREFIX = 'mgmt_image/'
MOUNTS = Path('/proc/self/mountinfo')
OCTAL = re.compile(rb'\\([0-7]{3})')
Tell = Callable[[float, str], None]


def silent(percent: float, text: str) -> None:
    """A listener that hears nothing."""


def check_root(root: Path, *, real: bool = False, keep: Sequence[Path] = ()) -> None:
    """Check that ``root`` may be emptied: a lab's by its marker, or (``real``) a mounted disk; without any of ``keep``.

    :raises InstallError: it may not.
    """
    resolved = root.resolve()
    if resolved == Path('/'):
        raise InstallError('the root folder is the running system; it is never emptied')
    marked = (root / MARKER).is_file() and not (root / MARKER).is_symlink()
    if not marked and not (real and root.is_mount()):
        raise InstallError(f'{root} has no file {MARKER} and is no mounted target; it is not emptied')
    for path in keep:
        if path.resolve().is_relative_to(resolved):
            raise InstallError(f'{path} lies inside {root}, which would be emptied')
    for mount in _mounts():
        if mount != resolved and mount.is_relative_to(resolved):
            raise InstallError(f'{mount} is mounted inside {root}; unmount it before {root} is emptied')


def _mounts() -> list[Path]:
    """Where something is mounted, as proc(5) tells it: a name is bytes, of which the kernel escapes few."""
    try:
        lines = MOUNTS.read_bytes().split(b'\n')
    except OSError:
        return []
    names = (line.split(b' ')[4] for line in lines if line)
    return [Path(os.fsdecode(OCTAL.sub(lambda found: bytes([int(found[1], 8)]), name))) for name in names]


def wipe(root: Path, *, real: bool = False) -> None:
    """Empty ``root``; what made it bootable goes first, and is gone from the disk before anything else goes.

    :raises InstallError: it is not a folder that an installer may empty.
    """
    check_root(root, real=real)
    for name in (INSTALLED, EVIDENCE):
        path = root / name
        # Behind a link that leaves the root lies no file of this system; the link itself goes below.
        if path.parent.is_dir() and path.parent.resolve().is_relative_to(root.resolve()):
            path.unlink(missing_ok=True)
            fsync_dir(path.parent)
    for path in sorted(root.iterdir()):
        if path.name != MARKER:
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, however deep."""
    left = [path]
    while left:
        last = left[-1]
        if last.is_symlink() or not last.is_dir():
            last.unlink()
            left.pop()
            continue
        if not os.access(last, os.R_OK | os.W_OK | os.X_OK):
            last.chmod(stat.S_IRWXU)
        children = list(last.iterdir())
        left += children
        if not children:
            last.rmdir()
            left.pop()


class ImageFolder:
    """A published image, as an installer sees it: its ISO and the list of files that its digest vouches for."""

    def __init__(self, iso: Path, digest: str) -> None:
        """Read manifest and list beside ``iso``.

        :raises InstallError: list, manifest and digest do not belong together, or the ISO is not there whole.
        """
        folder = iso.parent
        try:
            manifest = json.loads((folder / 'manifest.json').read_bytes())
            data = (folder / 'files.json').read_bytes()
            self.version, named, size = str(manifest['version']), manifest['iso']['sha256'], manifest['iso']['size']
            self.files_digest = str(manifest['files_digest'])
            files = {str(f['path']): f for f in json.loads(data)['files']}
            found = iso.stat().st_size
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise InstallError(f'{folder} holds no whole image ({type(exc).__name__}: {exc})') from exc
        if named != digest:
            raise InstallError(f'{folder} holds image {named}, the order is for {digest}')
        if found != size:
            raise InstallError(f'{iso} has {found} bytes, its manifest says {size}')
        if hashlib.sha256(data).hexdigest() != self.files_digest:
            raise InstallError(f'{folder}/files.json is not the one that the manifest names')
        self.iso, self.digest = iso, digest
        self.files = {path: f for path, f in files.items() if path.startswith(PREFIX)}
        if not self.files:
            raise InstallError(f'{folder}/files.json lists nothing below {PREFIX}')

    def compare(self) -> None:
        """Check that the ISO holds the listed files and no other, by name and size: before anything is wiped.

        :raises InstallError: it does not.
        """
        seen = set()
        try:
            with Iso(self.iso) as iso:
                for entry in iso.walk():
                    if entry.is_dir or not entry.path.startswith(PREFIX):
                        continue
                    listed = self.files.get(entry.path)
                    if listed is None:
                        raise InstallError(f'the ISO holds {entry.path}, which its image does not vouch for')
                    if entry.link != listed.get('link'):
                        raise InstallError(f'{entry.path} points elsewhere than its image says')
                    if entry.link is None and entry.size != listed.get('size'):
                        raise InstallError(f'{entry.path} has {entry.size} bytes, its image says {listed.get("size")}')
                    seen.add(entry.path)
        except IsoError as exc:
            raise InstallError(f'{self.iso} cannot be read: {exc}') from exc
        missing = sorted(set(self.files) - seen)
        if missing:
            raise InstallError(f'the ISO lacks {len(missing)} files, the first is {missing[0]}')

    def unpack(self, root: Path, tell: Tell = silent) -> None:
        """Write the system below the empty ``root``, each file checked while it is written.

        :raises InstallError: a file is missing, one too many, or not as the list says.
        """
        total = sum(int(f.get('size', 0)) for f in self.files.values()) or 1
        done, seen = 0, set()
        try:
            with Iso(self.iso) as iso:
                for entry in iso.walk():
                    if not entry.path.startswith(PREFIX):
                        continue
                    target = root / entry.path[len(PREFIX) :]
                    if entry.is_dir:
                        target.mkdir()
                        target.chmod(entry.mode | stat.S_IRWXU)
                        continue
                    listed = self.files.get(entry.path, {})
                    seen.add(entry.path)
                    if entry.link is not None:
                        if entry.link != listed.get('link'):
                            raise InstallError(f'{entry.path} points elsewhere than its image says')
                        target.symlink_to(entry.link)
                        continue
                    digest = hashlib.sha256()
                    with target.open('xb') as stream:
                        for chunk in iso.read(entry):
                            digest.update(chunk)
                            stream.write(chunk)
                    if digest.hexdigest() != listed.get('sha256'):
                        raise InstallError(f'{entry.path} is damaged: its digest is not the one that its image lists')
                    target.chmod(int(listed.get('mode', 0o644)) & 0o777)
                    done += entry.size
                    tell(round(100 * done / total, 1), f'unpacked {done} of {total} bytes')
        except IsoError as exc:
            raise InstallError(f'{self.iso} cannot be read: {exc}') from exc
        if seen != set(self.files):
            raise InstallError(f'the ISO holds {len(seen)} of the {len(self.files)} files that its image lists')


def install_tree(
    *,
    iso: Path,
    digest: str,
    root: Path,
    site: Sequence[dict[str, Any]] = (),
    site_about: Mapping[str, Any] | None = None,
    update: int | None = None,
    attempt: int | None = None,
    tell: Tell = silent,
    real: bool = False,
    sync: Callable[[], None] = os.sync,
) -> None:
    """Wipe ``root`` and install a published image's ``iso`` on it: everything but the evidence.

    The caller holds the right to do so: a grant, or (a factory) nobody to ask. When this returns, all is on the disk.
    ``site_about`` is what the master knows of the site files: their items, and what is lost in the wipe.

    :raises InstallError: it cannot be done; nothing is wiped yet when image, root or site files are at fault.
    """
    image = ImageFolder(iso, digest)
    image.compare()
    putback.check(site)
    check_root(root, real=real, keep=[iso])
    tell(0, 'wiping')
    wipe(root, real=real)
    image.unpack(root, tell)
    tell(100, 'syncing')
    own = {path.removeprefix(PREFIX) for path in image.files}
    putback.put_back(root, site, site_about or {}, image=own, update=update, attempt=attempt)
    for name in (INSTALLED, EVIDENCE):
        inside(root, name).parent.mkdir(parents=True, exist_ok=True)
    sync()
    write_json(
        root / INSTALLED,
        {
            'version': image.version,
            'digest': digest,
            'files_digest': image.files_digest,
            'installed_at': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            'update': update,
            'attempt': attempt,
        },
    )
