"""What operators decide about an update while it runs: pause, hold before the commit point, accept a warning.

A directive is a row that holds until it is lifted. Only the acting master's service writes one, in the transaction that
changes the update, and the loop reads them afresh in each pass.
"""

from __future__ import annotations

import enum

from sqlalchemy import bindparam, inspect, select
from sqlalchemy.orm import Session

from ovca.db.engine import now as database_now
from ovca.db.models import Directive, Update
from ovca.exceptions import Refused

TABLE = Directive.__tablename__
_ACTIVE = (
    select(Directive)
    .where(Directive.update_id == bindparam('number'), Directive.lifted_at.is_(None))
    .order_by(Directive.id)
)  # made once: each pass of the loop says it


class Kind(enum.StrEnum):
    """What a directive says."""

    PAUSE = 'pause'
    """The update goes no further than the stage that it is in."""
    HOLD = 'hold-before-commit'
    """It stops before its commit point until somebody continues it."""
    ACCEPT = 'accept'
    """A check's warning is accepted; the subject is the check's id."""
    REINSTALL = 'reinstall'
    """This run re-installs one node with the software that the master runs; the subject is the node."""
    DOWNGRADE = 'downgrade'
    """The operator asked for an older version than the one that ran."""


def known(session: Session) -> bool:
    """Whether the table is there: new software works on the schema of the old, until an update is done."""
    seen = session.connection().info
    if not seen.get('ovca.directive'):
        seen['ovca.directive'] = inspect(session.connection()).has_table(TABLE)
    return bool(seen['ovca.directive'])


def active(session: Session, update_id: int) -> list[Directive]:
    """The directives of an update that hold now, the oldest first."""
    if not known(session):
        return []
    return list(session.scalars(_ACTIVE, {'number': update_id}))


def given(session: Session, update_id: int, kind: Kind) -> Directive | None:
    """The newest directive of a kind that holds now."""
    return next((row for row in reversed(active(session, update_id)) if row.kind == kind), None)


def give(session: Session, update: Update, kind: Kind, who: str, *, subject: str = '', detail: str = '') -> bool:
    """Write a directive, unless the same one holds already; return whether it was written.

    :raises Refused: the database's schema is that of older software, which would not heed it.
    """
    if not known(session):
        raise Refused(
            'the database has the schema of older software, which knows no such decision; finish the last update, '
            'or see `ovca db-check`',
            id='schema-behind',
        )
    if any(row.kind == kind and row.subject == subject for row in active(session, update.id)):
        return False
    session.add(
        Directive(
            update_id=update.id,
            kind=kind.value,
            subject=subject,
            detail=detail,
            created_at=database_now(session),
            created_by=who,
        )
    )
    return True


def lift(session: Session, update: Update, kinds: tuple[Kind, ...], who: str) -> list[Directive]:
    """End the directives of these kinds; return them."""
    rows = [row for row in active(session, update.id) if row.kind in kinds]
    for row in rows:
        row.lifted_at, row.lifted_by = database_now(session), who
    return rows
