"""Runs: one schedule, and what came of it."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import ovca
from ovca import conf as configuration
from ovca.daemon.site import SiteCare
from ovca.db import schema
from ovca.db.models import Directive, Image, Lease, Node, Update
from ovca.remaster.directives import Kind
from tests.simulation.appliance import MACS, Appliance
from tests.simulation.database import Server, SqliteServer
from tests.simulation.disks import NEW, NODES, OLD, Disks
from tests.simulation.faults import Schedule, drawn
from tests.simulation.files import watch_files

LIMIT = 400.0
"""Seconds within which an update ends, once nothing breaks any more."""
MOST = 15_000
"""Passes of all threads in one run: more than any needs that does not go round in a circle."""
QUIET = 1.0
"""Seconds for which it has to stay so."""


@dataclass
class Outcome:
    """What a run came to."""

    schedule: Schedule
    violation: str | None
    state: str
    states: list[str]
    points: int
    seconds: float
    """By the simulated clock."""
    passes: int
    labels: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        what = self.violation or 'no violation'
        return f'{what}; {" ".join(self.states)}; {self.points} points, {self.seconds:.1f} s\n{self.schedule}'


if TYPE_CHECKING:
    from tests.simulation.branches import Branches
    from tests.simulation.spread import Spread


class Silence(io.TextIOBase):
    """A console that nobody looks at."""

    def write(self, text: str) -> int:
        return len(text)


class Simulation:
    """Disks and database that are put back before each run; one after the other."""

    def __init__(self, server: Server | None = None) -> None:
        """``server`` is empty, and is closed together with this; None: SQLite in memory."""
        logging.disable(logging.CRITICAL)  # a million runs; what matters is in the trace
        self._garbage = gc.get_threshold()
        gc.set_threshold(200_000, 20, 100)
        self._silence = Silence()  # the installer tells a console what it does
        self.disks = Disks()
        self.server = server or SqliteServer()
        self.confs = {name: configuration.load(str(self.disks.base / name / 'ovca.conf')) for name in NODES}
        self._prepare()
        self.server.save()
        self.points = self.run(Schedule()).points
        """How many a run without faults has."""
        gc.collect()
        gc.freeze()

    def close(self) -> None:
        """Remove what was made."""
        self.server.close()
        self.disks.close()
        gc.unfreeze()
        gc.set_threshold(*self._garbage)
        logging.disable(logging.NOTSET)

    def _prepare(self) -> None:
        """Both nodes run the old software, mn1 leads, and an update was asked for."""
        database = self.server.open()
        self.server.utc = 990.0
        schema.prepare(database)
        old, new = self.disks.images[OLD], self.disks.images[NEW]
        started = {'kind': 'management', 'epoch_seen': 0, 'power_orders': 0}
        with database.write() as session:
            now = database.now(session)
            for image in (old, new):
                facts = image.manifest.files_digest, image.manifest.iso.size
                session.add(Image(version=image.version, digest=image.digest, iso=image.iso, files_digest=facts[0],
                                  size=facts[1], manifest={}, published_at=now))  # fmt: skip
            session.add(Lease(name='management', holder='mn1', incarnation='before', epoch=1, acting=True, ttl=8.0,
                              fence_proof='mn2 was seen to be off', demoted_epoch=0, renewed_at=now))  # fmt: skip
            for name in NODES:
                session.add(Node(name=name, mac=MACS[name], running_version=OLD, running_digest=old.digest, **started))
            session.add(Update(state='REQUESTED', version=NEW, digest=new.digest, old_version=OLD, first='mn2',
                               old_digest=old.digest, second='mn1', created_at=now, created_by='otto', revision=1,
                               state_since=now, deadline_from=now, handovers=0))  # fmt: skip
        for name in NODES:
            SiteCare(self.confs[name], database, []).step()
        self.disks.save()

    def _hold(self) -> None:
        """As the request does that opens the update."""
        database = self.server.open()
        with database.write() as session:
            session.add(Directive(update_id=1, kind=Kind.HOLD, subject='', detail='', created_by='otto',
                                  created_at=database.now(session)))  # fmt: skip

    def drawn(self, seed: int) -> Schedule:
        """The random schedule of a seed."""
        return drawn(seed, self.points, NODES)

    def run(
        self,
        schedule: Schedule,
        *,
        trace: bool = False,
        labels: bool = False,
        most: int = MOST,
        spread: Spread | None = None,
        branches: Branches | None = None,
    ) -> Outcome:
        """Run one schedule to its end, or to the first violation; ``most`` bounds the passes of all threads."""
        self.disks.restore()
        self.server.restore()
        self.server.utc = 1000.0
        if schedule.held is not None:
            self._hold()
        appliance = Appliance(self.disks, self.server, self.confs, schedule)
        appliance.spread = spread
        appliance.trace = [] if trace else None
        appliance.labels = [] if labels else None
        watch_files(str(self.disks.base), appliance.file_effect)
        version = ovca.__version__  # each process of the simulation has one of its own
        try:
            with contextlib.redirect_stdout(self._silence), contextlib.redirect_stderr(self._silence):
                self._to_the_end(appliance, most, branches)
        finally:
            watch_files(str(self.disks.base), None)
            appliance.scheduler.clear()
            ovca.__version__ = version
        watch = appliance.watch
        return Outcome(appliance.schedule, watch.violation, watch.state.value, watch.states, appliance.points,
                       appliance.scheduler.now, appliance.scheduler.activations, appliance.labels or [],
                       appliance.trace or [])  # fmt: skip

    def _to_the_end(self, appliance: Appliance, most: int, branches: Branches | None) -> None:
        watch, scheduler = appliance.watch, appliance.scheduler
        rested: float | None = None
        while watch.violation is None:
            if branches is not None:
                branches.at(appliance)
            if not appliance.step():
                watch.wrong('nothing is left to be done, and the update has not ended')
                return
            now = scheduler.now
            if scheduler.activations > most:
                watch.wrong(f'invariant 12: a thread goes round in a circle, {most} passes in {now:.0f} s')
                return
            begun = max(appliance.calm_after, appliance.last_fault)
            if now > begun + LIMIT:
                watch.wrong(f'invariant 12: {LIMIT:g} s after the last fault the update has not come to rest')
                return
            if now < begun or not watch.state.ended or not watch.over:
                rested = None
            elif rested is None:
                rested = now
            elif now >= rested + QUIET:
                watch.finished()
                return
