"""A long history slows nothing down: what is asked often never reads the whole of a table that grows."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from ovca import conf
from ovca.cluster.lease import Lease
from ovca.cluster.nodes import NodeRow, Pulse
from ovca.daemon.board import Board
from ovca.daemon.reports import Reports
from ovca.exceptions import UsageError
from ovca.remaster import observe, retention
from ovca.remaster.service import Service
from tests.operated import OLD, Operated

GROWING = ('update', 'event', 'entry', 'install_grant', 'request', 'directive')


@contextmanager
def statements(operated: Operated) -> Iterator[list[tuple[str, object]]]:
    """What is said to the database."""
    said: list[tuple[str, object]] = []

    def listen(connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.lstrip().startswith('SELECT'):
            said.append((statement, parameters))

    for engine in operated.database.engines:
        event.listen(engine, 'before_cursor_execute', listen)
    yield said
    for engine in operated.database.engines:
        event.remove(engine, 'before_cursor_execute', listen)


def scans(operated: Operated, said: list[tuple[str, object]]) -> list[str]:
    """The statements that read the whole of a growing table, by SQLite's own plan."""
    found = []
    with operated.database.read() as session:
        for statement, parameters in said:
            plan = session.connection().exec_driver_sql(f'EXPLAIN QUERY PLAN {statement}', parameters)  # type: ignore[arg-type]
            for *_, step in plan:
                table = re.match(r'SCAN "?(\w+)"?( USING .*)?$', step)
                in_order = 'LIMIT' in statement or 'max(' in statement
                if table and table[1] in GROWING and not in_order:
                    found.append(f'{step}: {statement}')
    return found


def past(operated: Operated, count: int) -> None:
    """Updates that have ended."""
    for _ in range(count):
        number = operated.update('VERIFY_2')
        operated.entry(number, 'mn1')
        operated.wiped(number, 'mn1')
        operated.move(number, 'DONE', 'both run it', reason='both run it')


def eligible(service: Service) -> object:
    with service.database.read() as session:
        return observe.proved(session, 'mn1', 'd' * 64)


def kept(service: Service) -> object:
    with service.database.read() as session:
        return retention.read(session)


def board(service: Service) -> object:
    return Board(service.conf, service.database).tell()


def due(service: Service) -> object:
    return Reports(service.conf, Lease(service.database, 'mn1', 'this run', ttl=30), epoch=lambda: 3).due()


def sign_of_life(service: Service) -> object:
    row = NodeRow(service.conf, service.database, incarnation='this run', boot_id='boot')
    row.register('1.0.0', OLD)
    return row.beat(lambda session: Pulse(epoch=3, role='master', health='healthy', problems={}, ready=True))


def slip(service: Service) -> object:
    with pytest.raises(UsageError) as caught:
        service.journal(node='mn9', limit=5)
    with pytest.raises(UsageError):
        service.journal(kind='stat', limit=5)
    return caught.value


QUESTIONS: dict[str, Callable[[Service], object]] = {
    'update-list': lambda service: service.updates(),
    'the second page of update-list': lambda service: service.updates(2, before=5),
    'update-show': lambda service: service.story(2),
    'update-watch': lambda service: service.snapshot(3),
    'what update-watch expects': lambda service: service.expectation(5),
    'event-list': lambda service: service.journal(limit=5),
    'event-list --alarms': lambda service: service.journal(kind='alarm', limit=5),
    'event-list --node': lambda service: service.journal(node='mn2', limit=5),
    'event-list --node, and there is none': slip,
    'event-list --since': lambda service: service.journal(since=dt.timedelta(hours=1), limit=5),
    'event-list --update': lambda service: service.journal(update_id=3, limit=5),
    'image-list': lambda service: service.images(),
    'node-list': lambda service: service.nodes(),
    'download-list': lambda service: service.downloads(),
    'which images have to stay': kept,
    'whether a node may lead': eligible,
    "what a node's status server tells": board,
    'which reports are due': due,
    'what a sign of life sees': sign_of_life,
}


@pytest.mark.parametrize('what', QUESTIONS)
def test_no_growing_table_is_read_as_a_whole(operated: Operated, what: str) -> None:
    operated.started().image()
    past(operated, 5)
    with statements(operated) as said:
        QUESTIONS[what](operated.service())

    assert said
    assert scans(operated, said) == []


@pytest.mark.parametrize('what', QUESTIONS)
def test_more_past_updates_need_no_more_statements(tmp_path: Path, what: str) -> None:
    counted = []
    for many in (5, 30):
        (tmp_path / str(many)).mkdir()
        appliance = Operated(tmp_path / str(many)).started().image()
        past(appliance, many)
        with statements(appliance) as said:
            QUESTIONS[what](appliance.service())
        counted.append(len(said))
        appliance.close()

    assert counted[0] == counted[1]


def test_a_scan_would_be_seen(operated: Operated) -> None:
    from sqlalchemy import select

    from ovca.db.models import Event

    with statements(operated) as said, operated.database.read() as session:
        list(session.scalars(select(Event).where(Event.detail == 'x')))

    assert len(scans(operated, said)) == 1


def test_a_list_goes_on_where_the_last_page_ended(operated: Operated) -> None:
    operated.started()
    past(operated, 5)
    service = Service(conf.load(str(operated.config_file)), operated.database)

    first = service.updates(2)
    second = service.updates(2, before=first[-1].id)

    assert [u.id for u in (*first, *second)] == [5, 4, 3, 2]
