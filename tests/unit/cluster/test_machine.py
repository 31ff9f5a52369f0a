"""What a machine tells of itself, and how little of what another one says is believed."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovca.cluster import machine
from ovca.cluster.machine import Card, Machine, NotTold, Silent
from ovca.testing.appliance import Config

GOOD: dict[str, Any] = {
    'node': 'mn2',
    'time': 1.5,
    'file_systems': [{'path': '/', 'free': 1, 'total': 2, 'shared': False}],
    'cards': [{'name': 'eth0', 'mac': '52:54:00:00:00:01', 'link': True}],
}


def answer(status: str = '200 OK', body: bytes | None = None) -> bytes:
    return f'HTTP/1.1 {status}\r\nConnection: close\r\n\r\n'.encode() + (
        json.dumps(GOOD).encode() if body is None else body
    )


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """A server that sends these pieces, with a pause between them, and then closes."""
    listeners: list[socket.socket] = []
    stop = threading.Event()

    def start(*pieces: bytes, pause: float = 0.0, hold: bool = False) -> str:
        listener = socket.create_server(('127.0.0.1', 0))
        listeners.append(listener)

        def work() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    for piece in pieces:
                        connection.sendall(piece)
                        stop.wait(pause)
                    if hold:
                        stop.wait(30)
            except OSError:
                return  # the client has gone

        threading.Thread(target=work, daemon=True).start()
        return f'http://127.0.0.1:{listener.getsockname()[1]}/'

    yield start
    stop.set()
    for listener in listeners:
        listener.close()


def test_a_machine_tells_its_disks_and_its_clock_once_for_each_file_system(tmp_path: Path) -> None:
    config = Config(tmp_path)
    config.set('check', folders=['/nowhere', '/'])

    told = machine.look(config.load(), None, clock=lambda: 42.0)

    assert (told.node, told.time) == ('mn1', 42.0)
    assert told.file_systems[0].path == str(config.shared) and told.file_systems[0].shared
    assert len(told.file_systems) <= 2
    assert Machine.parse(json.dumps(told.as_dict()).encode()) == told


def test_a_card_of_a_bond_is_found_by_its_own_address_and_the_bond_is_none(tmp_path: Path) -> None:
    config, net = Config(tmp_path / 'appliance'), tmp_path / 'net'
    for name, files in {
        'bond0': {'address': '52:54:00:00:00:0A', 'carrier': '1'},
        'eth0': {'address': '52:54:00:00:00:0a', 'carrier': '0', 'device/x': '', 'bonding_slave/perm_hwaddr': ''},
        'eth1': {'address': '52:54:00:00:00:0a', 'carrier': '1', 'device/x': ''},
        'lo': {'address': '00:00:00:00:00:00', 'carrier': '1'},
        'down': {'address': '52:54:00:00:00:0c'},
    }.items():
        for path, text in files.items():
            (net / name / path).parent.mkdir(parents=True, exist_ok=True)
            (net / name / path).write_text(f'{text}\n')
    (net / 'eth1/bonding_slave').mkdir()
    (net / 'eth1/bonding_slave/perm_hwaddr').write_text('52:54:00:00:00:0b\n')
    config.set('check', network_folder=net)

    cards = machine.look(config.load(), None).cards

    assert set(cards) == {
        Card('eth0', '52:54:00:00:00:0a', False),
        Card('eth1', '52:54:00:00:00:0b', True),
        Card('down', '52:54:00:00:00:0c', False),
    }


def test_an_answer_is_read(serve: Callable[..., str]) -> None:
    assert Machine.parse(machine.ask(serve(answer()))).cards[0].link


@pytest.mark.parametrize(
    'change',
    [
        {'time': 'now'},
        {'time': True},
        {'node': 5},
        {'node': 'mn2\x1b[2J'},
        {'file_systems': {}},
        {'file_systems': [5]},
        {'file_systems': [{'path': '/', 'free': -1, 'total': 2, 'shared': False}]},
        {'file_systems': [{'path': '/', 'free': 1, 'total': 2}]},
        {'cards': [{'name': 'eth0', 'mac': 'x', 'link': True}]},
        {'cards': [{'name': 'eth0', 'mac': '52:54:00:00:00:01', 'link': 1}]},
        {'cards': GOOD['cards'] * 1000},
    ],
)
def test_an_answer_of_another_form_does_not_count(change: dict[str, Any]) -> None:
    with pytest.raises(Silent, match='not of the right form'):
        Machine.parse(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize('data', [b'', b'[]', b'{"time": NaN}', b'{' * 5000, b'\xff', b'{"node": 1, "node": 2}'])
def test_what_is_no_json_does_not_count(data: bytes) -> None:
    with pytest.raises(Silent):
        Machine.parse(data)


def test_an_answer_without_end_is_cut(serve: Callable[..., str]) -> None:
    with pytest.raises(Silent, match='longer than 65536 bytes'):
        machine.ask(serve(answer(body=b' ' * 200_000)))


@pytest.mark.parametrize('pieces', [(), (b'HTTP/1.1 200 OK\r\n', *(b'A: b\r\n' for _ in range(200)))])
def test_a_server_that_drips_or_is_silent_is_given_up(serve: Callable[..., str], pieces: tuple[bytes, ...]) -> None:
    url = serve(*pieces, pause=0.1, hold=True)
    started = time.monotonic()

    with pytest.raises(Silent, match='no answer within'):
        machine.ask(url, timeout=0.5)

    assert time.monotonic() - started < 15, 'it waits for the end of what never ends'


def test_a_body_that_drips_is_given_up(serve: Callable[..., str]) -> None:
    url = serve(answer(body=b''), *(b' ' for _ in range(200)), pause=0.1, hold=True)
    started = time.monotonic()

    with pytest.raises(Silent, match='no answer within'):
        machine.ask(url, timeout=0.5)

    assert time.monotonic() - started < 15, 'the bound is for the whole answer'


def test_other_statuses_are_no_answer(serve: Callable[..., str]) -> None:
    with pytest.raises(NotTold, match='older software'):
        machine.ask(serve(answer('404 Not Found')))
    with pytest.raises(Silent, match='status 302'):
        machine.ask(serve(answer('302 Found')))


def test_what_is_no_http_is_no_answer(serve: Callable[..., str]) -> None:
    with pytest.raises(Silent):
        machine.ask(serve(b'hello\r\n'))
