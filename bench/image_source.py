"""What the image bench downloads: signed bundles of a given size and kind, served by nginx on this machine."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1024 * 1024
SMALL_FILES = 2000
LARGE_FILES = 6
POOL = 16 * BLOCK
WINDOW = 64 * 1024
"""Longer than deflate looks back: pieces of a pool do not compress better the more there are of them."""

Make = Callable[[int], bytes]

NGINX = """
daemon off; master_process off; worker_processes 1; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ }}
http {{
  access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl;
    root {www};
    location /slow/ {{ alias {www}/; limit_rate 125m; }}
  }}
}}
"""


def incompressible(size: int) -> bytes:
    """Noise: as good as packed already."""
    return os.urandom(size)


def entropy_coded(size: int) -> bytes:
    """Bytes of 215 values: deflate finds no repetitions, but codes each byte a little shorter."""
    data = b''
    while len(data) < size:
        data += os.urandom(size).translate(None, bytes(range(41)))
    return data[:size]


class Compressible:
    """Words of a language that nobody speaks."""

    def __init__(self) -> None:
        chance = random.Random(4)
        words = [chance.randbytes(chance.randint(2, 9)) for _ in range(3000)]
        weights = [1 / (rank + 8) for rank in range(len(words))]
        self._pool, self._chance = bytearray(), chance
        while len(self._pool) < POOL:
            self._pool += b' '.join(chance.choices(words, weights, k=100_000))

    def __call__(self, size: int) -> bytes:
        pieces = []
        while size > 0:
            at = self._chance.randrange(len(self._pool) - WINDOW)
            pieces.append(bytes(self._pool[at : at + min(size, WINDOW)]))
            size -= WINDOW
        return b''.join(pieces)


KINDS: dict[str, Callable[[], Make]] = {
    'incompressible': lambda: incompressible,
    'compressible': Compressible,
    'entropy-coded': lambda: entropy_coded,
}


def bundle(folder: Path, kind: str, size: int) -> Path:
    """A signed bundle whose trees have ``size`` bytes; one that was made before is taken again."""
    from ovca.image.build import build, keygen

    path = folder / 'www' / f'{kind}-{size}.iso.zip'
    if not (folder / 'keys').exists():
        shutil.rmtree(folder / 'www', ignore_errors=True)
        keygen(folder / 'keys', 'bench')
    if not path.exists():
        print(f'Making {path.name} ...', flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            tree = Path(place, 'tree')
            fill(tree, KINDS[kind](), size)
            build(path, version='1.1.0', mgmt=tree, secret_key=folder / 'keys/bench.key')
    return path


def fill(tree: Path, make: Make, size: int) -> None:
    """A tree with a tenth of its bytes in many small files, and the rest in a few large ones."""
    count = max(10, min(SMALL_FILES, size // (256 * 1024)))
    chance, left = random.Random(9), size
    for number in range(count):
        path = tree / f'usr/lib/d{number % 97}/file{number}'
        path.parent.mkdir(parents=True, exist_ok=True)
        part = chance.randint(0, size // 5 // count)
        path.write_bytes(make(part))
        left -= part
    (tree / 'bin').symlink_to('usr/bin')
    for number in range(LARGE_FILES):
        part = left // (LARGE_FILES - number)
        left -= part
        with (tree / f'large{number}').open('wb') as stream:
            while part > 0:
                stream.write(make(min(part, BLOCK)))
                part -= BLOCK


@dataclass(frozen=True)
class Served:
    """Where the bundles are: plain, encrypted, and slow."""

    plain: str
    secure: str
    slow: str
    ca: Path


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve the folder ``www`` while the block runs."""
    place = folder / 'nginx'
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    subprocess.run(
        [
            *('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=bench'),
            *('-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', place / 'key.pem', '-out', place / 'cert.pem'),
        ],
        check=True,
        capture_output=True,
    )
    plain, secure = free_port(), free_port()
    user = 'user root;' if os.getuid() == 0 else ''
    text = user + NGINX.format(folder=place, www=folder / 'www', plain=plain, secure=secure)
    (place / 'nginx.conf').write_text(text)
    program = shutil.which('nginx') or '/usr/sbin/nginx'
    with subprocess.Popen([program, '-p', place, '-c', place / 'nginx.conf'], stderr=subprocess.DEVNULL) as server:
        try:
            reached(plain, place / 'error.log')
            yield Served(
                f'http://127.0.0.1:{plain}',
                f'https://127.0.0.1:{secure}',
                f'http://127.0.0.1:{plain}/slow',
                place / 'cert.pem',
            )
        finally:
            server.terminate()


def reached(port: int, log: Path) -> None:
    """Wait until the server answers."""
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port)):
            return
        time.sleep(0.05)
    raise SystemExit(f'nginx does not start; see {log}')


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        return int(server.getsockname()[1])
