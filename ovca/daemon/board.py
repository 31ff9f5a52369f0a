"""What a node's status server tells about the newest update, for who follows it from another node."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ovca.cluster.nodes import silent_after
from ovca.db.engine import Database
from ovca.exceptions import DatabaseError
from ovca.remaster import bulletin, reading
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import State
from ovca.remaster.views import Snapshot

if TYPE_CHECKING:
    from oslo_config import cfg

FRESH = 0.5
"""Seconds for which an answer is given again, so that many who ask cost the database no more than one."""


class Board:
    """Reads only when somebody asks; when the database is away it tells what it saw last. Any thread may ask."""

    def __init__(
        self, conf: cfg.ConfigOpts, database: Database, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.node: str = conf.cluster.node_name
        self._silent_after = silent_after(conf)
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        self._seen: Snapshot | None = None
        self._readable = False
        self._looked: float | None = None

    def tell(self, after: int = 0) -> dict[str, Any]:
        """``snapshot`` (None when no update is known), and whether the ``database`` could be read for it."""
        # One who comes while another one waits for the database gets what is known.
        if self._lock.acquire(blocking=False):
            try:
                if self._looked is None or self._clock() - self._looked >= FRESH:
                    self._look()
                    self._looked = self._clock()
            finally:
                self._lock.release()
        seen = self._seen
        return {'database': self._readable, 'snapshot': None if seen is None else bulletin.told(seen, after)}

    def _look(self) -> None:
        try:
            with self._database.read() as session:
                row = newest_update(session)
                if row is not None and row.state not in set(State):
                    self._seen = None  # what went before is no answer, and software that knows the state tells more
                elif row is not None:
                    update, leader = reading.update(row), reading.master(session, self.node)
                    self._seen = Snapshot(
                        update=update,
                        entries=reading.entries(session, update),
                        nodes=reading.nodes(session, leader=leader, silent_after=self._silent_after),
                        master=leader,
                        events=reading.last_events(session, update.id, bulletin.EVENTS),
                        now=self._database.now(session),
                        directives=reading.directives(session, update.id, holding=True),
                    )
            self._readable = True
        except DatabaseError:
            self._readable = False
