"""The HTTP server: it is there when it says so, and gone when it says so."""

from __future__ import annotations

import hashlib
import socket
import ssl
import tempfile
import threading
import time
from dataclasses import replace

import pytest
import requests
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from ovca.exceptions import ServiceUnavailable
from ovca.provision import quiet
from ovca.provision.server import HttpServer
from ovca.provision.tls import self_signed


async def hello(_):
    return PlainTextResponse('hello')


async def endless(_):
    def bytes_for_ever():
        while True:
            yield b'x' * 65536

    return StreamingResponse(bytes_for_ever())


@pytest.fixture
def stuck():
    released = threading.Event()
    yield released
    released.set()


@pytest.fixture
def server(stuck):
    def stay(_):
        stuck.wait(20)
        return PlainTextResponse('late')

    made = HttpServer(
        Starlette(routes=[Route('/', hello), Route('/endless', endless), Route('/stuck', stay)]), '127.0.0.1', 0
    )
    made.start()
    yield made
    made.stop()


def reachable(server):
    with socket.socket() as probe:
        return probe.connect_ex((server.host, server.port)) == 0


def ended(connection):
    """Whether the other side closes or resets the connection; a silent one is neither."""
    try:
        while connection.recv(1 << 20):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_it_answers_from_the_moment_it_is_started(server):
    assert requests.get(f'http://127.0.0.1:{server.port}/', timeout=10).text == 'hello'
    assert server.running


def test_stopping_and_starting_again_takes_the_same_port(server):
    port = server.port
    requests.get(f'http://127.0.0.1:{port}/', timeout=10)

    for _ in range(2):
        server.stop()
        server.start()

    assert (server.port, requests.get(f'http://127.0.0.1:{port}/', timeout=10).text) == (port, 'hello')


def test_stopping_twice_and_starting_twice_is_fine(server):
    server.start()
    server.stop()
    server.stop()

    assert (server.running, reachable(server)) == (False, False)


def test_an_open_transfer_is_cut_by_a_stop(server):
    with socket.create_connection(('127.0.0.1', server.port), timeout=10) as connection:
        connection.sendall(b'GET /endless HTTP/1.1\r\nHost: x\r\n\r\n')
        connection.recv(10)

        server.stop()

        assert ended(connection)
    assert not reachable(server)


def test_idle_connections_do_not_hold_a_stop_up(server):
    with requests.Session() as session:
        session.get(f'http://127.0.0.1:{server.port}/', timeout=10)
        idle = socket.create_connection(('127.0.0.1', server.port), timeout=10)

        server.stop()

        assert idle.recv(10) == b''
        idle.close()
    assert not reachable(server)


def test_who_connects_as_the_server_stops_is_not_left_waiting(server):
    for _ in range(3):
        crowd = [socket.create_connection(('127.0.0.1', server.port), timeout=10) for _ in range(20)]

        server.stop()

        assert all(ended(connection) for connection in crowd)
        for connection in crowd:
            connection.close()
        server.start()


def test_a_request_that_hangs_does_not_hold_a_stop_up(server, stuck):
    connection = socket.create_connection(('127.0.0.1', server.port), timeout=10)
    connection.sendall(b'GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n')
    requests.get(f'http://127.0.0.1:{server.port}/', timeout=10)

    server.stop()

    assert (server.running, reachable(server), stuck.is_set()) == (False, False, False)
    connection.close()


def test_a_taken_address_is_said_with_its_name(server):
    with pytest.raises(ServiceUnavailable, match=f'127.0.0.1:{server.port} cannot be listened on: Address already'):
        HttpServer(Starlette(), '127.0.0.1', server.port).start()


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ServiceUnavailable, match=r'192\.0\.2\.1:0 cannot'):
        HttpServer(Starlette(), '192.0.2.1', 0).start()


def test_a_certificate_without_its_key_is_said_at_the_start():
    certificate = replace(self_signed('x'), pem=b'no key')
    server = HttpServer(Starlette(), '127.0.0.1', 0, certificate=certificate)

    with pytest.raises(ServiceUnavailable, match='does not come up'):
        server.start()

    assert (server.running, reachable(server)) == (False, False)


def test_the_fingerprint_is_the_one_of_the_certificate_that_is_shown():
    certificate = self_signed('127.0.0.1')
    server = HttpServer(Starlette(routes=[Route('/', hello)]), '127.0.0.1', 0, certificate=certificate)
    server.start()

    shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(('127.0.0.1', server.port), timeout=10))
    server.stop()

    assert hashlib.sha256(shown).hexdigest() == certificate.fingerprint


def test_each_start_has_a_key_of_its_own_that_no_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    one, two = self_signed('x'), self_signed('x')
    server = HttpServer(Starlette(), '127.0.0.1', 0, certificate=one)
    server.start()

    left = list(tmp_path.iterdir())  # what a kill of this process would leave
    server.stop()

    assert one.fingerprint != two.fingerprint
    assert left == []
    assert 'PRIVATE KEY' not in repr(one)


def test_it_wakes_only_while_somebody_is_connected(stuck, monkeypatch):
    monkeypatch.setattr(quiet, 'TICK', 0.05)
    ticks, ticked = [], threading.Event()

    class Counted(quiet.QuietServer):
        async def on_tick(self, counter):
            ticks.append(len(self._guests))
            if len(ticks) >= 5:
                ticked.set()
            return await super().on_tick(counter)

    monkeypatch.setattr(quiet, 'QuietServer', Counted)
    server = HttpServer(Starlette(routes=[Route('/', hello)]), '127.0.0.1', 0)
    server.start()
    try:
        time.sleep(0.5)  # ten ticks, if there were any
        alone = list(ticks)
        with socket.create_connection((server.host, server.port)):
            connected = ticked.wait(10)
    finally:
        server.stop()

    assert alone == [0]
    assert connected
    assert 1 in ticks
