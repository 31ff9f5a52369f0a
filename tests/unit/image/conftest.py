"""A small image, keys, a shared storage, and an HTTP server that knows ranges."""

from __future__ import annotations

import functools
import http.server
import os
import random
import shutil
import subprocess
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovca.image import Manifest, PublishedImage, Store, receive
from ovca.image.build import build, keygen
from ovca.image.bundle import Bundle, Member
from tests.conftest import missing_peer

STEP = 256 * 1024
SIZE = 12
"""Bytes from place to place, and megabytes of the trees, of what :func:`stock` makes."""


@pytest.fixture
def tmp_path(disk_path: Path) -> Path:
    """What is tested here is about disks."""
    return disk_path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root file system with what is hard: links, modes, empty and odd names, depth, many blocks."""
    root = tmp_path / 'source'
    for number in range(60):
        path = root / f'usr/lib/d{number % 7}/f{number}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * (number * 97))
    (root / 'bin').symlink_to('usr/bin')
    (root / 'etc').mkdir()
    (root / 'etc/absolute').symlink_to('/usr/lib/os-release')
    (root / 'etc/long').symlink_to('/'.join(['x' * 180] * 5))
    (root / 'etc/empty').touch()
    (root / ('n' * 255)).write_text('a long name')
    (root / 'Größe und Maß').write_text('not ASCII')
    deep = root.joinpath(*(f'deep{i}' for i in range(15)))
    deep.mkdir(parents=True)
    (deep / 'run').write_text('#!/bin/sh\n')
    (deep / 'run').chmod(0o755)
    return root


@pytest.fixture
def secret_key(tmp_path: Path) -> Path:
    """A secret key whose public half is in the folder ``keys``."""
    return keygen(tmp_path / 'keys', 'vendor')[0]


@pytest.fixture
def bundle(tmp_path: Path, tree: Path, secret_key: Path) -> Path:
    """A signed bundle of version 1.1.0 with all parts."""
    installer = tmp_path / 'installer.pyz'
    installer.write_bytes(b'an installer')
    path = tmp_path / 'www/ovca-1.1.0.iso.zip'
    build(
        path, version='1.1.0', mgmt=tree, hmp=tree / 'usr', ovm=tree / 'etc', installer=installer,
        secret_key=secret_key, update_from='1.0.0',
    )  # fmt: skip
    return path


@pytest.fixture
def conf(tmp_path: Path) -> Any:
    """The options that the room reads."""
    (tmp_path / 'shared').mkdir(exist_ok=True)
    update = types.SimpleNamespace(
        http_proxy=None, https_proxy=None, ftp_proxy=None, no_proxy=[], ca_file=None,
        connect_timeout=5.0, read_timeout=5.0, limit_rate=0, low_speed_limit=0, low_speed_time=60.0, attempts=5,
        connections=1, client_certificate=None, client_key=None, credentials_file=None, ftp_passive=True, ftp_tls='off',
    )  # fmt: skip
    image = types.SimpleNamespace(
        shared_storage=str(tmp_path / 'shared'), key_folder=str(tmp_path / 'keys'), require_signature=True,
        max_size=2**34, space_reserve=0, keep=3, max_files=1_000_000, max_ratio=100, max_depth=64, max_name=255,
        unique_case=False,
    )  # fmt: skip
    return types.SimpleNamespace(update=update, image=image)


@pytest.fixture
def store(conf: Any) -> Store:
    return Store.from_conf(conf)


@pytest.fixture
def small_disk(tmp_path: Path, conf: Any) -> Iterator[Path]:
    """A shared storage of 48 MB and a thousand files."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=48m,nr_inodes=1000', 'tmpfs', str(folder)]
    if os.getuid() or not shutil.which('mount') or subprocess.run(command, check=False, capture_output=True).returncode:
        missing_peer('only root may mount a small disk')
    conf.image.shared_storage = str(folder)
    yield folder
    for thread in threading.enumerate():
        if thread.name == 'drop':  # it gives back the room of a file, and holds the disk until then
            thread.join(10)
    subprocess.run(['umount', str(folder)], check=True)


Get = Callable[..., PublishedImage]


@pytest.fixture
def get(store: Store, conf: Any) -> Get:
    """Receive a URI; everything can be replaced by keyword."""

    def run(uri: object, **changes: Any) -> PublishedImage:
        def nothing(_: object) -> None:
            return None

        arguments: dict[str, Any] = {
            'store': store, 'conf': conf, 'progress': nothing, 'cancelled': lambda: False, 'accept': nothing,
            'commit': nothing,
        }  # fmt: skip
        return receive(str(uri), **{**arguments, **changes})

    return run


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files with ETag and ranges; cuts each answer after ``limit`` bytes while that is set."""

    limit: int | None = None
    tells_ranges = False
    """Whether it says that it knows them, before it is asked for one."""
    seen: list[str | None]
    sent: list[int]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        self.seen.append(self.headers.get('Range'))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        etag = f'"{path.stat().st_mtime_ns}"'
        start = 0
        if (asked := self.headers.get('Range')) and self.headers.get('If-Range') in (None, etag):
            start = int(asked.removeprefix('bytes=').rstrip('-'))
        if start and start >= len(data):
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(data)}')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header('ETag', etag)
        if self.tells_ranges:
            self.send_header('Accept-Ranges', 'bytes')
        self.send_header('Content-Length', str(len(data) - start))
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        self.end_headers()
        body = data[start:] if self.limit is None else data[start : start + self.limit]
        try:
            self.wfile.write(body)
        except OSError:
            return
        self.sent.append(len(body))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        return None


class Server:
    """The server's address and what it saw."""

    def __init__(self, url: str, handler: type[Handler]) -> None:
        self.url, self.handler = url, handler


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / 'www').mkdir(exist_ok=True)
    handler = type('OneHandler', (Handler,), {'seen': [], 'sent': []})
    httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(handler, directory=tmp_path / 'www'))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    yield Server(f'http://127.0.0.1:{httpd.server_address[1]}', handler)
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def refuse() -> Callable[[Manifest], None]:
    """An ``accept`` that must not be reached."""

    def accept(manifest: Manifest) -> None:
        raise AssertionError(f'{manifest.version} was judged although its signature is bad')

    return accept


@pytest.fixture(scope='session')
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """The folder of a signed bundle's key, and the bundle: of each megabyte of its files a half compresses."""
    folder, noise = tmp_path_factory.mktemp('stock'), random.Random(7)
    tree = folder / 'tree'
    tree.mkdir()
    for number in range(SIZE):
        (tree / f'file{number:02}').write_bytes(noise.randbytes(1024 * 1024 // 2) + bytes(1024 * 1024 // 2))
    secret, _ = keygen(folder / 'keys', 'vendor')
    build(folder / 'large.zip', version='1.1.0', mgmt=tree, secret_key=secret, level=1, restart_step=STEP)
    return folder / 'keys', (folder / 'large.zip').read_bytes()


def iso_of(raw: bytes) -> tuple[Bundle, Member]:
    """The bundle at the head of its ISO."""
    bundle = Bundle(iter([raw]), 'the bundle')
    while (member := bundle.next()) is not None and not member.name.endswith('.iso'):
        b''.join(bundle.content(1024 * 1024))
    assert member is not None
    return bundle, member
