"""What the database says of a lab's nodes; the lab looks at it past all cables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ovca.lab import factory, processes
from ovca.lab.spec import LabError, LabSpec

if TYPE_CHECKING:
    from ovca.db.engine import Database
    from ovca.db.models import Lease

FRESH = 5.0
"""Seconds after which a node that is not heard of counts as silent."""


class Facts:
    """The rows of one lab, read afresh at each call."""

    def __init__(self, database: Database, nodes: Sequence[str]) -> None:
        self.database, self.nodes = database, nodes

    def holder(self) -> str | None:
        """The node that had the lease last, dead or alive."""
        lease = self._lease()
        return lease.holder if lease is not None else None

    def master(self, since: dt.datetime | None = None) -> str | None:
        """The node that acts as master, and has renewed its lease after ``since`` (default: within its time)."""
        lease, now = self._lease(), self.now()
        if lease is None or not lease.acting or lease.renewed_at is None:
            return None
        return lease.holder if lease.renewed_at > (since or now - dt.timedelta(seconds=lease.ttl)) else None

    def now(self) -> dt.datetime:
        with self.database.read() as session:
            return self.database.now(session)

    def _lease(self) -> Lease | None:
        from sqlalchemy import select

        from ovca.db.models import Lease

        with self.database.read() as session:
            return session.scalars(select(Lease)).first()

    def healthy(self) -> bool:
        """Whether all nodes are heard of, and say that they are ready."""
        from ovca.db.models import Node

        with self.database.read() as session:
            now = self.database.now(session)
            rows = [session.get(Node, name) for name in self.nodes]
            return all(
                row is not None
                and row.ready
                and row.last_seen_at is not None
                and (now - row.last_seen_at).total_seconds() < FRESH
                for row in rows
            )

    def wait(self, true: Callable[[Facts], bool], patience: float, what: str) -> None:
        """Wait for something to become true. :raises LabError: it does not."""
        if not processes.wait_until(lambda: true(self), patience, 0.05):
            raise LabError(f'after {patience:g} s it is still not so that {what}; see: ovca-lab log {self.nodes[0]}')


@contextmanager
def of(lab: LabSpec) -> Iterator[Facts]:
    """Open the facts of a lab for a while."""
    database = factory.open_database(lab)
    try:
        yield Facts(database, [node.name for node in lab.nodes])
    finally:
        database.dispose()
