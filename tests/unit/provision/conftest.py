"""A boot service as on the master, over an authority in memory; a published image; a machine's root folder."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ovca import conf as configuration
from ovca.image.build import build
from ovca.provision.authority import Order, SiteBundle, SiteFile
from ovca.provision.boot import plain_app, tls_app
from ovca.provision.fake import FakeAuthority, FakeGrant
from ovca.provision.pack import pack
from ovca.provision.process import ProcessDriver
from ovca.provision.server import HttpServer
from ovca.provision.tls import self_signed

MAC = '52:54:00:00:00:01'
OLD_SYSTEM = {
    'etc/ovca/installed.json': '{"version": "1.0.0"}',
    'var/lib/ovca/evidence.json': '{"update": 6}',
    'bin/sh': 'goes before etc, by its name',
    'usr/bin/ovcad': 'old',
    'home/kept-by-nobody': 'x',
}
SITE = SiteBundle((SiteFile('etc/ovca.conf', 0o640, b'[cluster]\n'), SiteFile('etc/ssh/ssh_host_key', 0o600, b'k\n')))


@pytest.fixture
def tmp_path(disk_path: Path) -> Path:
    """What is tested here is about disks."""
    return disk_path


@dataclass
class Published:
    """An image on the shared storage."""

    version: str
    shared: Path
    iso: Path
    digest: str


@dataclass
class Stage:
    """Everything around one installer."""

    authority: FakeAuthority
    plain: HttpServer
    tls: HttpServer
    image: Published
    root: Path
    program: Path
    order: Order
    outputs: list[str] = field(default_factory=list)

    def arm(self, site: SiteBundle = SITE) -> FakeGrant:
        """Allow the install, and let the machine ask for its boot script."""
        grant = self.authority.arm(MAC, self.order, site)
        ordered = self.authority.boot(MAC)
        assert ordered is not None
        self.order = ordered
        return grant

    def words(self, **other: object) -> list[str]:
        facts = {**dataclasses.asdict(self.order), 'patience': 1.0, **other}
        return [word for key, value in facts.items() for word in (f'--{key.replace("_", "-")}', str(value))]

    def install(self, *before: str, **other: object) -> subprocess.CompletedProcess[str]:
        """Run the packed installer, as a machine's firmware does; ``before`` are words in front of the command."""
        command = [*before, sys.executable, '-I', '-S', '-B', str(self.program), *self.words(**other)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd='/')
        self.outputs.append(done.stdout + done.stderr)
        return done

    def put_old_system(self) -> None:
        """Make the machine's disk what it was before any install."""
        shutil.rmtree(self.root, ignore_errors=True)
        lay(self.root, {**OLD_SYSTEM, '.ovca-lab': ''})

    def evidence(self) -> Path:
        return self.root / 'var/lib/ovca/evidence.json'

    def installed(self) -> Path:
        return self.root / 'etc/ovca/installed.json'

    def untouched(self) -> bool:
        return all((self.root / name).read_text() == text for name, text in OLD_SYSTEM.items())


@contextmanager
def few_calls_deep(calls: int) -> Iterator[None]:
    """Calls may be nested only so deep from here, as they are in a thread of a service after a while."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + calls)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture(scope='session')
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('bundle')
    tree = folder / 'mgmt'
    lay(tree, {'etc/ovca-release': 'ovca 1.1.0\n', 'usr/bin/ovcad': '#!/bin/sh\nnew\n', 'usr/lib/data': 'd' * 300_000})
    (tree / 'usr/bin/ovcad').chmod(0o755)
    (tree / 'usr/bin/link').symlink_to('ovcad')
    (tree / 'var/empty').mkdir(parents=True)
    pack(folder / 'installer.pyz')
    build(folder / 'ovca-1.1.0.zip', version='1.1.0', mgmt=tree, installer=folder / 'installer.pyz', level=1)
    return folder / 'ovca-1.1.0.zip'


@pytest.fixture
def image(tmp_path: Path, bundle: Path) -> Published:
    shared = tmp_path / 'shared'
    folder = shared / 'mgmt_image/1.1.0'
    folder.mkdir(parents=True)
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    (folder / 'boot').mkdir()
    pack(folder / 'boot/installer.pyz')
    from ovca.image.manifest import Manifest

    manifest = Manifest.parse((folder / 'manifest.json').read_bytes(), 'test')
    return Published('1.1.0', shared, folder / manifest.iso.name, manifest.iso.sha256)


@pytest.fixture
def authority() -> FakeAuthority:
    return FakeAuthority()


@pytest.fixture
def stage(tmp_path: Path, image: Published, authority: FakeAuthority) -> Iterator[Stage]:
    root = tmp_path / 'root'
    certificate = self_signed('127.0.0.1')
    driver = ProcessDriver(configuration.load(overrides=['image.shared_storage=' + str(image.shared)]))
    plain = HttpServer(plain_app(authority, driver, str(image.shared)), '127.0.0.1', 0)
    tls = HttpServer(tls_app(authority), '127.0.0.1', 0, certificate=certificate)
    for server in (plain, tls):
        server.start()
    order = Order(
        node='mn2',
        update=7,
        attempt=1,
        version=image.version,
        digest=image.digest,
        boot_token='not-asked-yet',
        boot_url=f'http://127.0.0.1:{plain.port}',
        tls_url=f'https://127.0.0.1:{tls.port}',
        tls_fingerprint=certificate.fingerprint,
        iso=image.iso.relative_to(image.shared).as_posix(),
        shared_storage=str(image.shared),
        root=str(root),
    )
    made = Stage(authority, plain, tls, image, root, image.iso.parent / 'boot/installer.pyz', order)
    made.put_old_system()
    yield made
    for server in (plain, tls):
        server.stop()
