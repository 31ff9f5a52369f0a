"""Whether a long history slows anything down.

    python bench/history.py [--updates 10000] [--events 40] [--url postgresql://user@host/empty-database] [--runs 9]

Fills a database (an SQLite file by default) with past updates, each with its events, entries, grants and request, and
measures what operators and services ask of it, against the same database with ten updates. Prints the medians in ms.
The database that the URL names must be empty; it is left full.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from ovca import conf
from ovca.daemon.reports import Reports
from ovca.db import schema
from ovca.db.engine import Database
from ovca.db.models import Entry, Event, Image, InstallGrant, Lease, Node, Request, Update
from ovca.remaster.eligible import eligible
from ovca.remaster.observe import Limits, observe
from ovca.remaster.service import Service

OLD, NEW = 'a' * 64, 'b' * 64
BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
PAGE = 500
"""Updates that are written at once."""
PATH = ('INSTALL_1', 'VERIFY_1', 'PROVING', 'INSTALL_2', 'VERIFY_2', 'DONE')


def fill(database: Database, first: int, updates: int, events: int) -> None:
    """Write updates that have ended, numbered from ``first`` on."""
    for start in range(first, first + updates, PAGE):
        ids = range(start, min(start + PAGE, first + updates))
        with database.write() as session:
            session.execute(insert(Update), [_update(id) for id in ids])
            session.execute(insert(Event), [event for id in ids for event in _events(id, events)])
            pairs = [(id, node) for id in ids for node in ('mn1', 'mn2')]
            session.execute(insert(Entry), [_entry(id, node) for id, node in pairs])
            session.execute(insert(InstallGrant), [_grant(id, node) for id, node in pairs])
            session.execute(insert(Request), [_request(id) for id in ids])


def _at(id: int, second: float = 0) -> dt.datetime:
    return BEGIN + dt.timedelta(hours=id, seconds=second)


def _update(id: int) -> dict[str, Any]:
    return {
        'id': id, 'state': 'DONE', 'revision': 9, 'version': '1.1.0', 'digest': NEW, 'old_version': '1.0.0',
        'old_digest': OLD, 'first': 'mn2', 'second': 'mn1', 'created_at': _at(id), 'created_by': 'otto',
        'state_since': _at(id, 900), 'deadline_from': _at(id, 900), 'handovers': 1, 'reason': 'both run it',
        'finished_at': _at(id, 900),
    }  # fmt: skip


def _events(id: int, count: int) -> Iterator[dict[str, Any]]:
    """A tenth of them changes the state, some are of the lease, the rest tells of installations."""
    states = iter(zip(('REQUESTED', *PATH[:-1]), PATH, strict=True))
    for i in range(count):
        change = next(states, (None, None)) if i % (count // 7 or 1) == 0 else (None, None)
        lease = i % 10 == 3
        yield {
            'update_id': None if lease else id, 'at': _at(id, i * 20), 'node': 'mn1' if i % 2 else 'mn2',
            'actor': 'mn1', 'epoch': id, 'kind': 'state' if change[1] else 'lease' if lease else 'power',
            'from_state': change[0], 'to_state': change[1], 'detail': 'what happened, in a sentence of usual length',
        }  # fmt: skip


def _entry(id: int, node: str) -> dict[str, Any]:
    return {
        'update_id': id, 'node': node, 'version': '1.1.0', 'digest': NEW, 'created_at': _at(id), 'attempt': 1,
        'step': 'final', 'step_at': _at(id, 300), 'power_orders': 1, 'final_at': _at(id, 300), 'final_attempt': 1,
        'final_digest': NEW, 'final_boot_id': 'x',
    }  # fmt: skip


def _grant(id: int, node: str) -> dict[str, Any]:
    return {
        'update_id': id, 'node': node, 'attempt': 1, 'epoch': id, 'digest': NEW, 'salt': 'x', 'issued_at': _at(id),
        'expires_at': _at(id, 900), 'consumed_at': _at(id, 60), 'written_at': _at(id, 200),
    }  # fmt: skip


def _request(id: int) -> dict[str, Any]:
    return {
        'kind': 'activate', 'args': {'version': '1.1.0'}, 'state': 'done', 'created_at': _at(id),
        'created_by': 'otto', 'cancel_requested': False, 'finished_at': _at(id, 900), 'exit_code': 0,
        'result': {'update_id': id},
    }  # fmt: skip


def appliance(database: Database) -> None:
    """Two nodes, a lease, an image."""
    with database.write() as session:
        now = database.now(session)
        session.add(Lease(name='management', holder='mn1', epoch=20_000, acting=True, renewed_at=now, ttl=3600.0))
        for name in ('mn1', 'mn2'):
            session.add(
                Node(name=name, running_version='1.1.0', running_digest=NEW, health='healthy', ready=True,
                     last_seen_at=now)
            )  # fmt: skip
        session.add(
            Image(version='1.1.0', digest=NEW, iso='x.iso', size=1, manifest={'version': '1.1.0'}, published_at=now)
        )


def reopened(database: Database, id: int, state: str) -> None:
    """Let an update be in this state: the loop looks closer at one that goes on."""
    with database.write() as session:
        row = session.get_one(Update, id)
        row.state, row.finished_at = state, None if state != 'DONE' else _at(id, 900)


def analysed(database: Database) -> None:
    """Let the planner know how much there is, as PostgreSQL does by itself after a while."""
    if database.dialect != 'sqlite':
        with database.write() as session:
            session.execute(text('ANALYZE'))


def questions(config: Any, database: Database, last: int) -> dict[str, Callable[[], object]]:
    """What is measured."""
    service, limits = Service(config, database), Limits.from_conf(config)
    reports = Reports(config, _Bench(database), epoch=lambda: 20_000)

    def loop() -> None:
        with database.read() as session:
            observe(session, me='mn1', epoch=20_000, running_digest=NEW, limits=limits)

    def may_lead() -> None:
        with database.read() as session:
            eligible(session, 'mn1', NEW)

    return {
        'update-list': lambda: service.updates(20),
        'update-list --before, in the middle': lambda: service.updates(20, before=last // 2),
        'update-show, the latest': lambda: service.story(),
        'update-show, the first': lambda: service.story(1),
        'update-watch, one look': lambda: service.snapshot(last, 10**9),
        'update-watch, what to expect': lambda: service.expectation(last),
        'event-list': lambda: service.journal(limit=50),
        'event-list --alarms, there are none': lambda: service.journal(kind='alarm', limit=50),
        'event-list --since 1h': lambda: service.journal(since=dt.timedelta(hours=1), limit=50),
        'event-list --node, an unknown one': lambda: service.journal(node='mn9', limit=50),
        'image-list': service.images,
        'node-list': service.nodes,
        'download-list': lambda: service.downloads(20),
        "the loop's observation": loop,
        'may this node lead (each beat)': may_lead,
        'a look for reports that are due': reports.due,
    }


class _Bench:
    """A lease that is never asked."""

    node = 'mn1'

    def __init__(self, database: Database) -> None:
        self.database = database


def medians(asked: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Each question's median in ms, after a warm-up."""
    found = {}
    for name, ask in asked.items():
        ask()
        times = []
        for _ in range(runs):
            begin = time.perf_counter()
            ask()
            times.append((time.perf_counter() - begin) * 1000)
        found[name] = statistics.median(times)
    return found


