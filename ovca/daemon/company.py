"""Telling that the appliance runs on one node, once when it begins and once when it ends.

What was told stands in the journal, so a restart or a take-over repeats nothing. While an update is open it is not
told: the update takes a node away on purpose, and tells by itself what goes wrong. One that a person has paused tells
nothing, so then it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.cluster.lease import Lease
from ovca.db import events
from ovca.db.models import Event
from ovca.remaster import directives
from ovca.remaster.alone import Alone, alone
from ovca.remaster.conflicts import stamp
from ovca.remaster.directives import Kind
from ovca.remaster.observe import newest_update

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
BOTH, ALONE = 'both', 'alone'
"""How it was before, in ``from_state`` of the event."""


class Company:
    """Looks whether the other node is there; one thread calls :meth:`step`, and the protocol does not wait for it.

    It is told when it has lasted for the lease's ttl: a node that only restarts its service is no alarm.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        *,
        epoch: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.conf, self.lease = conf, lease
        self._epoch, self._clock = epoch, clock
        self.seen: Alone | None = None
        """As it was at the last look, on the standby too."""
        self._due = 0.0
        self._began: float | None = None
        self._told: tuple[int, Event | None] | None = None
        """The event that told of it last, as it was read or written under an epoch."""

    def step(self) -> None:
        """Look, and tell what changed. :raises DatabaseError: it cannot be read, or this node leads no more."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + float(self.conf.remaster.ready_age)
        epoch = self._epoch()
        with self.lease.database.read() as session:
            found = self.seen = alone(session, self.conf)
            if epoch is not None and (self._told is None or self._told[0] != epoch):
                self._told = (epoch, _last(session))
        self._began = None if found is None else self._began if self._began is not None else now
        if epoch is None or self._told is None:
            return
        last = self._told[1]
        told = last is not None and last.from_state == BOTH
        if found is None and last is not None and told:
            again = f'both nodes run again; this ends the alarm of {stamp(last.at)}'
            self._tell(epoch, self.conf.cluster.peer, ALONE, again)
        elif found is not None and not told and (found.update_id is None or self._paused()) and self._lasts(now):
            self._tell(epoch, found.missing, BOTH, str(found))

    def _lasts(self, now: float) -> bool:
        return self._began is not None and now - self._began >= self.conf.cluster.ttl

    def _paused(self) -> bool:
        """Whether the open update waits for a person: then nothing else tells that a node is gone."""
        with self.lease.database.read() as session:
            update = newest_update(session)
            return update is not None and directives.given(session, update.id, Kind.PAUSE) is not None

    def _tell(self, epoch: int, node: str, before: str, detail: str) -> None:
        with self.lease.fenced(epoch) as session:
            events.append(
                session, kind='alarm', node=node, actor=self.lease.node, epoch=epoch, from_state=before, detail=detail
            )
            session.flush()
            told = _last(session)
        self._told = (epoch, told)  # committed
        LOG.warning('%s', detail)


def _last(session: Session) -> Event | None:
    query = select(Event).where(Event.kind == 'alarm', Event.from_state.in_((BOTH, ALONE))).order_by(Event.id.desc())
    return session.scalars(query.limit(1)).one_or_none()
