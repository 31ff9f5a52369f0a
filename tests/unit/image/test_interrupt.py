"""A source that stalls is left at once when its bytes are not wanted any more."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.image.errors import SourceError
from ovca.image.fetch.base import FetchOptions
from ovca.image.fetch.http import FIRST_READ, HttpFetcher

HEAD = b'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nETag: "one"\r\n\r\n'
PATIENCE = 20
"""Seconds; far below the time-out for reading."""


@pytest.fixture
def stalling() -> Iterator[str]:
    """A server that sends the beginning of a file, and then nothing more."""
    listener = socket.create_server(('127.0.0.1', 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            kept.append(connection)
            connection.recv(65536)
            connection.sendall(HEAD + b'x' * FIRST_READ)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{listener.getsockname()[1]}/x.zip'
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(PATIENCE)
    for connection in kept:
        connection.close()


def test_who_waits_for_bytes_is_woken(stalling: str, tmp_path: Path) -> None:
    options = dataclasses.replace(FetchOptions({}), read_timeout=600.0)
    fetcher, unwanted, asked, ended = HttpFetcher(stalling, options), threading.Event(), threading.Event(), list[str]()

    def stopped() -> bool:
        answer = unwanted.is_set()
        asked.set()  # from here on it waits for the next piece, which never comes
        return answer

    def receive() -> None:
        try:
            for _ in fetcher.stream(tmp_path / 'part', stopped):
                continue
        except SourceError as exc:
            ended.append(exc.id)

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    assert asked.wait(PATIENCE)

    unwanted.set()
    fetcher.interrupt()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert ended == ['source-unreachable']
    assert set((tmp_path / 'part').read_bytes()) == set(b'x')
