"""One run: an appliance, an update, the faults of a plan, and what is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from ovca.db.engine import Database
from ovca.db.models import Event, Lease, Node, Request, Update
from ovca.exceptions import DatabaseError
from ovca.lab import factory
from ovca.lab.images import Recipe
from ovca.lab.lab import Lab
from ovca.lab.spec import LabError
from tests.conftest import PostgresServer
from tests.databases import postgresql_server
from tests.faults import facts, judge, witness
from tests.faults.injector import Injector
from tests.faults.plan import Fault, Plan
from tests.faults.siege import SERVERS
from tests.faults.watch import Watch

OLD, NEW = '1.0.0', '1.1.0'
ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
"""Seconds from the request to the end, on a machine that does much else; a run takes 15 to 40."""
TRIES = 3
"""How often an update is asked for that is refused, as a check finds what a fault has left."""
LOOK = 0.05
"""Seconds between two looks at the journal: the nodes need the processor more than this program does."""
CALM = 1.0
"""Seconds that an appliance has to stay as it ended."""
MAKING = threading.Lock()
"""One lab at a time is made, as alembic knows one migration in a process; runs go on side by side."""
OPTIONS = {
    'cluster': {'silent_after': 4},
    'remaster': {
        'soak': 0.5,
        'prove_soak': 0.7,
        'ready_age': 3,
        'unhealthy_limit': 15,
        'order_interval': 5,
        'install_deadline': 30,
        'verify_deadline': 30,
        'prove_deadline': 30,
        'rollback_deadline': 30,
    },
    'health': {'interval': 0.5, 'timeout': 5},
}


@dataclass
class Report:
    """What came of a run."""

    plan: Plan
    end: str = ''
    """The update's state, or why there was none."""
    met: list[Fault] = field(default_factory=list)
    """The faults that happened; an update may end before a later one."""
    problems: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    seconds: float = 0.0
    strangers: int = 0
    """How many connections a siege had."""

    def __str__(self) -> str:
        return '\n'.join(
            [
                f'seed {self.plan.seed} on {self.plan.engine}{self._besieged}: {self.end}, {self.seconds:.0f} s',
                *(
                    f'  fault: {fault}{"" if fault in self.met else " (never came to it)"}'
                    for fault in self.plan.faults
                ),
                *(f'  WRONG: {problem}' for problem in self.problems),
                *(f'  {line}' for line in self.story if self.problems),
                *([f'  again, as far as real processes can: {self.plan.again}'] if self.problems else []),
            ]
        )

    @property
    def _besieged(self) -> str:
        return f', besieged by {self.strangers} connections' if self.plan.besieged else ''


def make_stock(folder: Path) -> Path:
    """Make keys and images once for all runs, on either engine."""
    extras, plugins = ('postgresql', 'redfish'), (witness.plugin(),)
    return factory.make_stock(folder, [Recipe(version, extras=extras, plugins=plugins) for version in (OLD, NEW)])


def run(plan: Plan, folder: Path, stock: Path) -> Report:
    """Do it; ``folder`` is new, and holds the lab afterwards."""
    report, begun = Report(plan), time.monotonic()
    with _database(plan.engine) as (url, server):
        with MAKING:
            lab = Lab.create(folder / 'lab', database=url, version=OLD, overrides=OPTIONS, stock=stock)
        database = lab.database()
        try:
            lab.start(owner=os.getpid())  # it stops when this process dies, however it dies
            _Run(lab, database, server, report).to_the_end()
        finally:
            lab.stop()
            database.dispose()
    report.seconds = time.monotonic() - begun
    return report


@contextlib.contextmanager
def _database(engine: str) -> Iterator[tuple[str | None, PostgresServer | None]]:
    """A database of its own for each run, as its server may be restarted; with a password that nobody may tell."""
    if engine == 'sqlite':
        yield None, None
        return
    with postgresql_server() as server:
        server.create('ovca')
        yield server.url('ovca').replace('ovca@', f'ovca:{secrets.token_hex(16)}@'), server


