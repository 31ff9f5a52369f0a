"""The health checks that every appliance has."""

from __future__ import annotations

import contextlib
import math
import os
import time
import uuid
from pathlib import Path

from sqlalchemy import update

from ovca.cluster.health import HealthCheck, HealthContext
from ovca.cluster.nodes import power_of
from ovca.conf.storage import unmounted
from ovca.db.engine import clock
from ovca.db.models import Node
from ovca.exceptions import PowerError
from ovca.power.base import PowerDriver, PowerState


class Database(HealthCheck):
    """The database takes a write: it has just done so, as with each sign of life, or it is tried."""

    def check(self) -> str | None:
        database = self.context.database
        if database.wrote(within=self.context.conf.health.interval):
            return None
        with database.write() as session:
            mine = update(Node).where(Node.name == self.context.node)
            session.execute(mine.values(last_seen_at=clock(session)))
        return None


class SharedStorage(HealthCheck):
    """The shared storage is mounted, takes a file and gives it back."""

    def check(self) -> str | None:
        if why := unmounted(self.context.conf):
            return why
        folder = Path(self.context.conf.image.shared_storage)
        probe = folder / f'.ovca-health-{self.context.node}-{uuid.uuid4().hex[:8]}'
        word = uuid.uuid4().bytes
        try:
            with probe.open('xb') as stream:
                stream.write(word)
                stream.flush()
                os.fsync(stream.fileno())
            if probe.read_bytes() != word:
                return f'{folder} gave back something else than was written'
        except OSError as exc:
            return f'{folder} cannot be written and read: {exc}'
        finally:
            probe.unlink(missing_ok=True)
        return None


class PeerBmc(HealthCheck):
    """The peer's BMC answers; without it this node could not take over.

    That it did counts for ``[health] bmc_interval`` seconds, unless this node's role, or the BMC that ``[power]``
    names, is another one meanwhile; that it did not is looked at anew in each round. The driver is kept from one look
    to the next: many a BMC has room for a few sessions only, and is slow to open one.
    """

    def __init__(self, context: HealthContext) -> None:
        super().__init__(context)
        self._kept: PowerDriver | None = None
        self._circumstances: object = None
        self._answered = -math.inf
        self._closed = False

    def close(self) -> None:
        """End the session at the BMC, which has room for a few only; that of a call that is under way ends with it."""
        self._closed = True
        self._let_go()

    def check(self) -> str | None:
        conf, peer = self.context.conf, self.context.conf.cluster.peer
        if not peer:
            return None
        power = conf.power
        circumstances = self.context.acting(), peer, (power.bmc or {}).get(peer), power.driver, power.user
        if circumstances == self._circumstances and time.monotonic() - self._answered < conf.health.bmc_interval:
            return None
        self._circumstances = None
        try:
            state = self._state(power_of(conf, self.context.database, peer))
        finally:
            if self._closed:
                self._let_go()
        if state is PowerState.UNKNOWN:
            return f"the BMC of {peer} does not know the machine's power state"
        self._circumstances, self._answered = circumstances, time.monotonic()
        return None

    def _state(self, fresh: PowerDriver) -> PowerState:
        """What the driver of the last look says; else what ``fresh`` says, which has no old connection."""
        kept, self._kept = self._kept, None
        if type(kept) is type(fresh) and kept is not None and kept.bmc == fresh.bmc:
            with contextlib.suppress(PowerError):  # it may be the connection that has ended, and not the BMC
                state = kept.state()
                self._kept = kept
                return state
        try:
            state = fresh.state()
            self._kept = fresh
            return state
        finally:
            for each in (kept, fresh):
                if each is not None and each is not self._kept:
                    each.close()

    def _let_go(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


class Software(HealthCheck):
    """The software on the disk is the one that runs."""

    def check(self) -> str | None:
        import json

        import ovca

        path = Path(self.context.conf.provision.root) / 'etc/ovca/installed.json'
        if not path.exists():
            return f'{path} is missing: this system was not put here by the installer'
        version = json.loads(path.read_bytes()).get('version')
        if version != ovca.__version__:
            return f'{path} says {version}, but {ovca.__version__} runs; restart the service'
        return None
