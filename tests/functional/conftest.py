"""A whole appliance for a test: two nodes, their BMCs, shared storage and an image server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ovca.db.models import Entry, Event, Image, Lease, Node, Request, Update
from ovca.lab import factory
from ovca.lab.images import Plugin
from ovca.lab.lab import Lab
from tests.stock import Stock, stock

PATIENCE = 90.0
LOOK = 0.1
"""Seconds between two looks at the database: the nodes need the processor more than the tests do."""
TIMES = {
    'cluster': {'silent_after': 4},
    'remaster': {'soak': 1, 'prove_soak': 1.5, 'ready_age': 3, 'unhealthy_limit': 4, 'order_interval': 10},
    'health': {'interval': 1, 'timeout': 5},
}

UNHEALTHY = """
from ovca.cluster.health import HealthCheck


class Broken(HealthCheck):
    def check(self):
        return 'this image is broken' if {condition} else None
"""


def broken(condition: str) -> tuple[Plugin, ...]:
    """What makes an image install well and then be unhealthy, whenever ``condition`` holds."""
    source = UNHEALTHY.replace('{condition}', condition)
    return (
        Plugin(
            'ovca-broken',
            {'ovca_broken.py': source},
            {'ovca.health': {'broken': 'ovca_broken:Broken'}},
            configuration='[health]\nchecks = broken\n',
        ),
    )


class Appliance:
    """A lab, and what a test wants to know of it."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.database = lab, lab.database()

    def until(self, what: str, true: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until something holds; fail with the story so far when it does not."""
        end = time.monotonic() + patience
        while not (value := true()):
            if time.monotonic() > end:
                pytest.fail(f'never happened: {what}\n' + '\n'.join(self.story()), pytrace=False)
            time.sleep(LOOK)
        return value

    def one(self, model: Any, key: Any) -> Any:
        with self.database.read() as session:
            return session.get(model, key)

    def ready(self) -> None:
        def both() -> bool:
            with self.database.read() as session:
                nodes = session.scalars(select(Node)).all()
                claims = select(Event.at).where(Event.kind == 'lease').order_by(Event.id.desc()).limit(1)
                claimed = session.scalars(claims).first()
                # A node that the new master has fenced still stands there as it was before.
                return (
                    bool(session.scalars(select(Lease.acting)).first())
                    and claimed is not None
                    and [bool(n.ready and n.last_seen_at and n.last_seen_at > claimed) for n in nodes] == [True, True]
                )

        self.until('both nodes are ready', both)

    @property
    def master(self) -> str:
        with self.database.read() as session:
            return str(session.scalars(select(Lease)).one().holder)

    @property
    def standby(self) -> str:
        return self.lab.node(self.master).peer

    def update(self) -> Any:
        with self.database.read() as session:
            return session.scalars(select(Update).order_by(Update.id.desc()).limit(1)).one_or_none()

    def events(self, kind: str | None = None) -> list[Event]:
        with self.database.read() as session:
            found = session.scalars(select(Event).order_by(Event.id)).all()
        return [e for e in found if kind in (None, e.kind)]

    def story(self) -> list[str]:
        return [f'{e.at:%H:%M:%S} {e.kind} {e.node} {e.from_state}->{e.to_state} {e.detail}' for e in self.events()]

    def states(self) -> list[str]:
        return [str(e.to_state) for e in self.events() if e.to_state]

    def request(self, kind: str, **args: Any) -> int:
        """Ask as the commands do."""
        with self.database.write() as session:
            row = Request(
                kind=kind, args=args, state='open', created_at=self.database.now(session), created_by='a test'
            )
            row.cancel_requested = False
            session.add(row)
            session.flush()
            return row.id

    def answer(self, request: int) -> Any:
        return self.until('the request is answered', lambda: self._answered(request))

    def _answered(self, request: int) -> Any:
        row = self.one(Request, request)
        return row if row.state in ('done', 'failed') else None

    def in_state(self, state: str) -> Any:
        def there() -> Any:
            update = self.update()
            return update if update is not None and update.state == state else None

        return self.until(f'the update is in {state}', there)

    def ended(self) -> Any:
        def over() -> Any:
            update = self.update()
            return update if update is not None and update.finished_at else None

        return self.until('the update ends', over)

    def step(self, node: str, step: str) -> None:
        self.until(f'{node} is {step}', lambda: self._step(node) == step)

    def _step(self, node: str) -> str:
        with self.database.read() as session:
            return str(session.scalars(select(Entry.step).where(Entry.node == node)).first())

    def version(self, node: str) -> str:
        """What is on a node's disk, whatever anybody says."""
        import json

        return str(json.loads((self.lab.node(node).root / 'etc/ovca/installed.json').read_bytes())['version'])

    def images(self) -> list[str]:
        with self.database.read() as session:
            return sorted(session.scalars(select(Image.version)))

    def ovca(self, node: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.lab.run(node, words, **options)

    def serve(self, version: str, **recipe: Any) -> str:
        """Serve an image, made as the recipe says or taken from the stock, and return its URL."""
        bundle = self.lab.folder / 'www' / factory.bundle_name(version)
        if recipe or not bundle.exists():
            bundle = self.lab.make_image(version, **recipe)
        return self.lab.serve() + bundle.name

    def wiped(self) -> list[str]:
        """Whose grants were consumed, in order."""
        return [str(e.node) for e in self.events('grant-consumed')]

    def check_invariants(self) -> None:
        """What must hold after every story, from the journal."""
        epochs = [e.epoch for e in self.events() if e.epoch is not None]
        assert epochs == sorted(epochs), 'the epoch decreased'
        for event in self.events('grant-consumed'):
            assert event.node != event.actor, 'a lease holder was wiped'


def appliance_in(folder: Path, stock: Stock, **options: Any) -> Iterator[Appliance]:
    """A lab whose first version is of the stock; options: those of ``Lab.create``."""
    overrides = {**TIMES, **options.pop('overrides', {})}
    lab = Lab.create(folder, overrides=overrides, stock=stock(options.get('database')), **options)
    appliance = Appliance(lab)
    try:
        lab.start()
        appliance.ready()
        yield appliance
        appliance.check_invariants()
    finally:
        lab.stop()
        appliance.database.dispose()


@pytest.fixture(scope='session')
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """The keys and images that all labs share."""
    return stock(tmp_path_factory)


@pytest.fixture
def appliance(tmp_path: Path, stocked: Stock) -> Iterator[Appliance]:
    """Two nodes with 1.0.0 on SQLite, healthy."""
    yield from appliance_in(tmp_path / 'lab', stocked)


@pytest.fixture
def appliance_on_each(tmp_path: Path, stocked: Stock, database_url: str) -> Iterator[Appliance]:
    """The same, on SQLite and on PostgreSQL."""
    yield from appliance_in(
        tmp_path / 'lab', stocked, database=None if database_url.startswith('sqlite') else database_url
    )
