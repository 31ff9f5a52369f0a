"""Telling that the appliance runs on one node, and that its master is ill: once when it begins and once when it ends.

What was told stands in the journal, so a restart or a take-over repeats nothing. While an update is open it is not
told: the update takes a node away on purpose, judges the health of both, and tells by itself what goes wrong. One that
a person has paused tells nothing, so then it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.cluster.lease import Lease
from ovca.db import events
from ovca.db.models import Event, Node
from ovca.remaster import conflicts, directives
from ovca.remaster.alone import Alone, alone
from ovca.remaster.conflicts import stamp
from ovca.remaster.directives import Kind
from ovca.remaster.observe import newest_update

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
BOTH, ALONE = 'both', 'alone'
WELL, ILL = 'well', 'ill'
"""How it was before, in ``from_state`` of the event."""


@dataclass
class Matter:
    """Something that may be the case, and what was told of it."""

    before: str
    """``from_state`` of the event that tells that it begins."""
    after: str
    """... and that it ends."""
    began: float | None = None
    told: tuple[int, Event | None] | None = None
    """The event that told of it last, as it was read or written under an epoch."""

    def last(self, session: Session) -> Event | None:
        """That event."""
        either = Event.from_state.in_((self.before, self.after))
        query = select(Event).where(Event.kind == 'alarm', either).order_by(Event.id.desc())
        return session.scalars(query.limit(1)).one_or_none()


@dataclass(frozen=True)
class Found:
    """What is to be told of a matter now, if it lasts or if it was told before."""

    node: str
    begins: str | None
    """None: it is not the case."""
    ends: str | None
    """None: it is not known that it is over."""


class Company:
    """Looks whether the other node is there, and how this one is as master.

    One thread calls :meth:`step`, and the protocol does not wait for it.

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
        self._alone, self._ill = Matter(BOTH, ALONE), Matter(WELL, ILL)

    def step(self) -> float | None:
        """Look, and tell what changed; return after how many seconds to look again, None if there is no hurry.

        :raises DatabaseError: it cannot be read, or this node leads no more.
        """
        now = self._clock()
        if now < self._due:
            return self._due - now
        self._due = now + float(self.conf.remaster.ready_age)
        epoch = self._epoch()
        with self.lease.database.read() as session:
            found = self.seen = alone(session, self.conf)
            ill, opened = self._ill_now(session, alone=found is not None), conflicts.opened(session) is not None
            for matter in (self._alone, self._ill):
                if epoch is not None and (matter.told is None or matter.told[0] != epoch):
                    matter.told = (epoch, matter.last(session))
        peer, here = self.conf.cluster.peer, self.lease.node
        again = 'both nodes run again' if peer else f'{here} has no other node, [cluster] peer is not set'
        missing = Found(found.missing if found else peer or here, str(found) if found else None, again)
        self._follow(epoch, now, self._alone, missing, quiet=found is not None and found.update_id is not None)
        self._follow(epoch, now, self._ill, ill, quiet=opened)
        lasting = any(each.began is not None and not self._lasts(each, now) for each in (self._alone, self._ill))
        return float(self.conf.remaster.ready_age) if lasting else None

    def _ill_now(self, session: Session, *, alone: bool) -> Found:
        """What ails this node as master; ``alone``, it has nobody to hand over to."""
        here = self.lease.node
        node = session.get(Node, here)
        if node is None or node.role != 'master' or node.health != 'unhealthy':
            # One that has just started knows nothing of itself yet.
            well = node is not None and node.role == 'master' and node.health == 'healthy'
            return Found(here, None, f'the master, {here}, is healthy' if well else None)
        problems = '; '.join(f'{check}: {problem}' for check, problem in (node.health_detail or {}).items())
        since = f', since {stamp(node.unhealthy_since)}' if node.unhealthy_since else ''
        advice = 'mend that' if alone else 'mend that, or hand over: `ovca failover`'
        return Found(here, f'the master, {here}, is unhealthy{since} ({problems}); {advice}', None)

    def _follow(self, epoch: int | None, now: float, matter: Matter, found: Found, *, quiet: bool) -> None:
        """Tell it once when it begins, unless it is to be ``quiet`` for an update that goes on; and when it ends."""
        matter.began = None if found.begins is None else matter.began if matter.began is not None else now
        if epoch is None or matter.told is None:
            return
        last = matter.told[1]
        told = last is not None and last.from_state == matter.before
        if found.begins is None and found.ends is not None and last is not None and told:
            self._tell(
                epoch, matter, found.node, matter.after, f'{found.ends}; this ends the alarm of {stamp(last.at)}'
            )
        elif found.begins is not None and not told and (not quiet or self._paused()) and self._lasts(matter, now):
            self._tell(epoch, matter, found.node, matter.before, found.begins)

    def _lasts(self, matter: Matter, now: float) -> bool:
        return matter.began is not None and now - matter.began >= self.conf.cluster.ttl

    def _paused(self) -> bool:
        """Whether the open update waits for a person: then nothing else tells that a node is gone."""
        with self.lease.database.read() as session:
            update = newest_update(session)
            return update is not None and directives.given(session, update.id, Kind.PAUSE) is not None

    def _tell(self, epoch: int, matter: Matter, node: str, before: str, detail: str) -> None:
        with self.lease.fenced(epoch) as session:
            events.append(
                session, kind='alarm', node=node, actor=self.lease.node, epoch=epoch, from_state=before, detail=detail
            )
            session.flush()
            told = matter.last(session)
        matter.told = (epoch, told)  # committed
        LOG.warning('%s', detail)