def command(config_file: Path, *words: str) -> float:
    """The seconds of a whole command."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, '-m', 'ovca', '--config-file', str(config_file), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--updates', type=int, default=10_000, metavar='<number>', help='past updates (default: 10000)')
    parser.add_argument('--events', type=int, default=40, metavar='<number>', help='events of each (default: 40)')
    parser.add_argument('--url', metavar='<url>', help='an empty database (default: an SQLite file)')
    parser.add_argument('--runs', type=int, default=9, metavar='<number>', help='counted runs of each (default: 9)')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f'sqlite:///{folder}/ovca.sqlite'
        config_file = Path(folder) / 'ovca.conf'
        config_file.write_text(
            f'[cluster]\nnode_name = mn1\npeer = mn2\n[database]\nconnection = {url}\nsingle_host = true\n'
            f'[image]\nshared_storage = {folder}\nspace_reserve = 0\n'
        )
        database = Database(url, statement_timeout=600)
        schema.prepare(database)
        appliance(database)
        config = conf.load(str(config_file))
        fill(database, 1, 10, options.events)
        analysed(database)
        reopened(database, 10, 'VERIFY_2')
        few = medians(questions(config, database, 10), options.runs)
        reopened(database, 10, 'DONE')
        begin = time.perf_counter()
        fill(database, 11, options.updates - 10, options.events)
        analysed(database)
        print(f'{options.updates} updates, {options.updates * options.events} events, {database.dialect}; ', end='')
        print(f'written in {time.perf_counter() - begin:.0f} s')
        reopened(database, options.updates, 'VERIFY_2')
        many = medians(questions(config, database, options.updates), options.runs)
        print(f'{"question":40} {"10, ms":>8} {"all, ms":>8}')
        for name, value in many.items():
            print(f'{name:40} {few[name]:8.2f} {value:8.2f}')
        for words in (['update-list'], ['update-show'], ['image-list'], ['check']):
            took = statistics.median(command(config_file, *words) for _ in range(3))
            print(f'{"ovca " + " ".join(words):40} {"":8} {took * 1000:8.0f}')
        database.dispose()
    return 0


if __name__ == '__main__':
    sys.exit(main())
