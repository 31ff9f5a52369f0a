"""How long nobody acts as master, what an update takes beyond its installs, and what an idle pair costs.

    python bench/remaster.py [--runs 5] [--idle 120] [--database postgresql://user@host/empty-database]

A process lab of two nodes, in a temporary folder. "Takes over" is counted from the cut of the master's power to the
moment in which the other node acts, less the lease's time and the time until the dead node was seen to be off. "An
update beyond its installs" is the time from its request to its end, less what the installers, the boots and the soaks
took. The idle pair runs with the product's own times (ttl 30 s, renewals every 10 s), and a health check of this bench
counts the statements and the processor time of each service. It is measured as it is, and then once more while another
process keeps its memory awake, as a virtual machine may charge a process for memory that its host has taken back
meanwhile; the bound is for the latter. Exit status 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ovca.db.models import Event, Node, Update
from ovca.lab.images import Plugin
from ovca.lab.lab import Lab

PATIENCE = 120.0
QUICK = {
    'cluster': {'silent_after': 4},
    'remaster': {'soak': 1, 'prove_soak': 1, 'ready_age': 3, 'unhealthy_limit': 20, 'order_interval': 5},
    'health': {'interval': 0.5, 'timeout': 5},
}
SOAKS = 3.0
"""Seconds: that of the first node, that as master, that of the second node."""
PLAIN = {
    'cluster': {'ttl': 30, 'renew_interval': 10, 'self_demote': 20, 'poll_interval': 2, 'silent_after': 15},
    'remaster': {'ready_age': 5},
    'health': {'interval': 5, 'bmc_interval': 30, 'checks': 'database,shared-storage,software,peer-bmc,counted'},
}
COUNTED = Plugin(
    'ovca-counted',
    {
        'ovca_counted.py': """
import json
import os
import time
from pathlib import Path

from sqlalchemy import Engine, event

from ovca.cluster.health import HealthCheck

COUNT = {'sql': 0}


@event.listens_for(Engine, 'before_cursor_execute')
def count(connection, cursor, statement, *_):
    COUNT['sql'] += not statement.startswith(('BEGIN', 'PRAGMA'))


class Counted(HealthCheck):
    def check(self):
        if not os.path.exists(self.context.conf.provision.root + '/count'):
            return  # to write each time what nobody reads would be a part of what is measured
        facts = {**COUNT, 'pid': os.getpid(), 'processor': time.process_time(), 'at': time.monotonic()}
        Path(self.context.conf.provision.root, 'counted.json').write_text(json.dumps(facts))
"""
    },
    {'ovca.health': {'counted': 'ovca_counted:Counted'}},
)


AWAKE = Path(__file__).with_name('awake.py')
WAKING = """
import sys
import threading
import time

for _ in range(6):
    threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)], daemon=True).start()
span, before = float(sys.argv[1]), time.process_time()
time.sleep(span)
print((time.process_time() - before) / span)
"""
"""What an idle pair is compared with: what waking alone costs here."""


@dataclass(frozen=True)
class Line:
    """One line of the result; a bound of None is not judged."""

    what: str
    values: tuple[float, ...]
    bound: float | None
    unit: str = 's'

    @property
    def held(self) -> bool:
        return self.bound is None or statistics.median(self.values) <= self.bound

    def __str__(self) -> str:
        median, said = statistics.median(self.values), '' if self.bound is None else f'{self.bound:8.2f}'
        head = f'{self.what:<58}{median:8.2f}{min(self.values):8.2f}{max(self.values):8.2f}'
        return f'{head} {self.unit:<4}{said}{"" if self.held else "  above"}'


def main() -> int:
    """Run all; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--runs', type=int, default=5, help='of each hand-over, take-over and update; 0: none')
    parser.add_argument('--idle', type=float, default=120.0, help='seconds for which the idle pair is watched')
    parser.add_argument('--database', help='an empty PostgreSQL database (default: SQLite)')
    arguments = parser.parse_args()
    lines: list[Line] = []
    if arguments.runs:
        with tempfile.TemporaryDirectory() as name:
            lab = Lab.create(Path(name, 'quick'), database=arguments.database, overrides=QUICK)
            lines += with_lab(lab, lambda: quick(lab, arguments.runs))
    with tempfile.TemporaryDirectory() as name:
        lab = Lab.create(Path(name, 'idle'), database=arguments.database, overrides=PLAIN, plugins=(COUNTED,))
        lines += with_lab(lab, lambda: idle(lab, arguments.idle))
    print(f'{"":<58}{"median":>8}{"min":>8}{"max":>8}      {"bound":>7}')
    for line in lines:
        print(line)
    return 0 if all(line.held for line in lines) else 1


