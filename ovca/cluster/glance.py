"""One look at all that can give a service something to do: while it stays the same, nobody has to read more.

Each thread is level-triggered and reads afresh what it decides on. The glance only tells when that is worth it, so it
says nothing but numbers that change with the rows; a thread that it does not wake looks by itself, only rarely.
"""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Label, Row, Select, func, select
from sqlalchemy.orm import Session, aliased

from ovca.db.engine import clock, rows
from ovca.db.models import WAITING, Event, Lease, Node, Request, Update

PUT_BACK = 'the clock of the database was put back'


def recent(moment: dt.datetime | None, now: dt.datetime, within: float) -> bool:
    """Whether something was there in the last so many seconds, both times being the database's.

    A time that is still to come is of a clock that was put back: who lives has given another one since.
    """
    return moment is not None and -within <= (now - moment).total_seconds() <= within


@dataclass(frozen=True)
class Glance:
    """What was there at ``now``, by the database's clock; None where there is no such row."""

    now: dt.datetime
    holder: str | None
    epoch: int | None
    acting: bool | None
    update: int | None
    """The newest one."""
    revision: int | None
    state: str | None
    finished_at: dt.datetime | None
    request: int | None
    """The oldest one that is not done."""
    event: int | None
    """The newest one."""
    peer: str | None
    """The run of the other node's service; None as well when no peer is configured."""
    peer_seen_at: dt.datetime | None
    peer_health: str | None
    peer_ready: bool | None
    peer_quarantined: bool | None

    @property
    def open(self) -> bool:
        """Whether an update is open."""
        return self.update is not None and self.finished_at is None

    def heard(self, within: float) -> bool:
        """Whether the other node was heard of in the last so many seconds."""
        return recent(self.peer_seen_at, self.now, within)

    def well(self, within: float) -> bool:
        """Whether the other node was heard of, and could take over."""
        return (
            self.heard(within) and self.peer_health == 'healthy' and bool(self.peer_ready) and not self.peer_quarantined
        )

    def same(self, other: Glance | None, *, within: float) -> bool:
        """Whether nothing has changed but the time, and the other node is heard of (or not) as before."""
        if other is None or self.heard(within) is not other.heard(within):
            return False
        return replace(self, now=other.now, peer_seen_at=other.peer_seen_at) == other


def columns(session: Session, peer: str | None) -> list[Label[Any]]:
    """What to select, in whatever statement, to make a :class:`Glance` of it."""
    return _made_of(clock(session), peer)


def look(session: Session, peer: str | None) -> Glance:
    """Read it by a statement of its own."""
    return made(rows(session, _look(clock(session), peer)).one())


# Made once: each sign of life needs them, and to make them takes longer than to ask the database.
@functools.cache
def _look(now: ColumnElement[dt.datetime], peer: str | None) -> Select[Any]:
    return select(*_made_of(now, peer))


@functools.cache
def _made_of(now: ColumnElement[dt.datetime], peer: str | None) -> list[Label[Any]]:
    newest = select(func.max(Update.id)).scalar_subquery()
    other = aliased(Node)
    wanted: dict[str, ColumnElement[Any]] = {'now': now}
    for name in ('holder', 'epoch', 'acting'):
        wanted[name] = select(getattr(Lease, name)).limit(1).scalar_subquery()
    wanted['update'] = newest
    for name in ('revision', 'state', 'finished_at'):
        wanted[name] = select(getattr(Update, name)).where(Update.id == newest).scalar_subquery()
    wanted['request'] = select(func.min(Request.id)).where(WAITING).scalar_subquery()
    wanted['event'] = select(func.max(Event.id)).scalar_subquery()
    for name, column in (
        ('peer', other.incarnation),
        ('peer_seen_at', other.last_seen_at),
        ('peer_health', other.health),
        ('peer_ready', other.ready),
        ('peer_quarantined', other.quarantined),
    ):
        wanted[name] = select(column).where(other.name == peer).scalar_subquery()
    return [element.label(name) for name, element in wanted.items()]


def made(row: Row[Any]) -> Glance:
    """The glance that such a selection returned."""
    return Glance(**row._mapping)
