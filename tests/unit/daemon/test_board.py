"""What one node tells another about an update while the database is away there: real servers, real requests."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ovca import conf
from ovca.daemon.board import FRESH, Board
from ovca.daemon.roles import StatusService
from ovca.daemon.status import status_app
from ovca.db.models import Update
from ovca.exceptions import DatabaseUnavailable
from ovca.provision.server import HttpServer
from ovca.remaster import bulletin, elsewhere
from ovca.remaster.service import Service
from ovca.remaster.views import Snapshot
from tests.conftest import free_port
from tests.operated import Operated

FACTS = {'node': 'mn2', 'acting': True, 'epoch': 4, 'health': 'healthy', 'problems': {}}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(operated: Operated, clock: Clock) -> Board:
    return Board(conf.load(str(operated.config_file)), operated.database, clock=clock)


@pytest.fixture
def peer(operated: Operated, board: Board) -> Iterator[HttpServer]:
    """The status server of mn2, which mn1 knows as its peer; the virtual IP has none."""
    server = HttpServer(status_app(lambda: FACTS, lambda: None, board.tell), '127.0.0.1', 0)
    server.start()
    known_at(operated, server.port)
    yield server
    server.stop()


def known_at(operated: Operated, port: int) -> None:
    """Tell mn1 where the status server of its peer is; on the virtual IP there is none."""
    operated.configure('mn1')
    text = operated.config_file.read_text()
    line = f'[cluster]\npeer_url = http://127.0.0.1:{port}\nvirtual_ip = 127.200.0.9\n'
    operated.config_file.write_text(text.replace('[cluster]\n', line))


@contextmanager
def answering(operated: Operated, answer: bytes, status: int = 200) -> Iterator[None]:
    """Somebody else at the peer's address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known_at(operated, server.server_address[1])
        yield
        server.shutdown()


def asked(operated: Operated, update: int, after: int = 0) -> elsewhere.Answer:
    return elsewhere.ask(conf.load(str(operated.config_file)), update, after)


def test_the_other_node_tells_the_same_as_the_database(operated: Operated, peer: HttpServer) -> None:
    number = operated.update('INSTALL_1')
    operated.entry(number, step='installing', percent=40.0)
    operated.move(number, 'VERIFY_1', 'proved')
    read = operated.service().snapshot(number)

    heard = asked(operated, number)

    assert heard.snapshot is not None
    assert heard.words == 'mn2, which acts as master, tells how the update stands'
    assert (heard.snapshot.update, heard.snapshot.entries, heard.snapshot.events, heard.snapshot.told_by) == (
        read.update,
        read.entries,
        read.events,
        'mn2',
    )
    assert asked(operated, number, read.events[-1].id).snapshot.events == ()  # type: ignore[union-attr]


def test_of_a_state_that_this_software_does_not_know_no_node_tells(
    operated: Operated, peer: HttpServer, clock: Clock
) -> None:
    number = operated.update('INSTALL_1')
    known = asked(operated, number)
    with operated.database.write() as session:
        session.get_one(Update, number).state = 'HIBERNATING'
    clock.now += FRESH

    heard = asked(operated, number)

    assert known.snapshot is not None
    assert heard == elsewhere.Answer('mn2, which acts as master, answers, but does not know how the update stands')


def test_through_the_virtual_ip_whoever_is_master_tells(operated: Operated, board: Board) -> None:
    number, port = operated.update('PROVING'), free_port('127.200.0.9')
    operated.configure('mn1', f'[cluster]\nvirtual_ip = 127.200.0.9\nport = {port}\npeer_url = http://127.0.0.1:9\n')
    settings = conf.load(str(operated.config_file))
    told = []

    for node in ('mn2', 'mn3'):
        role = StatusService(settings)
        role.app = status_app(lambda node=node: {**FACTS, 'node': node}, lambda: None, board.tell)  # type: ignore[misc]
        role.start()
        told.append(asked(operated, number).words)
        role.stop()
        told.append(asked(operated, number).words)

    assert told == [
        'mn2, which acts as master, tells how the update stands',
        elsewhere.NOBODY,
        'mn3, which acts as master, tells how the update stands',
        elsewhere.NOBODY,
    ]


def test_where_the_node_listens_everywhere_the_virtual_ip_has_its_status_server_already(operated: Operated) -> None:
    for address in ('0.0.0.0', '127.200.0.9'):
        operated.configure('mn1', f'[cluster]\nvirtual_ip = 127.200.0.9/24\naddress = {address}\nport = 1\n')
        role = StatusService(conf.load(str(operated.config_file)))

        role.start()  # it would be refused, or taken

        assert not role.running()


def test_nothing_secret_is_told(operated: Operated, board: Board) -> None:
    operated.image().update('INSTALL_1')

    text = json.dumps(board.tell())

    for word in ('secret', 'geheim', 'redfish', 'bmc":  "h'):
        assert word not in text


