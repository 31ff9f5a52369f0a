"""Sources of noise, and a way to fetch them as the service does."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from ovca import plugins
from ovca.image.fetch.base import Fetcher, FetchOptions

from .ftpd import Ftpd
from .peers import Nginx, Origin, serving

MEGABYTE = 1024 * 1024
CONTENT = random.Random(4).randbytes(2 * MEGABYTE + 17)
OTHER = random.Random(5).randbytes(2 * MEGABYTE + 17)


def options(**changes: Any) -> FetchOptions:
    """Those of somebody without patience."""
    return FetchOptions(**{'proxies': {}, 'pause': 0.01, 'attempts': 3, 'read_timeout': 30.0, **changes})


Make = Callable[..., Fetcher]
Fetch = Callable[..., bytes]


@pytest.fixture
def notices() -> list[str]:
    """What the operator was told."""
    return []


@pytest.fixture
def make(notices: list[str]) -> Make:
    """The driver of a URI."""

    def build(uri: str, **changes: Any) -> Fetcher:
        driver: Fetcher = plugins.build('ovca.fetch', uri.partition(':')[0], uri, options(**changes), api=Fetcher.api)
        driver.notice = notices.append
        return driver

    return build


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / 'part'


@pytest.fixture
def fetch(make: Make, part: Path) -> Fetch:
    """All bytes of a URI."""

    def run(uri: str, **changes: Any) -> bytes:
        return b''.join(make(uri, **changes).stream(part, lambda: False))

    return run


def leave(source: Fetcher, part: Path, size: int) -> int:
    """Receive about so many bytes and stop; return how many are kept."""
    stream, got = source.stream(part, lambda: False), 0
    while got < size:
        got += len(next(stream))
    stream.close()  # type: ignore[attr-defined]
    assert part.stat().st_size == got < len(CONTENT)
    return got


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving(Origin()) as server:
        server.content = CONTENT
        yield server


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Start servers that serve :data:`CONTENT`; what is given stands in their configuration."""
    started: list[Nginx] = []

    def run(more: str = '', **settings: Any) -> Nginx:
        server = Nginx(tmp_path / f'nginx{len(started)}', more, **settings)
        started.append(server)
        (server.www / 'image').write_bytes(CONTENT)
        server.run()
        return server

    yield run
    for server in started:
        server.stop()


@pytest.fixture(scope='session')
def authority() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / 'ca.pem'
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    """A certificate of this machine, with its key in the same file."""
    path = tmp_path / 'server.pem'
    authority.issue_cert('127.0.0.1', 'localhost').private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.fixture
def tls_nginx(nginx: Callable[..., Nginx], certificate: Path) -> Nginx:
    """A server whose certificate nobody knows but who has ``ca_file``."""
    return nginx(f'ssl_certificate {certificate}; ssl_certificate_key {certificate};', tls=True)


@pytest.fixture
def ftpd(tmp_path: Path) -> Iterator[Callable[..., Ftpd]]:
    """Start servers that serve :data:`CONTENT`."""
    started: list[Ftpd] = []
    folder = tmp_path / 'ftp'
    folder.mkdir()
    (folder / 'image').write_bytes(CONTENT)
    os.utime(folder / 'image', (1_760_000_000, 1_760_000_000))

    def run(certificate: Path | None = None, **settings: Any) -> Ftpd:
        started.append(Ftpd(folder, certificate, **settings))
        return started[-1]

    yield run
    for server in started:
        server.stop()
