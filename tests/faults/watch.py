"""Looks, again and again while a run is under way, at what leaves no trace: disks without a system, and the epoch."""

from __future__ import annotations

import threading
import time
from typing import Any

from sqlalchemy import select

from ovca.db.engine import Database
from ovca.db.models import Lease
from ovca.exceptions import DatabaseError
from ovca.lab.lab import Lab
from tests.faults.facts import RECORD, Wipe

STEP = 0.01
"""Seconds between two looks at the disks; no system is installed or wiped as fast as that."""


class Watch:
    """Looks in threads of its own between :meth:`start` and :meth:`stop`."""

    def __init__(self, lab: Lab, database: Database) -> None:
        self.lab, self.database = lab, database
        self.wipes: list[Wipe] = []
        self.both_blank: list[float] = []
        self.epochs: list[int] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._disks, self._lease)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> dict[str, Any]:
        """End; return what was seen, for :func:`tests.faults.facts.collect`."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return {
            'wipes': tuple(self.wipes),
            'both_blank': tuple(self.both_blank),
            'epochs': tuple(self.epochs),
        }

    def _disks(self) -> None:
        """The installer takes a system's record away before anything else, and writes it when all else is there."""
        records = {node.name: node.root / RECORD for node in self.lab.spec.nodes}
        there = dict.fromkeys(records, True)
        while not self._over.wait(STEP):
            for node, record in records.items():
                now = record.exists()
                if there[node] and not now:
                    self.wipes.append(Wipe(node, time.time()))
                there[node] = now
            # The first may have got its system while the second was looked at, so it is looked at once more.
            if not any(there.values()) and not next(iter(records.values())).exists():
                self.both_blank.append(time.time())

    def _lease(self) -> None:
        while not self._over.wait(25 * STEP):
            try:
                with self.database.read() as session:
                    self.epochs.append(session.scalars(select(Lease.epoch)).one())
            except DatabaseError:
                continue  # the fault is meant for the nodes, and meets this program as well
