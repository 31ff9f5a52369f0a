from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from ovca.provision.bounded import Bounds
from ovca.provision.server import HttpServer
from ovca.provision.tls import Certificate, self_signed
from tests.hostile.besieged import Besieged
from tests.operated import Operated

LARGE = 24 * 2**20
"""Bytes of a file that no socket's buffers hold."""


@pytest.fixture(scope='session')
def certificate() -> Certificate:
    return self_signed('127.0.0.1')


@pytest.fixture(scope='session')
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, to be copied."""
    folder = tmp_path_factory.mktemp('prepared')
    Operated(folder).close()
    return folder / 'ovca.sqlite'


Besiege = Callable[[Path], Besieged]


@pytest.fixture(scope='session')
def besiege(certificate: Certificate, prepared: Path) -> Iterator[Besiege]:
    """Make an appliance in a folder; whoever has it calls :meth:`Besieged.close`."""
    made: list[Besieged] = []

    def make(folder: Path) -> Besieged:
        made.append(Besieged(folder, certificate, prepared))
        return made[-1]

    yield make
    for each in made:
        each.close().join()


@pytest.fixture
def besieged(tmp_path: Path, besiege: Besiege) -> Iterator[Besieged]:
    """An appliance whose standby may be wiped now."""
    made = besiege(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope='module')
def untouched(tmp_path_factory: pytest.TempPathFactory, besiege: Besiege) -> Besieged:
    """The same for tests that change nothing."""
    return besiege(tmp_path_factory.mktemp('untouched'))


Start = Callable[..., HttpServer]


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
        released.wait(60)
        return PlainTextResponse('done')

    async def release(request: Request) -> Response:
        released.set()
        return PlainTextResponse('')

    app = Starlette(
        routes=[
            Route('/', who),
            Route('/file', file),
            Route('/body', body, methods=['POST']),
            Route('/works', works, methods=['GET', 'POST']),
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
