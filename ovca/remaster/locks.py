"""The locks that forbid something now, as operators see them; and how a stale one is broken."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.orm import Session

from ovca.cluster import clock
from ovca.db import events
from ovca.db.models import Node, Operation
from ovca.exceptions import Refused, UsageError
from ovca.image.store import Holder
from ovca.remaster import conflicts, operations
from ovca.remaster.conflicts import stamp
from ovca.remaster.operations import IMAGES, UPDATE


@dataclass(frozen=True)
class LockView:
    """A lock as operators see it."""

    name: str
    owner: str
    node: str
    since: dt.datetime | None
    why: str
    stale: bool
    detail: str
    """Why it is thought to be stale, or not."""


def runs(pid: int) -> bool:
    """Whether a process with this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def judge(
    row: Operation, *, here: bool, boot_id: str | None, last_seen: dt.datetime | None, runs: Callable[[int], bool]
) -> tuple[bool, str]:
    """Return whether a lock is stale, and why; ``here``: this machine is the one that it was taken on.

    ``boot_id`` is the present one of that node, None when it is not known. Stale is only what certainly is.
    """
    if boot_id is None:
        return False, f'nothing is known of {row.node}'
    if boot_id != row.boot_id:
        return True, f'{row.node} has started anew since'
    if here:
        alive = runs(row.pid)
        return not alive, f'process {row.pid} {"runs" if alive else "has ended"}'
    seen = f', last seen {stamp(last_seen)}' if last_seen else ''
    return False, f'process {row.pid} is on {row.node}{seen}; only there it can be seen'


def views(
    session: Session, *, here: str, boot_id: str | None = None, runs: Callable[[int], bool] = runs
) -> tuple[LockView, ...]:
    """The locks in the database: the open update, and the operations."""
    found = []
    if (opened := conflicts.opened(session)) is not None:
        why = f'{opened.first}, then {opened.second}, are updated to {opened.version}'
        found.append(LockView(UPDATE, opened.by, opened.second, opened.since, why, False, f'it is {opened.state}'))
    own = boot_id or clock.boot_id()
    for row in operations.rows(session):
        node = session.get(Node, row.node)
        present = own if row.node == here else node.boot_id if node else None
        seen = node.last_seen_at if node else None
        stale, detail = judge(row, here=row.node == here, boot_id=present, last_seen=seen, runs=runs)
        found.append(LockView(row.name, row.owner, row.node, row.taken_at, row.why, stale, detail))
    return tuple(found)


def of_images(holder: Holder) -> LockView:
    """The lock of whoever works on the images. It goes with its process, so it is never stale."""
    why = 'images are downloaded, deleted or taken up'
    return LockView(IMAGES, holder.owner, holder.node, holder.since, why, False, 'its process runs')


def breakable(locks: Sequence[LockView], name: str) -> LockView:
    """The lock to break. :raises UsageError: there is none. :raises Refused: it is not broken but ended."""
    lock = next((each for each in locks if each.name == name), None)
    if lock is None:
        names = ', '.join(each.name for each in locks) or 'none'
        raise UsageError(f'there is no lock {name!r}; held are: {names}', id='no-lock')
    _refuse_ended(lock)
    return lock


def _refuse_ended(lock: LockView) -> None:
    """Let only an operation's lock pass. :raises Refused: it is another one, which is ended and not broken."""
    told = f'the lock {lock.name}, held by {lock.owner}' + (f' since {stamp(lock.since)}' if lock.since else '')
    if lock.name == UPDATE:
        raise Refused(
            f'{told}, is the open update itself ({lock.why}) and is not broken; end it with `ovca update-abort`, which '
            f'shows first where that lands',
            id='lock-is-update',
        )
    if lock.name == IMAGES:
        raise Refused(
            f'{told}, goes when the process ends that works on the images; end a download with `ovca download-abort`',
            id='lock-is-images',
        )


def break_lock(
    session: Session, name: str, *, since: dt.datetime, certain: bool, here: str, who: str, epoch: int, reason: str = ''
) -> None:
    """Break a lock, and tell it in the journal; one that is gone already is no error.

    ``since`` says which: one that was taken anew meanwhile is another. ``certain``: the operator has confirmed that it
    is to be broken although it does not look stale.

    :raises Refused: it is the open update; it does not look stale; or it is another one by now.
    """
    lock = next((view for view in views(session, here=here) if view.name == name), None)
    if lock is None:
        return
    _refuse_ended(lock)
    if lock.since != since:
        raise Refused(
            f'the lock {name} was taken anew by {lock.owner} meanwhile; see `ovca lock-list`', id='lock-taken-anew'
        )
    if not lock.stale and not certain:
        raise Refused(
            f'the lock {name} of {lock.owner}, held since {stamp(since)}, does not look stale ({lock.detail}); wait '
            f'for its end, or break it with `ovca lock-break {name} --confirm {name}`',
            id='lock-alive',
        )
    session.execute(delete(Operation).where(Operation.name == name))
    events.append(
        session,
        kind='lock',
        node=lock.node,
        actor=who,
        epoch=epoch,
        detail=f'{who} broke the lock {name} of {lock.owner}, held since {stamp(since)} ({lock.why}); {lock.detail}'
        + ('' if lock.stale else '; it did not look stale, and the name was given once more')
        + (f'; {reason}' if reason else ''),
    )
