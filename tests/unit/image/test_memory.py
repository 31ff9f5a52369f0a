"""The memory of a download is bounded, whatever its size, its way, and what inflates it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from ovca.image.build import build, keygen
from tests.conftest import DISK

from .fetch.peers import Nginx

ROOT = Path(__file__).parents[3]
BOUND = 100 * 10**6
LARGE, SIZE = 3, 100 * 10**6
STORES = """
import ctypes
import sys
from ovca.image.flow import Flow

flow = Flow()
for number in range(8):
    flow.start(f'stage {number}', lambda: [bytearray(200_000) for _ in range(100)])
flow.wait(lambda: None)
library = ctypes.CDLL(None)
library.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(library.fdopen(1, b'w'))
library.malloc_info(0, stream)
library.fflush(stream)
"""


@pytest.fixture(scope='module')
def vendor() -> Iterator[Path]:
    """A folder with keys and a bundle of three times the bound, which is removed as soon as it is not needed."""
    with tempfile.TemporaryDirectory(prefix='ovca-', dir=DISK) as name:
        yield made(Path(name))


def made(folder: Path) -> Path:
    secret, _ = keygen(folder / 'keys', 'vendor')
    tree = folder / 'tree'
    tree.mkdir()
    for number in range(LARGE):
        (tree / f'large{number}').write_bytes(os.urandom(SIZE))
    bundle = folder / 'image'
    build(bundle, version='1.1.0', mgmt=tree, secret_key=secret, level=1)
    for path in tree.iterdir():
        path.unlink()
    return folder


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ('way', 'inflate'),
    [
        ('plain', 'zlib'),
        pytest.param('by four connections', 'isal', marks=pytest.mark.extra('fast')),
        ('by four connections', 'zlib'),
    ],
)
def test_a_download_stays_below_its_bound(tmp_path: Path, vendor: Path, way: str, inflate: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / 'ca.pem'))
    authority.issue_cert('127.0.0.1').private_key_and_cert_chain_pem.write_to_path(str(tmp_path / 'server.pem'))
    more = (
        '' if way == 'plain' else f'ssl_certificate {tmp_path}/server.pem; ssl_certificate_key {tmp_path}/server.pem;'
    )
    server = Nginx(tmp_path / 'nginx', more + ('limit_rate 24m;' if 'four' in way else ''), tls=way != 'plain')
    (server.www / 'image').hardlink_to(vendor / 'image')
    (tmp_path / 'store').mkdir()
    server.run()
    try:
        done = subprocess.run(
            [
                *(sys.executable, ROOT / 'bench/image_receive.py', server.uri, tmp_path / 'store', vendor / 'keys'),
                *(str(tmp_path / 'ca.pem'), 'overlapped', inflate, '4'),
            ],
            check=True,
            capture_output=True,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
        )
    finally:
        server.stop()

    assert json.loads(done.stdout)['memory'] <= BOUND
    assert ('bytes=' in server.seen()) == ('four' in way)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another libc has no stores for threads')
def test_threads_do_not_each_keep_memory_of_their_own() -> None:
    done = subprocess.run([sys.executable, '-c', STORES], check=True, capture_output=True, text=True, cwd=ROOT)

    assert done.stdout.count('<heap nr=') == 1
