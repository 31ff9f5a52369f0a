"""The content of an answer, read past the libraries: nothing is lost, and nothing else is taken for it."""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ovca.image.errors import SourceError

from .conftest import CONTENT, Fetch, Make
from .peers import Nginx

SENT = 700_001
"""So much comes, then nothing more."""


@pytest.fixture(params=['http', 'https'])
def falling_silent(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[str, list[int]]]:
    """A server that sends :data:`SENT` bytes of its first answer, and all of the others; and where each began."""
    begun: list[int] = []
    listener = socket.create_server(('127.0.0.1', 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        asked = connection.recv(65536).decode()
        match = re.search(r'Range: bytes=(\d+)-', asked)
        start = int(match[1]) if match else 0
        begun.append(start)
        ranged = f'206 Partial Content\r\nContent-Range: bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}'
        length = f'Content-Length: {len(CONTENT) - start}'
        head = f'HTTP/1.1 {ranged if match else "200 OK"}\r\nETag: "one"\r\n{length}\r\n\r\n'
        connection.sendall(head.encode() + CONTENT[start : SENT if len(begun) == 1 else None])
        ended.wait(30)

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if request.param == 'https':
                connection = context.wrap_socket(connection, server_side=True)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f'{request.param}://127.0.0.1:{listener.getsockname()[1]}/image', begun
    ended.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_what_came_before_a_silence_is_kept(
    fetch: Fetch, falling_silent: tuple[str, list[int]], ca_file: str, part: Path
) -> None:
    uri, begun = falling_silent

    with pytest.raises(SourceError, match=r'the connection broke \(TimeoutError\); tried 1 times'):
        fetch(uri, ca_file=ca_file, read_timeout=0.3, attempts=1)
    assert part.read_bytes() == CONTENT[:SENT]

    assert fetch(uri, ca_file=ca_file) == CONTENT
    assert begun == [0, SENT]


def test_what_is_there_is_given_after_a_moment(
    make: Make, falling_silent: tuple[str, list[int]], ca_file: str, part: Path
) -> None:
    uri, _ = falling_silent
    got, stream = 0, make(uri, ca_file=ca_file, read_timeout=600.0).stream(part, lambda: got == SENT)

    for data in stream:
        got += len(data)

    assert got == SENT


def test_of_a_connection_that_is_shut_nothing_encrypted_is_kept(
    make: Make, tls_nginx: Nginx, ca_file: str, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[ssl.SSLSocket] = []
    wrap = ssl.SSLContext.wrap_socket

    def noted(*args: object, **settings: object) -> ssl.SSLSocket:
        lines.append(wrap(*args, **settings))  # type: ignore[arg-type]
        return lines[-1]

    monkeypatch.setattr(ssl.SSLContext, 'wrap_socket', noted)
    source = make(tls_nginx.uri, ca_file=ca_file)
    answers = iter([False])  # it is stopped just after it was asked, as by another thread
    stream = source.stream(part, lambda: next(answers, True))
    next(stream)
    assert select.select(lines, [], [], 10)[0]  # more has come

    source.interrupt()

    for _ in stream:
        continue
    kept = part.read_bytes()
    assert 0 < len(kept) < len(CONTENT)
    assert CONTENT.startswith(kept)


def test_an_answer_in_chunks_is_read_as_the_libraries_do(fetch: Fetch, nginx: Callable[..., Nginx]) -> None:
    # A server that packs on the fly tells no length; for a client that wants nothing packed it is this filter.
    server = nginx("location = /image { sub_filter_types *; sub_filter 'no such words' ''; }")

    assert fetch(server.uri) == CONTENT
