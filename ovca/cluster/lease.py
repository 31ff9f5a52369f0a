"""The lease: one row that says who is master, and under which epoch.

Every claim, re-claim and hand-over raises the epoch by one. Whatever a master changes, it changes in a
transaction that first locks this row and finds itself there (:meth:`Lease.fenced`); so a master that was
paused and replaced can write nothing when it wakes up. All times are the database's.

To hold the lease is not yet to act: a holder sets ``acting`` once it has proof that its predecessor cannot
act any more. A holder that gives up says so (:meth:`Lease.demote`), which is final for that epoch.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Label, Row, Select, Update, bindparam, func, select, update
from sqlalchemy.orm import Session

from ovca.db import events
from ovca.db.engine import Database, change, clock, rows
from ovca.db.models import Event, Node
from ovca.db.models import Lease as LeaseRow
from ovca.exceptions import LeaseLost

NAME = 'management'
_LEASE = LeaseRow.__table__.columns
_ROW = (
    select(LeaseRow)
    .where(LeaseRow.name == bindparam('lease'))
    .execution_options(populate_existing=True)
    .with_for_update()
)
_HELD = select(*_LEASE).where(_LEASE.name == bindparam('lease')).with_for_update()
"""The same for who only looks at it."""


@functools.cache
def _seen(now: ColumnElement[dt.datetime]) -> Select[Any]:
    """The lease together with the time."""
    return select(*_LEASE, now.label('now')).where(_LEASE.name == bindparam('lease'))


@functools.cache
def _prolong(now: ColumnElement[dt.datetime]) -> Update:
    """A renewal, if the row is still that of this run and epoch."""
    mine = (getattr(LeaseRow, name) == bindparam(f'its_{name}') for name in ('name', 'holder', 'incarnation', 'epoch'))
    return update(LeaseRow).where(*mine).values(renewed_at=now, ttl=bindparam('new_ttl'))


@functools.cache
def _named(now: ColumnElement[dt.datetime]) -> Label[dt.datetime]:
    return now.label('now')


CLAIMED = 'claimed the lease'
RENEWED = 'renewed {:.1f} s before'
"""Of a holder that had let the lease expire, when it was claimed."""
AGAIN = 'and nobody acted for {:.1f} s'
"""Of a holder that had stopped serving, and serves again under the same epoch."""


class LeaseExpired(LeaseLost):
    """The caller still holds the lease, but has let it expire: renew first."""


@dataclass(frozen=True)
class LeaseView:
    """The lease as it was at ``now``, by the database's clock."""

    holder: str | None
    incarnation: str | None
    epoch: int
    acting: bool
    fence_proof: str | None
    demoted_epoch: int
    renewed_at: dt.datetime | None
    ttl: float
    now: dt.datetime

    @property
    def expired(self) -> bool:
        """Nobody holds it, or the holder has not renewed it for its ttl.

        Nor has one by a time that is still to come: the database's clock was put back since, and who lives renews it.
        """
        if self.holder is None or self.renewed_at is None:
            return True
        return not -self.ttl <= (self.now - self.renewed_at).total_seconds() < self.ttl

    @property
    def demoted(self) -> bool:
        """The holder has given up this epoch; it serves again only under another."""
        return self.epoch > 0 and self.demoted_epoch == self.epoch

    @property
    def predecessor_demoted(self) -> bool:
        """The holder of the epoch before this one said that it serves no more, so nobody has to be fenced."""
        return self.demoted_epoch > 0 and self.demoted_epoch == self.epoch - 1

    def held_by(self, node: str, incarnation: str) -> bool:
        """Whether this very run of the node's service is the holder."""
        return self.holder == node and self.incarnation == incarnation