def test_without_its_database_a_node_tells_what_it_saw_last(
    operated: Operated, peer: HttpServer, board: Board, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = operated.update('INSTALL_1')
    asked(operated, number)
    away(board, monkeypatch)
    clock.now += 10

    heard = asked(operated, number)

    assert heard.words == 'mn2, which acts as master, has no database either, and tells what it has seen last'
    assert heard.snapshot is not None


def away(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise DatabaseUnavailable('it is away')

    monkeypatch.setattr(board, '_database', type('Away', (), {'read': staticmethod(fail)}))


def test_a_node_that_has_seen_nothing_says_so(
    operated: Operated, peer: HttpServer, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    away(board, monkeypatch)

    heard = asked(operated, 1)

    assert heard == elsewhere.Answer('mn2, which acts as master, answers, but does not know how the update stands')


def test_many_who_ask_cost_the_database_one_look(operated: Operated, board: Board, clock: Clock) -> None:
    number = operated.update('REQUESTED')
    board.tell()
    operated.move(number, 'INSTALL_1', 'x')

    soon = board.tell()
    clock.now += 1
    later = board.tell()

    assert (soon['snapshot']['update']['state'], later['snapshot']['update']['state']) == ('REQUESTED', 'INSTALL_1')


def test_the_answer_is_bounded(operated: Operated, board: Board) -> None:
    number = operated.update('REQUESTED')
    for _ in range(bulletin.EVENTS + 20):
        operated.move(number, 'INSTALL_1', 'x')

    assert len(board.tell()['snapshot']['events']) == bulletin.EVENTS


@pytest.mark.parametrize('after', ['x', '-1', '1' * 30, '%00'])
def test_a_request_that_is_none_gets_an_answer_all_the_same(operated: Operated, peer: HttpServer, after: str) -> None:
    import requests

    operated.update('REQUESTED')

    answer = requests.get(f'http://127.0.0.1:{peer.port}/v1/update', params={'after': after}, timeout=10)

    assert (answer.status_code, answer.json()['node'], answer.json()['snapshot']['update']['id']) == (200, 'mn2', 1)


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    'no JSON': lambda told: b'<html>',
    'no object': lambda told: [1],
    'no node': lambda told: {'snapshot': told},
    'no snapshot': lambda told: {'node': 'x', 'snapshot': 7},
    'an unknown state': lambda told: {'node': 'x', 'snapshot': told | {'update': told['update'] | {'state': 'BEST'}}},
    'a number as a name': lambda told: {'node': 'x', 'snapshot': told | {'update': told['update'] | {'first': 5}}},
    'a time without zone': lambda told: {'node': 'x', 'snapshot': told | {'now': '2026-01-01T00:00:00'}},
    'events that are none': lambda told: {'node': 'x', 'snapshot': told | {'events': [None]}},
    'far too much': lambda told: b'{"node": "' + b'x' * elsewhere.LARGEST + b'"}',
}


@pytest.mark.parametrize('what', HOSTILE)
def test_an_answer_that_makes_no_sense_is_no_answer(operated: Operated, board: Board, what: str) -> None:
    number = operated.update('REQUESTED')
    answer = HOSTILE[what](board.tell()['snapshot'])

    with answering(operated, answer if isinstance(answer, bytes) else json.dumps(answer).encode()):
        heard = asked(operated, number)

    assert heard == elsewhere.Answer(elsewhere.NOBODY)


def test_a_server_that_knows_no_such_page_is_no_answer(operated: Operated) -> None:
    with answering(operated, b'{}', 404):
        assert asked(operated, 1) == elsewhere.Answer(elsewhere.NOBODY)


def test_following_goes_on_with_the_other_node_and_ends_with_the_database_alone(
    operated: Operated, peer: HttpServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, notices = operated.update('INSTALL_1'), list[str]()
    service = Service(
        conf.load(str(operated.config_file)),
        operated.database,
        sleep=lambda seconds: setattr(clock, 'now', clock.now + 1),
    )
    whole = service.snapshot
    moves = iter(
        [
            lambda: None,
            lambda: operated.move(number, 'VERIFY_1', 'proved'),
            lambda: operated.move(number, 'DONE', 'both run it', reason='both run it'),
            lambda: None,
        ]
    )

    def snapshot(update_id: int, after: int = 0) -> Snapshot:
        move = next(moves, None)
        if move is None:
            return whole(update_id, after)
        move()
        raise DatabaseUnavailable('the database is away')

    monkeypatch.setattr(service, 'snapshot', snapshot)
    seen = list(service.follow(number, on_notice=notices.append))

    assert [(s.update.state, s.told_by) for s in seen] == [
        ('INSTALL_1', 'mn2'),
        ('VERIFY_1', 'mn2'),
        ('DONE', 'mn2'),
        ('DONE', None),
    ]
    assert [e.detail for s in seen for e in s.events] == ['proved', 'both run it'], 'no event is told twice'
    tells = 'mn2, which acts as master, tells how the update stands'
    assert notices == [
        'the database is away; the other node is asked until it answers',
        tells,
        f'{tells}: DONE; that counts when the database confirms it',
        'the database answers again',
    ]