class _Run:
    def __init__(self, lab: Lab, database: Database, server: PostgresServer | None, report: Report) -> None:
        self.lab, self.database, self.report = lab, database, report
        self.injector = Injector(lab, server)
        self.watch = Watch(lab, database)
        self.events: list[Event] = []
        self.request = self.tries = 0
        self.bundle = ''
        self.asked = 0.0
        self.reached: dict[str, float] = {}

    def to_the_end(self) -> None:
        self.lab.wait_until_healthy()
        self.watch.start()
        self.bundle = self.lab.serve() + f'ovca-{NEW}.iso.zip'
        self._ask()
        self.asked = time.monotonic()
        with self._siege():
            self._suffer()
            settled = self._settle()
        found = facts.collect(self.lab, self.database, **self.watch.stop())
        self._read()
        self.report.problems += judge.problems(found)
        if not settled:
            self.report.problems.insert(0, f'{PATIENCE:g} s after the request, the appliance has not come to an end')
        self.report.end = found.update.state if found.update else f'no update: {self._answer()}'
        self.report.story = [
            f'{e.at:%H:%M:%S.%f} {e.kind} {e.node} {e.from_state or ""}->{e.to_state or ""} {e.detail}'
            for e in self.events
        ]

    def _ask(self) -> None:
        """Ask for the update as the command does."""
        self.tries += 1
        with self.database.write() as session:
            row = Request(kind='update', args={'uri': self.bundle}, state='open', created_at=self.database.now(session))
            row.created_by, row.cancel_requested = 'a fault run', False
            session.add(row)
            session.flush()
            self.request = row.id

    # Faults.

    @contextlib.contextmanager
    def _siege(self) -> Iterator[None]:
        """Strangers all around, if the plan wants it; they end with this process."""
        if not self.report.plan.besieged:
            yield
            return
        spec = self.lab.spec
        words = [sys.executable, '-m', 'tests.faults.siege', spec.prefix, *(node.mac for node in spec.nodes)]
        with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as strangers:
            yield
            met = json.loads(strangers.communicate()[0] or '{}')
        self.report.strangers = sum(met.values())
        if len(met) < SERVERS:  # then nothing was shown
            self.report.problems.append(f'the siege has met {", ".join(met) or "nobody"} only')

    def _suffer(self) -> None:
        """Begin and end each fault at its time, until all are over or the update is."""
        waiting: list[Fault] = list(self.report.plan.faults)
        lasting: dict[Fault, float] = {}
        while waiting or lasting:
            self._read()
            now = time.monotonic()
            for fault in [f for f in waiting if self._due(f, now)]:
                waiting.remove(fault)
                with contextlib.suppress(LabError):
                    self.injector.begin(fault)
                    self.report.met.append(fault)
                    lasting[fault] = now + fault.seconds
            for fault in [f for f, end in lasting.items() if end <= now]:
                del lasting[fault]
                self.injector.end(fault)
            if not lasting and (self._over() or now - self.asked > PATIENCE):
                return
            time.sleep(LOOK)

    def _due(self, fault: Fault, now: float) -> bool:
        since = self.reached.get(fault.after)
        return since is not None and now >= since + fault.delay

    def _read(self) -> None:
        """Read what is new in the journal."""
        last = self.events[-1].id if self.events else 0
        try:
            with self.database.read() as session:
                self.events += session.scalars(select(Event).where(Event.id > last).order_by(Event.id))
        except DatabaseError:
            return
        now = time.monotonic()
        self.reached.setdefault('asked', self.asked)
        for event in self.events:
            for milestone in _milestones(event):
                self.reached.setdefault(milestone, now)

    def _over(self) -> bool:
        """Whether the update has ended, or was refused again and again."""
        try:
            with self.database.read() as session:
                update = session.scalars(select(Update)).one_or_none()
                request = session.get_one(Request, self.request)
            if update is not None:
                return update.finished_at is not None
            if request.state != 'failed' or self.tries == TRIES:
                return request.state == 'failed'
            if self._at_rest():
                self._ask()  # as an operator does, when all is well again
        except DatabaseError:
            pass  # the fault is meant for the nodes, and meets this program as well
        return False

    # The end.

    def _settle(self) -> bool:
        """Wait until the update is over and the appliance has been at rest for a while; return whether it is."""
        since: float | None = None
        while (now := time.monotonic()) - self.asked < PATIENCE:
            if not (self._over() and self._at_rest()):
                since = None
            elif since is None:
                since = now
            elif now - since > CALM:
                return True
            time.sleep(4 * LOOK)
        return False

    def _at_rest(self) -> bool:
        """One master acts and serves; and a standby is ready where the end state promises one."""
        try:
            with self.database.read() as session:
                lease = session.scalars(select(Lease)).one()
                update = session.scalars(select(Update)).one_or_none()
                rows = session.scalars(select(Node)).all()
                now = self.database.now(session)
                claims = select(Event.at).where(Event.kind == 'lease').order_by(Event.id.desc()).limit(1)
                claimed = session.scalars(claims).one()
        except DatabaseError:
            return False
        fresh = {
            row.name: row.last_seen_at is not None
            and row.last_seen_at > claimed
            and (now - row.last_seen_at).total_seconds() < 5
            for row in rows
        }
        if not lease.acting or not fresh.get(lease.holder or '') or lease.renewed_at is None:
            return False
        if (now - lease.renewed_at).total_seconds() > lease.ttl or not witness.serving(
            self.lab.folder, lease.holder or ''
        ):
            return False
        promised = update is None or update.state in judge.WHOLE
        return not promised or all(row.ready and fresh[row.name] for row in rows)

    def _answer(self) -> str:
        with self.database.read() as session:
            return str(session.get_one(Request, self.request).error)


def _milestones(event: Event) -> Iterator[str]:
    if event.to_state:
        yield event.to_state
    if event.kind == 'image':
        yield 'published'
    ordinal = {'mn2': '1', 'mn1': '2'}.get(event.node or '', '')
    if event.kind in ('grant-consumed', 'written'):
        yield {'grant-consumed': 'wiped', 'written': 'written'}[event.kind] + f'-{ordinal}'
