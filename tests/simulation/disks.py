"""The disks: the shared storage with two published images, and a root folder for each node, installed from the old one.

They are real folders, in memory where the machine has such a file system, so that installer and evidence are the real
ones. They are made once, and put back before each run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ovca.image.build import build
from ovca.image.manifest import Manifest
from ovca.provision.tree import EVIDENCE, INSTALLED, MARKER, install_tree

OLD, NEW = '1.0.0', '1.1.0'
NODES = ('mn1', 'mn2')
MEMORY = Path('/dev/shm')
CONFIGURATION = """[cluster]
node_name = {node}
peer = {peer}
roles = virtual-ip, boot-service
ttl = 8
renew_interval = 3
self_demote = 5.5
poll_interval = 1.5
fence_timeout = 4
silent_after = 7
[database]
connection = sqlite:////nowhere
single_host = true
lock_timeout = 1
idle_timeout = 1
statement_timeout = 3
[image]
shared_storage = {shared}
[power]
bmc = mn1:fake://mn1, mn2:fake://mn2
[provision]
root = {root}
state_path = {state}
mac = mn1:52:54:00:00:00:01, mn2:52:54:00:00:00:02
site_watch = nothing
[health]
interval = 2.5
[remaster]
soak = 1
prove_soak = 1.5
install_deadline = 20
verify_deadline = 20
prove_deadline = 20
rollback_deadline = 20
order_interval = 6
grant_ttl = 20
ready_age = 6
unhealthy_limit = 7
"""


@dataclass(frozen=True)
class Image:
    """A published image."""

    version: str
    manifest: Manifest

    @property
    def digest(self) -> str:
        return str(self.manifest.iso.sha256)

    @property
    def iso(self) -> str:
        return f'mgmt_image/{self.version}/{self.manifest.iso.name}'


class Disks:
    """The folders of one appliance."""

    def __init__(self) -> None:
        parent = MEMORY if os.access(MEMORY, os.W_OK) else None
        self._folder = tempfile.TemporaryDirectory(prefix='ovca-simulation-', dir=parent)
        self.base = Path(self._folder.name)
        self.shared = self.base / 'shared'
        self.images = {version: self._publish(version) for version in (OLD, NEW)}
        self.states: dict[str, tuple[str | None, dict[str, object] | None, bool]] = {}
        for node in NODES:
            self._install(node)
        self._saved = self._read()
        self.touched = False
        """Something was written since :meth:`restore`."""

    def root(self, node: str) -> Path:
        """What the node boots from."""
        return self.base / node / 'root'

    def _publish(self, version: str) -> Image:
        tree, bundle = self.base / 'tree', self.base / 'bundle.zip'
        (tree / 'usr/bin').mkdir(parents=True)
        (tree / 'usr/bin/ovcad').write_text(f'software {version}\n')
        build(bundle, version=version, mgmt=tree, level=1)
        folder = self.shared / 'mgmt_image' / version
        folder.mkdir(parents=True)
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(folder)
        shutil.rmtree(tree)
        bundle.unlink()
        return Image(version, Manifest.parse((folder / 'manifest.json').read_bytes(), 'simulation'))

    def _install(self, node: str) -> None:
        root, image = self.root(node), self.images[OLD]
        root.mkdir(parents=True)
        (root / MARKER).touch()
        install_tree(iso=self.shared / image.iso, digest=image.digest, root=root, sync=lambda: None)
        (self.base / node / 'state').mkdir()
        peer = next(name for name in NODES if name != node)
        (self.base / node / 'ovca.conf').write_text(
            CONFIGURATION.format(node=node, peer=peer, shared=self.shared, root=root, state=self.base / node / 'state')
        )

    def save(self) -> None:
        """Make what is there now what :meth:`restore` puts back."""
        self._saved = self._read()

    def content(self) -> dict[str, bytes | None]:
        """All that a run may change: each path below the folder, with its content (None: a folder)."""
        return self._read()

    def restore(self, content: dict[str, bytes | None] | None = None) -> None:
        """Put everything back that a run has changed."""
        wanted, found = self._saved if content is None else content, self._read()
        for path in sorted(found.keys() - wanted.keys(), reverse=True):
            place = self.base / path
            place.rmdir() if found[path] is None else place.unlink()
        for path, data in wanted.items():
            if path not in found or found[path] != data:
                place = self.base / path
                if data is None:
                    place.mkdir(exist_ok=True)
                else:
                    place.write_bytes(data)
        self.states.clear()
        self.touched = False

    def _read(self) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        self._walk(str(self.base), '', found)
        return dict(sorted(found.items()))

    def _walk(self, folder: str, name: str, found: dict[str, bytes | None]) -> None:
        with os.scandir(f'{folder}/{name}') as entries:
            for entry in entries:
                path = f'{name}/{entry.name}' if name else entry.name
                if path == 'shared/mgmt_image':
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found[path] = None
                    self._walk(folder, path, found)
                else:
                    with open(entry.path, 'rb') as stream:  # noqa: PTH123 - a few thousand times a minute
                        found[path] = stream.read()

    # What is on a disk, for who judges it.

    def state(self, node: str) -> tuple[str | None, dict[str, object] | None, bool]:
        """The digest that the disk's record tells, the evidence on it, and whether all files are as that image says."""
        found = self.states.get(node)
        if found is None:
            found = self.states[node] = self._state(self.root(node))
        return found

    def _state(self, root: Path) -> tuple[str | None, dict[str, object] | None, bool]:
        try:
            record = json.loads((root / INSTALLED).read_bytes())
        except (OSError, ValueError):
            return None, None, False
        try:
            evidence = json.loads((root / EVIDENCE).read_bytes())
        except (OSError, ValueError):
            evidence = None
        image = self.images.get(record['version'])
        try:
            whole = image is not None and (root / 'usr/bin/ovcad').read_text() == f'software {image.version}\n'
        except OSError:
            whole = False
        return record['digest'], evidence, whole

    def close(self) -> None:
        """Remove the folders."""
        self._folder.cleanup()


def hashed(text: str) -> str:
    """As the grants keep their secrets."""
    return hashlib.sha256(text.encode()).hexdigest()
