from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from ovca.provision.bounded import Bounds
from ovca.provision.server import HttpServer
from ovca.provision.tls import Certificate, self_signed

LARGE = 24 * 2**20
"""Bytes of a file that no socket's buffers hold."""


def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def connect(server: HttpServer, *, source: str = '127.0.0.1', timeout: float = 20.0) -> socket.socket:
    """A connection that comes from this address."""
    return socket.create_connection((server.host, server.port), timeout=timeout, source_address=(source, 0))


def unverified() -> ssl.SSLContext:
    """TLS without a look at the certificate, as a stranger does it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def ended(connection: socket.socket) -> bool:
    """Whether the other side has ended the connection; what it still sends is passed over."""
    try:
        while connection.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def asked(server: HttpServer, path: str = '/', *, source: str = '127.0.0.1', method: str = 'GET') -> tuple[int, bytes]:
    """An honest question, and its answer."""
    kind = http.client.HTTPSConnection if server.certificate else http.client.HTTPConnection
    more = {'context': unverified()} if server.certificate else {}
    connection = kind(server.host, server.port, timeout=20, source_address=(source, 0), **more)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


Start = Callable[..., HttpServer]


@pytest.fixture(scope='module')
def certificate() -> Certificate:
    return self_signed('127.0.0.1')


@pytest.fixture(scope='module')
def start(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Start]:
    """Start a server of small bounds; ``tls`` gives it a certificate."""
    large = tmp_path_factory.mktemp('served') / 'large'
    with large.open('wb') as file:
        file.truncate(LARGE)
    servers: list[HttpServer] = []
    released = threading.Event()

    async def who(request: Request) -> Response:
        assert request.client is not None
        return PlainTextResponse(request.client.host)

    async def file(request: Request) -> Response:
        return FileResponse(large)

    async def body(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    def works(request: Request) -> Response:
        released.wait(20)
        return PlainTextResponse('done')

    async def release(request: Request) -> Response:
        released.set()
        return PlainTextResponse('')

    app = Starlette(
        routes=[
            Route('/', who),
            Route('/file', file),
            Route('/body', body, methods=['POST']),
            Route('/works', works),
            Route('/release', release),
        ]
    )

    def begin(*, tls: bool = False, **bounds: float) -> HttpServer:
        released.clear()
        made = HttpServer(
            app,
            '127.0.0.1',
            0,
            certificate=certificate if tls else None,
            bounds=Bounds(**bounds),  # type: ignore[arg-type]
        )
        made.start()
        servers.append(made)
        return made

    yield begin
    released.set()
    for server in servers:
        server.stop()
