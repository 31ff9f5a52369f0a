"""What servers, networks and disks do while an image comes, and what is left of it."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ovca.exceptions import FetchError, ImageError
from ovca.image import Progress, Store, verify
from ovca.image.build import build, keygen
from ovca.image.errors import BundleError, Cancelled, NoSpace, SignatureRefused

from .conftest import Get

SEND = 16 * 1024
MEGABYTE = 1024 * 1024


class Server(ThreadingHTTPServer):
    """Serves one file with validators and ranges, counts what it sends, and misbehaves on demand."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        self.content = b''
        self.etag = '"one"'
        self.sent = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.cuts: list[int] = []
        """After how many bytes the next answers break off."""
        self.ranges = True
        self.statuses: list[int] = []
        self.redirects: dict[str, str] = {}
        self.hold_at: int | None = None
        self.held = threading.Event()
        self.release = threading.Event()
        self.scheme = 'http'

    @property
    def uri(self) -> str:
        return f'{self.scheme}://127.0.0.1:{self.server_port}/ovca.iso.zip'

    def ranges_asked(self) -> list[str | None]:
        return [headers.get('Range') for _, headers in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: Server

    def setup(self) -> None:
        # What waits in the kernel's buffers was sent as well, so they are kept small.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND)
        super().setup()

    def do_GET(self) -> None:
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        if server.statuses and (status := server.statuses.pop(0)) != 200:
            self.empty(status)
            return
        if self.path in server.redirects:
            self.empty(302, Location=server.redirects[self.path])
            return
        start = 0
        wanted = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        if wanted and server.ranges and self.headers.get('If-Range') in (None, server.etag):
            start = int(wanted[1])
        data = memoryview(server.content)[start:]
        if start and not data:
            self.empty(416, **{'Content-Range': f'bytes */{start}'})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(server.content) - 1}/{len(server.content)}')
        if server.etag:
            self.send_header('ETag', server.etag)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        for position in range(0, len(data), SEND):
            if cut is not None and position >= cut:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if server.hold_at is not None and start + position >= server.hold_at:
                server.held.set()
                server.release.wait(20)
            self.wfile.write(data[position : position + SEND])
            server.sent += len(data[position : position + SEND])

    def empty(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""


def serve(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def origin() -> Iterator[Server]:
    yield from serve(Server())


@pytest.fixture
def large(tmp_path: Path, secret_key: Path) -> Callable[..., bytes]:
    """Make a bundle of some megabytes that do not compress."""

    def make(megabytes: int = 4, *, key: Path = secret_key, version: str = '1.1.0') -> bytes:
        tree = tmp_path / f'noise-{os.urandom(4).hex()}'
        tree.mkdir()
        for number in range(megabytes):
            (tree / f'file{number}').write_bytes(os.urandom(MEGABYTE))
        path = tmp_path / 'large.zip'
        build(path, version=version, mgmt=tree, secret_key=key, level=1)
        return path.read_bytes()

    return make


def published(store: Store) -> list[Path]:
    return [path for name in ('mgmt', 'hmp', 'ovm') for path in store.root.glob(f'{name}_image/*')]


def part(store: Store) -> Path:
    return next(store.staging.glob('*.part'))


def test_a_foreign_signature_ends_the_download_within_its_first_kilobytes(
    get: Get, store: Store, origin: Server, large: Callable[..., bytes], tmp_path: Path
) -> None:
    foreign, _ = keygen(tmp_path / 'foreign', 'foreign')
    origin.content = large(key=foreign)

    with pytest.raises(SignatureRefused):
        get(origin.uri)

    assert origin.sent < 400 * 1024  # what the kernel's buffers hold included
    assert published(store) == []
    assert list(store.staging.glob('*.part*')) == []


def test_a_source_that_changed_is_fetched_from_its_beginning(
    get: Get, store: Store, origin: Server, large: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', lambda _: None)
    first, second = large(), large()
    origin.content, origin.cuts = first, [2 * MEGABYTE]

    def stop() -> bool:
        return any(p.stat().st_size > MEGABYTE for p in store.staging.glob('*.part'))

    with pytest.raises(Cancelled):
        get(origin.uri, cancelled=stop)
    origin.content, origin.etag = second, '"two"'

    assert get(origin.uri).version == '1.1.0'
    assert verify(store, '1.1.0') == []


def test_a_source_that_changes_while_it_comes_is_fetched_again(
    get: Get, store: Store, origin: Server, large: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = large(), large()
    origin.content, origin.cuts = first, [2 * MEGABYTE]

    def swap(_: float) -> None:
        origin.content, origin.etag = second, '"two"'

    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', swap)

    assert get(origin.uri).version == '1.1.0'
    assert len(origin.requests) == 3
    assert verify(store, '1.1.0') == []


def test_a_source_that_changes_unsaid_is_refused(
    get: Get, store: Store, origin: Server, large: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = large(), large()
    origin.content, origin.cuts = first, [2 * MEGABYTE]

    def swap(_: float) -> None:
        origin.content = first[: 2 * MEGABYTE] + second[2 * MEGABYTE :]

    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', swap)

    with pytest.raises(BundleError):
        get(origin.uri)
    assert published(store) == []


def test_a_server_without_ranges_is_read_from_the_beginning(
    get: Get, store: Store, origin: Server, large: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', lambda _: None)
    origin.content, origin.cuts, origin.ranges = large(), [2 * MEGABYTE], False

    assert get(origin.uri).version == '1.1.0'
    assert verify(store, '1.1.0') == []


def test_a_weak_validator_does_not_join_two_contents(
    get: Get, store: Store, origin: Server, large: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', lambda _: None)
    origin.content, origin.etag, origin.cuts = large(), 'W/"one"', [2 * MEGABYTE]

    get(origin.uri)

    assert all(headers.get('If-Range') != 'W/"one"' for _, headers in origin.requests)
    assert verify(store, '1.1.0') == []


def test_a_connection_that_breaks_often_loses_nothing(
    get: Get, store: Store, origin: Server, large: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', lambda _: None)
    origin.content, origin.cuts = large(), [MEGABYTE // 2] * 7

    get(origin.uri)

    assert origin.sent < len(origin.content) + 7 * SEND
    assert len(origin.requests) > 5
    assert all(asked is not None for asked in origin.ranges_asked()[1:])


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    get: Get, origin: Server, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', lambda _: None)
    origin.content, origin.statuses = bundle.read_bytes(), [503, 429]
    get(origin.uri)
    assert len(origin.requests) == 3

    origin.statuses = [403]
    with pytest.raises(FetchError, match='403'):
        get(origin.uri)
    assert len(origin.requests) == 4


def test_redirects_are_followed_and_circles_are_not(get: Get, origin: Server, bundle: Path) -> None:
    origin.content = bundle.read_bytes()
    origin.redirects = {'/ovca.iso.zip': '/elsewhere', '/circle': '/circle'}

    with pytest.raises(FetchError, match='redirects more'):
        get(origin.uri.replace('/ovca.iso.zip', '/circle'))
    assert get(origin.uri).version == '1.1.0'


def test_a_redirect_to_a_local_file_is_refused(get: Get, store: Store, origin: Server, bundle: Path) -> None:
    origin.redirects = {'/ovca.iso.zip': bundle.as_uri()}

    with pytest.raises(FetchError):
        get(origin.uri)
    assert published(store) == []


def test_the_content_is_asked_for_as_it_is(get: Get, origin: Server, bundle: Path) -> None:
    origin.content = bundle.read_bytes()

    get(origin.uri)

    assert origin.requests[0][1]['Accept-Encoding'] == 'identity'


def test_a_proxy_is_used_unless_the_host_needs_none(
    get: Get, conf: Any, origin: Server, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', lambda _: None)
    origin.content = bundle.read_bytes()
    conf.update.http_proxy = f'http://127.0.0.1:{origin.server_port}'
    uri = 'http://images.example.com/ovca.iso.zip'

    get(uri)
    assert origin.requests[0][0] == uri

    conf.update.no_proxy = ['example.com']
    with pytest.raises(FetchError):
        get(uri.replace('images', 'nowhere.invalid'))
    assert len(origin.requests) == 1


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_proxy_that_lets_nobody_through_is_told_from_a_source_that_is_away(
    get: Get, conf: Any, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', lambda _: None)
    with socket.create_server(('127.0.0.1', 0)) as gone:
        place = f'127.0.0.1:{gone.getsockname()[1]}'

    with pytest.raises(FetchError) as away:
        get(f'{scheme}://{place}/ovca.iso.zip')
    conf.update.http_proxy = conf.update.https_proxy = f'http://{place}'
    with pytest.raises(FetchError) as proxied:
        get(f'{scheme}://images.example.com/ovca.iso.zip')

    assert (away.value.id, proxied.value.id) == ('source-unreachable', 'proxy-refused')


def test_the_environment_does_not_choose_the_proxy(
    get: Get, origin: Server, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')
    origin.content = bundle.read_bytes()

    assert get(origin.uri).version == '1.1.0'


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate, and the file of the authority that vouches for it: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'images')])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address('127.0.0.1'))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / 'ca.pem').write_bytes(pem)
    (tmp_path / 'server.pem').write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / 'server.pem')
    server = Server()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = 'https'
    for running in serve(server):
        yield running, tmp_path / 'ca.pem'


def test_a_certificate_is_trusted_only_through_the_configured_authority(
    get: Get, conf: Any, bundle: Path, secure: tuple[Server, Path]
) -> None:
    server, authority = secure
    server.content = bundle.read_bytes()

    with pytest.raises(FetchError, match='ca_file'):
        get(server.uri)
    conf.update.ca_file = str(authority)
    assert get(server.uri).version == '1.1.0'


def test_a_redirect_from_https_to_http_is_refused(
    get: Get, conf: Any, store: Store, origin: Server, bundle: Path, secure: tuple[Server, Path]
) -> None:
    server, authority = secure
    server.redirects = {'/ovca.iso.zip': origin.uri}
    origin.content = bundle.read_bytes()
    conf.update.ca_file = str(authority)

    with pytest.raises(FetchError, match='HTTPS to HTTP'):
        get(server.uri)
    assert published(store) == []
    assert origin.requests == []


def test_a_download_is_cancelled_while_the_server_is_silent_and_goes_on_later(
    get: Get, store: Store, conf: Any, origin: Server, large: Callable[..., bytes]
) -> None:
    origin.content, origin.hold_at = large(), 2 * MEGABYTE
    conf.update.read_timeout = 2.0

    with pytest.raises(Cancelled):
        get(origin.uri, cancelled=origin.held.is_set)
    assert published(store) == []
    assert part(store).stat().st_size > MEGABYTE // 2
    origin.hold_at = None
    origin.release.set()

    assert get(origin.uri).version == '1.1.0'
    assert str(origin.ranges_asked()[-1]).startswith('bytes=')


# Disks.


def test_a_disk_that_is_too_small_is_named_before_it_is_filled(
    get: Get, small_disk: Path, conf: Any, origin: Server, large: Callable[..., bytes]
) -> None:
    store = Store.from_conf(conf)
    origin.content = large(20)

    with pytest.raises(NoSpace):
        get(origin.uri, store=store)

    assert published(store) == []
    assert origin.sent < 16 * MEGABYTE


@pytest.mark.parametrize('stage', ['download', 'copy'])
def test_a_disk_that_others_fill_meanwhile_leaves_no_image(
    get: Get,
    small_disk: Path,
    conf: Any,
    origin: Server,
    large: Callable[..., bytes],
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store.from_conf(conf)
    origin.content = large(10)
    ballast = small_disk / 'ballast'
    if stage == 'copy':  # the trees are written once the ISO is there, from its file
        monkeypatch.setattr('ovca.image.trees.HEAD', 0)
    else:
        origin.hold_at = 5 * MEGABYTE

    def fill(progress: Progress) -> None:
        if (origin.held.is_set() or progress.done == progress.total) and not ballast.exists():
            with ballast.open('wb') as stream:
                try:
                    while True:
                        stream.write(bytes(64 * 1024))
                        stream.flush()
                except OSError:
                    os.truncate(ballast, max(0, ballast.stat().st_size - 128 * 1024))
            origin.release.set()

    with pytest.raises(ImageError, match=r'space|written'):
        get(origin.uri, store=store, progress=fill)
    assert published(store) == []

    ballast.unlink()
    assert get(origin.uri, store=store).version == '1.1.0'
    assert verify(store, '1.1.0') == []


CHILD = """
    import resource, signal, sys, types
    sys.path[:0] = {path!r}
    from ovca.exceptions import ImageError
    from ovca.image import Store, receive
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    conf = types.SimpleNamespace(update=types.SimpleNamespace(**{update!r}), image=types.SimpleNamespace(**{image!r}))
    try:
        receive({uri!r}, store=Store.from_conf(conf), conf=conf, progress=lambda p: None, cancelled=lambda: False,
                accept=lambda m: None, commit=lambda i: print('committed'))
    except ImageError as exc:
        print('refused:', exc)
"""


@pytest.mark.parametrize('source', ['http', 'file'])
def test_a_file_that_cannot_be_written_ends_in_one_sentence(
    store: Store, conf: Any, origin: Server, large: Callable[..., bytes], tmp_path: Path, source: str
) -> None:
    origin.content = large(4)
    uri = origin.uri if source == 'http' else str(tmp_path / 'large.zip')
    code = textwrap.dedent(CHILD).format(
        path=sys.path, limit=2 * MEGABYTE, update=vars(conf.update), image=vars(conf.image), uri=uri
    )

    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('refused:'), done.stdout
    assert 'Traceback' not in done.stderr
    assert published(store) == []