def with_lab(lab: Lab, work: Callable[[], Iterable[Line]]) -> list[Line]:
    """Run something in a lab that is started and stopped."""
    lab.start()
    try:
        until(lambda: ready(lab))
        return list(work())
    finally:
        lab.stop()


def until(true: Callable[[], Any]) -> Any:
    """Wait until something holds. :raises SystemExit: it never did."""
    end = time.monotonic() + PATIENCE
    while not (value := true()):
        if time.monotonic() > end:
            raise SystemExit('the lab did not get where it should; see its logs')
        time.sleep(0.05)
    return value


def ready(lab: Lab) -> bool:
    """Whether somebody acts, and both nodes are ready."""
    with lab.database().read() as session:
        return [node.ready for node in session.scalars(select(Node))] == [True, True] and lab.master() is not None


def other(name: str) -> str:
    """The other node."""
    return 'mn2' if name == 'mn1' else 'mn1'


def events(lab: Lab, after: int = 0) -> list[Event]:
    """The journal after an event."""
    with lab.database().read() as session:
        rows = list(session.scalars(select(Event).where(Event.id > after).order_by(Event.id)))
        session.expunge_all()
        return rows


def last(lab: Lab) -> int:
    """The id of the newest event."""
    return max((event.id for event in events(lab)), default=0)


def told(rows: list[Event], words: str) -> dt.datetime:
    """When the first event was that has these words."""
    return next(event.at for event in rows if words in event.detail)


def seconds(begin: dt.datetime, end: dt.datetime) -> float:
    """From one moment to another."""
    return (end - begin).total_seconds()


# The pair with short times.


def quick(lab: Lab, runs: int) -> Iterable[Line]:
    """Hand-overs, take-overs, updates."""
    yield Line('planned hand-over: nobody acts', tuple(hand_over(lab) for _ in range(runs)), 1.0)
    taken = [take_over(lab) for _ in range(runs)]
    yield Line('unplanned take-over: nobody acts', tuple(whole for whole, _ in taken), None)
    yield Line('unplanned take-over, less ttl and time to confirm off', tuple(rest for _, rest in taken), 1.0)
    updated = [update(lab, f'1.{n}.0') for n in range(1, runs + 1)]
    yield Line('update', tuple(whole for whole, _, _ in updated), None)
    yield Line('update, less installs, boots and soaks', tuple(rest for _, rest, _ in updated), 3.0)
    yield Line('update: nobody acts', tuple(gap for _, _, gap in updated), 1.0)


def hand_over(lab: Lab) -> float:
    """Seconds that nobody acts in a planned hand-over."""
    before, master = last(lab), lab.wait_for_master()
    until(lambda: ready(lab))
    run(lab, master, 'failover', '--yes')
    rows = events(lab, before)
    return seconds(told(rows, 'stopped acting'), told(rows, ' acts as master'))


def take_over(lab: Lab) -> tuple[float, float]:
    """Seconds from the loss of the master's power until the other node acts: all, and what the protocol adds."""
    before, master = last(lab), lab.wait_for_master()
    until(lambda: ready(lab))
    cut = dt.datetime.now(dt.UTC)
    lab.cut_power(master)
    until(lambda: any(f'{other(master)} acts as master' in event.detail for event in events(lab, before)))
    rows = events(lab, before)
    claimed, acts = told(rows, f'{other(master)} claimed'), told(rows, f'{other(master)} acts')
    lab.power_on(master)
    until(lambda: ready(lab))
    ttl = float(lab.conf(master).cluster.ttl)
    return seconds(cut, acts), seconds(cut, acts) - ttl - seconds(claimed, acts)


