"""What must be different in a database that was put back: it tells of nodes, locks and plans as they were once.

The protocol rests on facts that only grow, and on rows that only the living write. After a restore nobody leads, nobody
is ready, nothing is granted, and nothing is under way; and the next epoch is one that nobody has ever had.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from ovca.backup.record import Record
from ovca.cluster.lease import NAME
from ovca.db import events
from ovca.db.engine import now
from ovca.db.models import UNFINISHED, Directive, Event, InstallGrant, Lease, Node, Operation, Request, Update
from ovca.image.fetch import redacted

RESTORED = 'restored from a backup'
"""The reason of an update that ended because it was open in a backup."""
ABORTED, FORWARD = 'ABORTED', 'FAILED_FORWARD'


@dataclass(frozen=True)
class Aftermath:
    """What was changed in the rows that were put back."""

    epoch: int
    ended_update: int | None
    ended_as: str | None
    revoked_grants: int
    failed_requests: tuple[int, ...]


def highest_epoch(session: Session) -> int:
    """The highest epoch that any row knows of; the tables are there."""
    columns = (Lease.epoch, Lease.demoted_epoch, Node.epoch_seen, InstallGrant.epoch, Event.epoch, Request.taken_epoch)
    return max(session.scalar(select(func.max(column))) or 0 for column in columns)


def ending(*, proven: bool) -> str:
    """How an update ends that was open in a backup.

    What became of it is not known. After its commit point the new software is the one to trust, and says so; before it
    nothing is decided, and the old one is.
    """
    return FORWARD if proven else ABORTED


def settle(session: Session, record: Record, *, who: str, above: int) -> Aftermath:
    """Change the rows, in the transaction that has put them back; ``above`` is the highest epoch known otherwise."""
    epoch = max(highest_epoch(session), above) + 1
    _free_the_lease(session, epoch)
    _forget_the_living(session)
    revoked = _revoke(session)
    ended = _end_the_update(session, epoch, who)
    failed = _fail_requests(session)
    events.append(
        session,
        kind='database',
        actor=who,
        epoch=epoch,
        detail=f'{who} put the database back from backup {record.id}, made on {record.node} at '
        f'{record.created_at:%Y-%m-%dT%H:%M:%SZ}; what happened since then is not in it',
    )
    return Aftermath(epoch, ended[0], ended[1], revoked, failed)


def _free_the_lease(session: Session, epoch: int) -> None:
    if session.get(Lease, NAME) is None:
        session.add(Lease(name=NAME))
        session.flush()
    for lease in session.scalars(select(Lease)):
        lease.holder = lease.incarnation = lease.fence_proof = lease.renewed_at = None
        # A demotion would let the next holder act without a fence.
        lease.acting, lease.epoch, lease.demoted_epoch = False, epoch, 0


def _forget_the_living(session: Session) -> None:
    for node in session.scalars(select(Node)):
        node.boot_id = node.incarnation = node.role = node.health_detail = None
        node.healthy_since = node.unhealthy_since = None
        node.health, node.ready, node.epoch_seen = 'unknown', False, 0
        node.power_orders, node.power_ordered_at = 0, None
    session.execute(delete(Operation))


def _revoke(session: Session) -> int:
    open_grants = select(InstallGrant).where(InstallGrant.consumed_at.is_(None), InstallGrant.revoked_at.is_(None))
    grants = session.scalars(open_grants).all()
    for grant in grants:
        grant.revoked_at = now(session)
    return len(grants)


def _end_the_update(session: Session, epoch: int, who: str) -> tuple[int | None, str | None]:
    row = session.scalars(select(Update).where(Update.finished_at.is_(None))).one_or_none()
    if row is None:
        return None, None
    moment, before = now(session), row.state
    row.state = ending(proven=row.proven_at is not None)
    row.reason, row.finished_at, row.state_since, row.revision = RESTORED, moment, moment, row.revision + 1
    session.execute(
        update(Directive)
        .where(Directive.update_id == row.id, Directive.lifted_at.is_(None))
        .values(lifted_at=moment, lifted_by=RESTORED)
    )
    events.append(
        session,
        kind='state',
        update_id=row.id,
        actor=who,
        epoch=epoch,
        from_state=before,
        to_state=row.state,
        detail=RESTORED,
    )
    return row.id, row.state


def _fail_requests(session: Session) -> tuple[int, ...]:
    rows = session.scalars(select(Request).where(Request.state.in_(UNFINISHED)).order_by(Request.id)).all()
    for row in rows:
        row.state, row.error, row.exit_code = 'failed', f'{RESTORED}; ask again', 6
        row.finished_at = now(session)
        if row.args.get('uri'):
            row.args = {**row.args, 'uri': redacted(row.args['uri'])}  # a password in it is needed no more
    return tuple(row.id for row in rows)
