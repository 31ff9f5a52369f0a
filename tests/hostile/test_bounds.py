"""Connections, bytes, time, threads and lines of the log have bounds, and who is honest is served meanwhile."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovca.provision.bounded import ENDING, HEADER_BYTES, TELL_EVERY, Bounds, Guest, Guests, Turn
from ovca.provision.server import HttpServer
from tests.hostile.conftest import LARGE, Start
from tests.hostile.sockets import asked, connect, ended, until, unverified

REQUEST = STALL = 1.0
ENDED = (ConnectionError, ssl.SSLEOFError)
at_once = pytest.mark.xdist_group('hostile-at-once')
"""Tests of one fixture that takes its time; one worker makes it."""


def descriptors() -> int:
    return len(list(Path('/proc/self/fd').iterdir()))


# Slow ones. All at the same time, as each of them takes a second or two.


def dribbles(connection: socket.socket, head: bytes, piece: bytes) -> None:
    """Send the head, then a piece every now and then, until the other side has enough."""
    connection.sendall(head)
    connection.settimeout(0.1)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connection.sendall(piece)
        with suppress(TimeoutError):
            if not connection.recv(65536):
                return
    raise AssertionError('it was never ended')


def floods(connection: socket.socket, head: bytes) -> None:
    """Send a body without end."""
    connection.sendall(head)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connection.sendall(b'x' * 65536)
    raise AssertionError('it was never ended')


def says_nothing(connection: socket.socket) -> None:
    assert ended(connection)


def is_cut(connection: socket.socket) -> bool:
    """Whether the server, which is on this machine, has ended its side; one that reads nothing does not see that."""
    ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
    for line in Path('/proc/net/tcp').read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if (int(local.partition(':')[2], 16), int(remote.partition(':')[2], 16)) == (theirs, ours):
            return state != '01'  # established
    return True


def takes_nothing(connection: socket.socket) -> None:
    connection.sendall(b'GET /file HTTP/1.1\r\nHost: x\r\n\r\n')
    assert until(lambda: is_cut(connection))
    connection.settimeout(5)
    taken = 0
    while piece := connection.recv(1 << 20):  # ends by itself, or by a reset
        taken += len(piece)
    assert taken < LARGE


HEAD = b'POST /body HTTP/1.1\r\nHost: x\r\n'
UNREAD = b'POST /no HTTP/1.1\r\nHost: x\r\n'
SLOW: dict[str, Callable[[socket.socket], None]] = {
    'who-says-nothing': says_nothing,
    'headers-that-dribble': lambda c: dribbles(c, b'GET / HTTP/1.1\r\n', b'a: b\r\n'),
    'one-header-that-dribbles': lambda c: dribbles(c, b'GET / HTTP/1.1\r\na: ', b'b'),
    'a-body-that-dribbles': lambda c: dribbles(c, HEAD + b'Content-Length: 60000\r\n\r\n', b'x'),
    'chunks-that-dribble': lambda c: dribbles(c, HEAD + b'Transfer-Encoding: chunked\r\n\r\n', b'1\r\nx\r\n'),
    'a-body-that-nobody-reads': lambda c: dribbles(c, UNREAD + b'Content-Length: 60000\r\n\r\n', b'x'),
    'a-body-without-end': lambda c: floods(c, UNREAD + b'Content-Length: 99999999999\r\n\r\n'),
    'a-body-without-end-beside-the-work': lambda c: floods(
        c, HEAD.replace(b'/body', b'/works') + b'Content-Length: 99999999999\r\n\r\n'
    ),
    'who-takes-nothing-of-a-download': takes_nothing,
}


@pytest.fixture(scope='module')
def slow(start: Start) -> dict[str, str]:
    """What became of each of them; empty is well."""
    servers = {False: start(request=REQUEST, stall=STALL), True: start(tls=True, request=REQUEST, stall=STALL)}
    results: dict[str, str] = {}

    def one(name: str, tls: bool, work: Callable[[socket.socket], None]) -> None:
        connection = connect(servers[tls])
        try:
            if tls and name != 'who-says-nothing':
                connection = unverified().wrap_socket(connection)
            work(connection)
        except OSError as exc:
            results[f'{name}-{tls}'] = '' if isinstance(exc, ENDED) else repr(exc)
        except AssertionError as exc:
            results[f'{name}-{tls}'] = repr(exc)
        else:
            results[f'{name}-{tls}'] = ''
        finally:
            connection.close()

    threads = [
        threading.Thread(target=one, args=(name, tls, work)) for name, work in SLOW.items() for tls in (False, True)
    ]
    for thread in threads:
        thread.start()
    served = [asked(server) for server in servers.values()]
    for thread in threads:
        thread.join()
    served += [asked(server) for server in servers.values()]
    results['honest'] = '' if served == [(200, b'127.0.0.1')] * 4 else repr(served)
    return results


@at_once
@pytest.mark.parametrize('tls', [False, True], ids=['http', 'https'])
@pytest.mark.parametrize('name', SLOW)
def test_who_is_too_slow_is_ended(slow: dict[str, str], name: str, tls: bool) -> None:
    assert slow[f'{name}-{tls}'] == ''


@at_once
def test_who_is_honest_is_served_beside_the_slow_ones(slow: dict[str, str]) -> None:
    assert slow['honest'] == ''


def test_a_download_that_gets_on_may_take_longer_than_any_limit(start: Start) -> None:
    server = start(request=REQUEST, stall=STALL)
    begun, taken = time.monotonic(), 0

    with connect(server) as connection:
        connection.sendall(b'GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        while piece := connection.recv(1 << 20):
            taken += len(piece)
            if time.monotonic() - begun < 2 * (REQUEST + STALL):
                time.sleep(0.1)

    assert taken > LARGE
    assert time.monotonic() - begun > REQUEST + STALL


# Large ones.


@pytest.mark.parametrize('head', [b'GET /' + b'x' * HEADER_BYTES, b'GET / HTTP/1.1\r\n' + b'a: b\r\n' * HEADER_BYTES])
def test_a_head_that_is_too_large_is_refused(start: Start, head: bytes) -> None:
    server = start()

    with connect(server) as connection:
        with suppress(ConnectionError):
            connection.sendall(head)
        try:
            answer = connection.recv(1000)
        except ConnectionError:  # it was ended while some of it was on its way
            answer = b'HTTP/1.1 400'
        assert answer.startswith(b'HTTP/1.1 400')

    assert asked(server)[0] == 200


# Many ones.


@pytest.fixture
def crowd() -> Iterator[list[socket.socket]]:
    connections: list[socket.socket] = []
    yield connections
    for connection in connections:
        connection.close()


def open_ones(crowd: list[socket.socket]) -> int:
    """How many of them the server has not ended."""
    number = 0
    for connection in crowd:
        connection.setblocking(False)
        try:
            number += connection.recv(1) != b''
        except BlockingIOError:
            number += 1
        except OSError:
            pass
    return number


@pytest.mark.parametrize('tls', [False, True], ids=['http', 'https'])
def test_one_address_gets_its_share_and_no_more(start: Start, crowd: list[socket.socket], tls: bool) -> None:
    server = start(tls=tls, per_address=8)

    for _ in range(60):
        crowd.append(connect(server))
        if len(crowd) % 20 == 0:
            assert asked(server, source='127.0.0.2') == (200, b'127.0.0.2')
            assert asked(server) == (200, b'127.0.0.1'), 'not even the same address is shut out'

    assert until(lambda: open_ones(crowd) <= 8)
    assert asked(server, source='127.0.0.2')[0] == 200


def test_many_addresses_get_no_more_than_there_is(start: Start, crowd: list[socket.socket]) -> None:
    server, before = start(connections=20), descriptors()

    for number in range(150):
        crowd.append(connect(server, source=f'127.0.1.{number + 1}'))
        if number % 50 == 49:
            assert asked(server, source='127.0.0.2')[0] == 200

    assert until(lambda: open_ones(crowd) <= 20)
    # Ours count, too, as both ends are in this process.
    assert until(lambda: descriptors() - before - len(crowd) <= 20)
    assert asked(server, source='127.0.0.2')[0] == 200


def test_who_is_being_served_is_not_ended_for_others(start: Start, crowd: list[socket.socket]) -> None:
    server = start(connections=16, per_address=16)
    with connect(server, source='127.0.0.2') as works, connect(server, source='127.0.0.3') as loads:
        works.sendall(b'GET /works HTTP/1.1\r\nHost: x\r\n\r\n')
        loads.sendall(b'GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        taken = len(loads.recv(65536))

        for _ in range(60):
            crowd.append(connect(server))
            taken += len(loads.recv(65536))
        asked(server, '/release', source='127.0.0.4')
        while piece := loads.recv(1 << 20):
            taken += len(piece)

        assert works.recv(1000).startswith(b'HTTP/1.1 200')
        assert taken > LARGE


def test_threads_do_not_grow_with_the_questions(start: Start, crowd: list[socket.socket]) -> None:
    server, before = start(connections=200, per_address=200), threading.active_count()

    for _ in range(120):
        crowd.append(connect(server))
        crowd[-1].sendall(b'GET /works HTTP/1.1\r\nHost: x\r\n\r\n')
    answer = asked(server)
    most = threading.active_count()
    asked(server, '/release')

    assert answer[0] == 200
    assert most - before <= 40


def test_memory_does_not_grow_with_what_is_sent(start: Start, crowd: list[socket.socket]) -> None:
    """Beside the work nobody reads a body; a connection holds some of it, and the sender is left waiting."""
    server, most = start(per_address=100), 60

    def resident() -> int:
        return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    before, sent = resident(), 0
    piece = bytes(1 << 20)
    for _ in range(most):
        connection = connect(server)
        crowd.append(connection)
        connection.sendall(HEAD.replace(b'/body', b'/works') + b'Content-Length: 99999999999\r\n\r\n')
        connection.settimeout(0.02)
        with suppress(TimeoutError):
            while True:
                sent += connection.send(piece)
    answer = asked(server)
    grown = resident() - before
    asked(server, '/release')

    assert answer[0] == 200
    assert sent > most * 512 * 1024, 'as much would be held, were there no bound'
    assert grown < most * 400 * 1024


def test_many_that_are_ended_are_one_line_in_the_log(
    start: Start, crowd: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = start(per_address=4)

    for _ in range(30):
        crowd.append(connect(server))
        crowd[-1].sendall(b'\0\r\n\r\n')
    with connect(server, source='127.0.0.2') as connection:
        connection.sendall(HEAD + b'Content-Length: 100\r\n\r\nx')
    asked(server, source='127.0.0.2')

    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert len([line for line in lines if 'too many or too slow' in line]) <= 1
    assert [line for line in lines if 'too many or too slow' not in line] == []


def test_who_asks_is_who_is_connected(start: Start) -> None:
    server = start()

    with connect(server, source='127.0.0.2') as connection:
        connection.sendall(
            b'GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.9\r\nForwarded: for=127.0.0.9\r\n'
            b'Connection: close\r\n\r\n'
        )
        answer = b''.join(iter(lambda: connection.recv(1000), b''))

    assert answer.endswith(b'127.0.0.2')


# The rule by itself, on a clock of its own.


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


BOUNDS = Bounds(connections=6, per_address=3, request=10.0, stall=20.0)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(['comes', 'comes', 'comes', 'asks', 'over', 'goes', 'sweep']),
        st.integers(0, 9),
        st.sampled_from([0.0, 0.5, 3.0, 11.0]),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_comes_the_bounds_hold_and_who_is_served_stays(steps: list[tuple[str, int, float]]) -> None:
    clock = Clock()
    guests = Guests(BOUNDS, 'x', clock=clock)
    known: list[Guest] = []
    turns: dict[int, Turn] = {}
    try:
        for port, (step, number, pause) in enumerate(steps, 1):
            clock.now += pause
            served = {id(guest) for guest in known if id(guest) in turns and not guest.ending}
            chosen = known[number % len(known)] if known else None
            match step:
                case 'comes':
                    guest = Guest(socket.AF_INET, socket.SOCK_STREAM)
                    if guests.admit(guest, (f'10.0.0.{number}', port)):
                        known.append(guest)
                    else:
                        guest.close()
                    assert served <= {id(guest) for guest in known if not guest.ending}
                case 'asks' if chosen and not chosen.ending and id(chosen) not in turns:
                    turns[id(chosen)] = Turn(chosen, BOUNDS, clock)
                case 'over' if chosen and id(chosen) in turns:
                    turns.pop(id(chosen)).over()
                case 'goes' if chosen:
                    known.remove(chosen)
                    turns.pop(id(chosen), None)
                    chosen.close()
                case 'sweep':
                    guests.sweep()
                    assert all(each.ending or clock.now <= each.deadline for each in known)
            live = [guest for guest in known if not guest.ending]
            assert len(live) <= BOUNDS.connections
            assert len(guests) == len(known) <= BOUNDS.connections + ENDING
            assert all(sum(guest.peer[0] == each.peer[0] for guest in live) <= BOUNDS.per_address for each in live)
    finally:
        for guest in known:
            guest.close()
    assert len(guests) == 0


def test_the_one_that_waited_longest_goes_first_and_of_the_fullest_address() -> None:
    clock = Clock()
    guests = Guests(BOUNDS, 'x', clock=clock)
    made = []
    for port, address in enumerate(['a', 'b', 'b', 'c', 'b', 'c', 'd'], 1):
        clock.now += 1
        made.append(Guest(socket.AF_INET, socket.SOCK_STREAM))
        assert guests.admit(made[-1], (address, port))

    gone = [guest.peer for guest in made if guest.ending]
    for guest in made:
        guest.close()

    assert gone == [('b', 2)]


def test_those_of_a_flood_that_are_not_closed_yet_take_nobody_elses_room() -> None:
    guests = Guests(BOUNDS, 'x', clock=Clock())
    made = [Guest(socket.AF_INET, socket.SOCK_STREAM) for _ in range(3 * ENDING)]
    for port, guest in enumerate(made, 1):
        guests.admit(guest, ('a', port))
    honest = Guest(socket.AF_INET, socket.SOCK_STREAM)

    answer = guests.admit(honest, ('b', 1))
    for guest in [*made, honest]:
        guest.close()

    assert answer


def test_an_address_whose_connections_are_all_served_gets_no_further_one() -> None:
    clock = Clock()
    guests = Guests(BOUNDS, 'x', clock=clock)
    made = [Guest(socket.AF_INET, socket.SOCK_STREAM) for _ in range(4)]

    answers = []
    for port, guest in enumerate(made, 1):
        answers.append(guests.admit(guest, ('a', port)))
        Turn(guest, BOUNDS, clock)
    for guest in made:
        guest.close()

    assert answers == [True, True, True, False]


def test_a_flood_is_told_once_a_minute_with_its_number(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    guests = Guests(BOUNDS, 'the server', clock=clock)
    made = []
    for port in range(1, 30):
        made.append(Guest(socket.AF_INET, socket.SOCK_STREAM))
        guests.admit(made[-1], ('10.0.0.1', port))
    clock.now += TELL_EVERY
    guests.sweep()
    for guest in made:
        guest.close()

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[1].startswith('the server: ')
    assert '10.0.0.1 (' in lines[1]


def test_the_limits_are_options() -> None:
    from ovca import conf

    words = ['connections=20', 'connections_per_address=5', 'request_timeout=3', 'stall_timeout=4']
    loaded = conf.load(overrides=[f'provision.{word}' for word in words])

    assert Bounds.from_conf(loaded) == Bounds(20, 5, 3.0, 4.0)
    assert Bounds.from_conf(conf.load(overrides=[])) == Bounds()


def test_a_server_that_was_started_again_keeps_its_bounds(start: Start, crowd: list[socket.socket]) -> None:
    server: HttpServer = start(per_address=4)
    server.stop()
    server.start()

    crowd.extend(connect(server) for _ in range(10))

    assert until(lambda: open_ones(crowd) <= 4)
