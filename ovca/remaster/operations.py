"""Operations: what somebody does that nothing else may disturb, as a lock on the whole appliance.

A command takes it with :func:`held`. One operation at a time is held, and none while an update is open; while it is
held, no update starts. Both are decided in a transaction that has locked the lease's row first, as every change of an
update has, so that the two cannot cross. A lock whose process has gone stays until an operator breaks it: nobody else
can know whether what it did was left half done.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from ovca.cluster import clock
from ovca.db import events
from ovca.db.engine import Database
from ovca.db.engine import now as database_now
from ovca.db.models import Lease, Operation
from ovca.exceptions import OvcaError, Refused
from ovca.remaster import conflicts
from ovca.remaster.conflicts import stamp

__all__ = ['Hold', 'OperationHeld', 'held']

LOG = logging.getLogger(__name__)
TABLE = Operation.__tablename__
UPDATE, IMAGES = 'update', 'images'
"""Names of locks that are no operations: the open update, and whoever works on the images."""
NAME = re.compile(r'[a-z][a-z0-9]*(-[a-z0-9]+)*')


class OperationHeld(Refused):
    """What was asked for has to wait for the end of an operation."""

    def __init__(self, name: str, owner: str, node: str, since: dt.datetime, why: str, what: str) -> None:
        super().__init__(
            f'{what} is refused: {owner} holds the operation {name} on {node} since {stamp(since)} ({why}); wait for '
            f'its end, `ovca lock-list` shows it'
        )


@dataclass(frozen=True)
class Hold:
    """An operation that this process holds; :meth:`check` is for one that takes long."""

    database: Database
    name: str
    node: str
    boot_id: str
    pid: int
    since: dt.datetime

    def check(self) -> None:
        """Go on only if nobody has broken the lock. :raises Refused: an operator has."""
        with self.database.read() as session:
            if self._row(session) is None:
                raise _broken(self.name)

    def _row(self, session: Session) -> Operation | None:
        """The row, if it is still this one: the same name may have been taken again by another."""
        found = session.get(Operation, self.name)
        mine = (self.node, self.boot_id, self.pid, self.since)
        if found is None or (found.node, found.boot_id, found.pid, found.taken_at) != mine:
            return None
        return found


@contextmanager
def held(database: Database, name: str, *, owner: str, node: str, why: str) -> Iterator[Hold]:
    """Hold an operation for the time of the block, also if that ends with an exception.

    ``name`` says what is done, in words with dashes; ``owner`` who asked for it, ``why`` what for, ``node`` where this
    process runs: others are told all of them. It is not taken twice, not even by the same process. If the process is
    killed, the lock stays, looks stale in ``ovca lock-list``, and ``ovca lock-break`` breaks it.

    :raises OperationHeld: an operation is held already. :raises UpdateOpen: an update is open.
    :raises Refused: the tables are those of older software; or, at the end, the lock was broken in between.
    :raises DatabaseUnavailable: the database cannot be used; at the end of the block, the lock may then stay.
    """
    if not NAME.fullmatch(name) or len(name) > 64 or name in (UPDATE, IMAGES):
        raise ValueError(f'{name!r} cannot be the name of an operation')
    hold = _take(database, name, owner=owner, node=node, why=why)
    try:
        yield hold
    except BaseException:
        try:
            _release(hold, owner)
        except OvcaError as exc:
            LOG.warning('the operation %s stays held, break it with `ovca lock-break %s`: %s', name, name, exc)
        raise
    if not _release(hold, owner):
        raise _broken(name)


def _take(database: Database, name: str, *, owner: str, node: str, why: str) -> Hold:
    with database.write() as session:
        if not known(session):
            raise Refused(
                'the database has the schema of older software, which knows no such lock; finish the last update, '
                'or see `ovca db-check`',
                id='schema-behind',
            )
        # The lease's row first, as everybody who changes an update does. Without one no update can begin.
        session.execute(select(Lease.name).with_for_update()).all()
        refuse(session, f'the operation {name}')
        hold = Hold(database, name, node, clock.boot_id(), os.getpid(), database_now(session))
        session.add(
            Operation(
                name=name,
                owner=owner,
                node=node,
                boot_id=hold.boot_id,
                pid=hold.pid,
                why=why,
                taken_at=hold.since,
            )
        )
        events.append(session, kind='lock', node=node, actor=owner, detail=f'{owner} holds {name}: {why}')
        return hold


def _release(hold: Hold, owner: str) -> bool:
    """Delete the row; return whether it was there."""
    with hold.database.write() as session:
        row = hold._row(session)
        if row is None:
            return False
        session.delete(row)
        events.append(session, kind='lock', node=hold.node, actor=owner, detail=f'{owner} has released {hold.name}')
        return True


def _broken(name: str) -> Refused:
    return Refused(
        f'the operation {name} was not held to its end, somebody broke its lock; see who in `ovca event-list --kind '
        f'lock`, and look for what may have crossed with it',
        id='lock-broken',
    )


def known(session: Session) -> bool:
    """Whether the table is there: new software works on the schema of the old, until an update is done."""
    seen = session.connection().info
    if not seen.get('ovca.operation'):
        seen['ovca.operation'] = inspect(session.connection()).has_table(TABLE)
    return bool(seen['ovca.operation'])


def rows(session: Session) -> list[Operation]:
    """The operations that are held, the oldest first."""
    return list(session.scalars(select(Operation).order_by(Operation.taken_at))) if known(session) else []


def refuse_held(session: Session, what: str) -> None:
    """Let something pass that no operation may see. :raises OperationHeld: one is held."""
    for row in rows(session):
        raise OperationHeld(row.name, row.owner, row.node, row.taken_at, row.why, what)


def refuse(session: Session, what: str) -> None:
    """Let something pass that needs the appliance for itself.

    To be sure until the end of the transaction, the caller has locked the lease's row.

    :raises UpdateOpen: an update is open. :raises OperationHeld: an operation is held.
    """
    conflicts.refuse_open(session, what)
    refuse_held(session, what)


def installable(session: Session, version: str | None) -> None:
    """Let the start of an update pass; the one that is open to the same version is not in its way.

    None is a version that is not known yet.

    :raises UpdateOpen: another one is open. :raises OperationHeld: an operation is held.
    """
    what = f'an update to {version}' if version else 'an update'
    opened = conflicts.opened(session)
    if opened is not None and version not in (None, opened.version):
        raise conflicts.UpdateOpen(opened, what)
    refuse_held(session, what)