def update(lab: Lab, version: str) -> tuple[float, float, float]:
    """Seconds of an update: all, what is neither install nor boot nor soak, and those in which nobody acts."""
    lab.make_image(version)
    until(lambda: ready(lab))
    master = lab.wait_for_master()
    run(lab, master, 'download', str(lab.folder / 'www' / f'ovca-{version}.iso.zip'))
    run(lab, master, 'activate', version, '--yes', '--no-wait')
    until(lambda: state(lab, version) == 'DONE')
    with lab.database().read() as session:
        row = session.scalars(select(Update).where(Update.version == version)).one()
        begin, end, number = row.created_at, row.finished_at, row.id
    rows = [event for event in events(lab) if event.update_id == number]
    spent = SOAKS
    for name in ('mn1', 'mn2'):
        # From the order to the proof: firmware, installer, boot and the service's own start.
        spent += seconds(told(rows, f'{name}: network boot once'), told(rows, f'{name} proved'))
    whole = seconds(begin, end or begin)
    gap = seconds(told(rows_since(lab, begin), 'stopped acting'), told(rows_since(lab, begin), ' acts as master'))
    return whole, whole - spent, gap


def rows_since(lab: Lab, begin: dt.datetime) -> list[Event]:
    """The journal since a moment."""
    return [event for event in events(lab) if event.at >= begin]


def state(lab: Lab, version: str) -> str | None:
    """Where the update to a version is. :raises SystemExit: it failed."""
    with lab.database().read() as session:
        found = session.scalars(select(Update).where(Update.version == version)).one_or_none()
        if found is not None and found.finished_at is not None and found.state != 'DONE':
            raise SystemExit(f'the update to {version} ended {found.state}: {found.reason}')
        return found.state if found is not None else None


def run(lab: Lab, node: str, *words: str) -> None:
    """Give a command on a node. :raises SystemExit: it failed."""
    done = lab.run(node, list(words))
    if done.returncode:
        raise SystemExit(f'{" ".join(words)}: {done.stderr}')


# The pair that does nothing.


def idle(lab: Lab, span: float) -> Iterable[Line]:
    """Processor time and statements of two services that have nothing to do."""
    names = ('mn1', 'mn2')
    pids = [str(counted(lab, name)['pid']) for name in names]
    time.sleep(20)  # what a start costs is no part of it
    peers = {
        'as it is': [sys.executable, '-c', WAKING, str(span)],
        'memory kept awake': [sys.executable, AWAKE, str(span), *pids],
    }
    for how, words in peers.items():
        before = {name: counted(lab, name) for name in names}
        told = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
        after = {name: counted(lab, name) for name in names}
        passed = [after[n]['at'] - before[n]['at'] for n in names]
        load = [(after[n]['processor'] - before[n]['processor']) / t for n, t in zip(names, passed, strict=True)]
        sql = [(after[n]['sql'] - before[n]['sql']) / t * 10 for n, t in zip(names, passed, strict=True)]
        judged = 1.0 if told == '' else None
        yield Line(f'idle, {how}: share of a core, both nodes together', (100 * sum(load),), judged, '%')
        if told:
            yield Line('idle: a process whose six threads wake once a second', (100 * float(told),), None, '%')
        yield Line(f'idle, {how}: statements in 10 s, per node', tuple(sql), None, '')


def counted(lab: Lab, node: str) -> dict[str, float]:
    """What the health check of this bench has counted on a node until its next round."""
    root = Path(lab.conf(node).provision.root)
    asked, answer = root / 'count', root / 'counted.json'
    answer.unlink(missing_ok=True)
    asked.touch()

    def told() -> dict[str, float] | None:
        try:
            found: dict[str, float] = json.loads(answer.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found

    try:
        until(told)
    finally:
        asked.unlink()
    return told() or {}


if __name__ == '__main__':
    sys.exit(main())