class Lease:
    """One node's hands on the lease: ``incarnation`` names this run of its service.

    Every method raises :exc:`LeaseLost` when the row does not say what the call needs, and
    :exc:`~ovca.exceptions.DatabaseUnavailable` when the outcome is not known: then read the row before going
    on.
    """

    def __init__(self, database: Database, node: str, incarnation: str, *, ttl: float, name: str = NAME) -> None:
        self.database, self.node, self.incarnation, self.ttl, self.name = (
            database,
            node,
            incarnation,
            ttl,
            name,
        )

    def ensure_row(self) -> None:
        """Insert the row, held by nobody, unless it is there."""
        with self.database.read() as session:
            if session.get(LeaseRow, self.name) is not None:
                return
        with self.database.write() as session:
            values = {'name': self.name, 'epoch': 0, 'acting': False, 'demoted_epoch': 0, 'ttl': self.ttl}
            if self.database.dialect == 'sqlite':
                from sqlalchemy.dialects.sqlite import insert as sqlite_insert

                session.execute(sqlite_insert(LeaseRow).values(values).on_conflict_do_nothing())
            else:
                from sqlalchemy.dialects.postgresql import insert as postgresql_insert

                session.execute(postgresql_insert(LeaseRow).values(values).on_conflict_do_nothing())

    def read(self, session: Session | None = None) -> LeaseView:
        """The lease now, without a lock; in the caller's transaction when one is given."""
        if session is None:
            with self.database.read() as own:
                return self.read(own)
        found = rows(session, _seen(clock(session)), {'lease': self.name}).one_or_none()
        if found is None:
            raise self._missing()
        return _view(found, found.now)

    def claim(self, seen: LeaseView) -> int:
        """Take the lease from a holder that has let it expire, or that never was; the new epoch.

        The new holder does not act yet. The row must still be as ``seen``: the caller has watched it
        unchanged for one ttl of its own clock.
        """
        with self.database.write() as session:
            row = self._row(session)
            view = self._view(session, row)
            before = (seen.holder, seen.incarnation, seen.epoch, seen.renewed_at)
            if (view.holder, view.incarnation, view.epoch, view.renewed_at) != before:
                raise LeaseLost(f'the lease has changed since it was watched; {_who(view)}; watch it anew')
            if not view.expired:
                raise LeaseLost(f'the lease has not expired; {_who(view)}; wait for its ttl of {view.ttl:g} s')
            age = None if view.renewed_at is None else (view.now - view.renewed_at).total_seconds()
            last = '' if age is None or not view.acting else f', {RENEWED.format(age)}'
            self._take(row, view)
            row.acting, row.fence_proof = False, None
            self._tell(session, row.epoch, f'{self.node} {CLAIMED}; before, {_who(view)}{last}')
            return row.epoch

    def reclaim(self) -> int:
        """Take up again what this node already holds, after a restart or after its demotion; the new epoch.

        Nobody else held it in between, so what was proven about the predecessor stays true and nobody is
        fenced. ``acting`` stays as well, but for a demoted holder, which has to call :meth:`set_acting` anew.
        """
        with self.database.write() as session:
            row = self._row(session)
            view = self._view(session, row)
            if view.holder != self.node:
                raise LeaseLost(f'{self.node} cannot re-claim the lease: {_who(view)}')
            if view.incarnation == self.incarnation and not view.demoted:
                raise LeaseLost(f'{self.node} has nothing to re-claim: it holds epoch {view.epoch}')
            if view.demoted:
                row.acting = False
            if row.fence_proof is None and view.predecessor_demoted:
                # The next epoch is two after the demoted one, so the fact would be forgotten.
                row.fence_proof = f'the holder of epoch {view.demoted_epoch} was demoted'
            self._take(row, view)
            self._tell(session, row.epoch, f'{self.node} re-claimed the lease after epoch {view.epoch}')
            return row.epoch

    def renew(self, epoch: int) -> LeaseView:
        """Prolong the lease by one ttl from now; an expired one too, if nobody has claimed it."""
        mine = {'its_name': self.name, 'its_holder': self.node, 'its_incarnation': self.incarnation, 'its_epoch': epoch}
        with self.database.write() as session:
            # If the row was locked, this time is that before the wait: it expires the sooner, never later.
            now = clock(session)
            done = change(session, _prolong(now), {**mine, 'new_ttl': self.ttl}, *_LEASE, _named(now))
            if done is None:
                raise self._not_mine(self.read(session), epoch)
            return _view(done, done.now)

    def set_acting(self, epoch: int, proof: str, *, off: str | None = None) -> None:
        """Begin to act; ``proof`` says how the caller knows that its predecessor cannot.

        ``off`` names a node that was seen to be off for this: nobody takes its row for ready any more.

        :raises LeaseExpired: renew first.
        """
        if not proof:
            raise ValueError('acting needs a proof that the predecessor cannot act')
        with self.database.write() as session:
            row = self._row(session)
            view = self._valid(self._mine(self._view(session, row), epoch))
            if view.demoted:
                raise LeaseLost(f'{self.node} gave up epoch {epoch}; re-claim the lease before acting again')
            row.acting, row.fence_proof = True, proof
            if off is not None:
                is_off(session, off)
            self._tell(session, epoch, f'{self.node} acts as master: {proof}')

    def serves_again(self, epoch: int, seconds: float, why: str) -> None:
        """Note that this node, which acts, had stopped serving for so long, and why."""
        with self.fenced(epoch) as session:
            self._tell(session, epoch, f'{self.node} serves again: {why}, {AGAIN.format(seconds)}')

    def alarm(self, epoch: int, detail: str, *, cause: str) -> None:
        """Write an alarm to the journal; the holder may do that before it acts.

        One that ends with the same ``cause``, an error's id, is not repeated until this node claims the lease anew; a
        re-claim, after a restart, is none.
        """
        mine = (Event.node == self.node, Event.detail.endswith(f'[{cause}]', autoescape=True))
        claim = Event.detail.startswith(f'{self.node} {CLAIMED}', autoescape=True)
        with self.database.write() as session:
            self._mine(self._view(session, self._row(session)), epoch)
            claimed = session.scalar(select(func.max(Event.id)).where(Event.kind == 'lease', claim)) or 0
            known = select(Event.id).where(Event.kind == 'alarm', Event.id > claimed, *mine)
            if session.scalars(known.limit(1)).first() is None:
                events.append(session, kind='alarm', detail=detail, node=self.node, epoch=epoch)

    def demote(self, epoch: int) -> None:
        """Give up acting, for good in this epoch; only after what the role started has been stopped.

        The next holder trusts this instead of fencing. So only a holder may say it that has proof about its
        own predecessor.
        """
        with self.database.write() as session:
            row = self._row(session)
            view = self._mine(self._view(session, row), epoch)
            if view.demoted:
                return
            if view.fence_proof is None:
                raise LeaseLost(
                    f'{self.node} holds epoch {epoch} without proof that its predecessor cannot act, '
                    f'so it cannot hand it over; fence first'
                )
            row.acting, row.demoted_epoch = False, epoch
            self._tell(session, epoch, f'{self.node} stopped acting')

    @contextmanager
    def fenced(self, epoch: int, *, acting: bool = True) -> Iterator[Session]:
        """A write transaction in which this run holds the lease with this epoch, and nobody can take it.

        With ``acting`` it must act as well. Committed at the end of the block; keep it short.

        :raises LeaseLost: it does not, or has given this epoch up.
        :raises LeaseExpired: it has to renew first.
        """
        with self.database.write() as session:
            view = self._valid(self._mine(self._held(session), epoch))
            if view.demoted_epoch >= epoch:
                raise LeaseLost(f'{self.node} gave up epoch {epoch}')
            if acting and not view.acting:
                raise LeaseLost(f'{self.node} holds epoch {epoch} but does not act')
            yield session

    @contextmanager
    def handing_over(self, epoch: int) -> Iterator[Session]:
        """Like :meth:`fenced`, for the holder that has given this epoch up and passes it on."""
        with self.database.write() as session:
            self._giver(session, self._row(session), epoch)
            yield session

    def hand_over(self, session: Session, epoch: int, to: str, to_incarnation: str) -> int:
        """Make another node's run the holder, inside :meth:`handing_over`; the epoch that it holds then.

        The receiver makes no claim: it finds itself in the row, sees the demotion of the epoch before its
        own, and sets ``acting``.
        """
        if to == self.node:
            raise ValueError(f'{to} cannot hand the lease over to itself')
        row = self._row(session)
        view = self._giver(session, row, epoch)
        row.holder, row.incarnation, row.epoch = to, to_incarnation, epoch + 1
        row.acting, row.fence_proof, row.renewed_at, row.ttl = False, None, view.now, self.ttl
        self._tell(session, epoch + 1, f'{self.node} handed the lease over to {to}')
        return epoch + 1

    def _row(self, session: Session) -> LeaseRow:
        # The lock, not a snapshot, keeps a stale holder out. SQLite took its only lock at BEGIN IMMEDIATE.
        row = session.execute(_ROW, {'lease': self.name}).scalar_one_or_none()
        if row is None:
            raise self._missing()
        return row

    def _held(self, session: Session) -> LeaseView:
        found = rows(session, _HELD, {'lease': self.name}).one_or_none()
        if found is None:
            raise self._missing()
        return _view(found, self.database.now(session))  # asked for after the row's lock, see below

    def _missing(self) -> LeaseLost:
        return LeaseLost(f'the database has no lease named {self.name}; start ovcad once to make it', id='no-lease')

    def _view(self, session: Session, row: LeaseRow) -> LeaseView:
        # Asked for after the row's lock, which may have been waited for.
        return _view(row, self.database.now(session))

    def _mine(self, view: LeaseView, epoch: int) -> LeaseView:
        if not view.held_by(self.node, self.incarnation) or view.epoch != epoch:
            raise self._not_mine(view, epoch)
        return view

    def _not_mine(self, view: LeaseView, epoch: int) -> LeaseLost:
        return LeaseLost(f'{self.node} does not hold epoch {epoch} of the lease: {_who(view)}')

    def _valid(self, view: LeaseView) -> LeaseView:
        if view.expired:
            raise LeaseExpired(f'{self.node} has let epoch {view.epoch} of the lease expire; renew it first')
        return view

    def _giver(self, session: Session, row: LeaseRow, epoch: int) -> LeaseView:
        view = self._valid(self._mine(self._view(session, row), epoch))
        if not view.demoted or view.acting:
            raise LeaseLost(f'{self.node} has not given up epoch {epoch}, so it cannot hand it over; demote first')
        return view

    def _take(self, row: LeaseRow, view: LeaseView) -> None:
        row.holder, row.incarnation, row.epoch = self.node, self.incarnation, view.epoch + 1
        row.renewed_at, row.ttl = view.now, self.ttl

    def _tell(self, session: Session, epoch: int, detail: str) -> None:
        events.append(session, kind='lease', detail=detail, node=self.node, epoch=epoch)


def is_off(session: Session, node: str) -> None:
    """Note in a node's row that it is off: what it said of itself before holds no more, until it says it again."""
    row = session.get(Node, node)
    if row is not None:
        row.ready, row.role, row.health, row.health_detail = False, 'standby', 'unknown', None
        row.healthy_since = row.unhealthy_since = None


def _view(row: LeaseRow | Row[Any], now: dt.datetime) -> LeaseView:
    return LeaseView(
        holder=row.holder,
        incarnation=row.incarnation,
        epoch=row.epoch,
        acting=row.acting,
        fence_proof=row.fence_proof,
        demoted_epoch=row.demoted_epoch,
        renewed_at=row.renewed_at,
        ttl=row.ttl,
        now=now,
    )


def _who(view: LeaseView) -> str:
    if view.holder is None:
        return 'nobody holds it'
    how = 'acting' if view.acting else 'demoted' if view.demoted else 'not acting'
    return f'{view.holder} holds epoch {view.epoch}, {how}, {"expired" if view.expired else "not expired"}'
