"""The journal: what happened, told in the transaction in which it happened."""

from __future__ import annotations

from typing import Final, Literal, get_args

from sqlalchemy.orm import Session

from ovca.db.engine import now
from ovca.db.models import Event, storable

Kind = Literal[
    'abort',
    'accepted',
    'alarm',
    'claim',
    'component',
    'continue',
    'database',
    'final',
    'grant-consumed',
    'grant-issued',
    'grant-refused',
    'hand-over',
    'image',
    'install-failed',
    'lease',
    'lock',
    'machine',
    'node',
    'pause',
    'power',
    'replace',
    'report',
    'site',
    'state',
    'waits',
    'warning',
    'written',
]
"""What an event can be about."""
KINDS: tuple[str, ...] = get_args(Kind)

REPLACED: Final = 'replace'
"""The kind of the event that another machine has taken a node's place."""
MACHINE: Final = 'machine'
"""The kind of the event that tells the BMC and the card of such a machine, as an operator has said them."""
NO_TAKE_OVER = 'no take-over: '
"""How an alarm begins of a node that holds the lease, and cannot see that the other one is off."""


def append(
    session: Session,
    *,
    kind: Kind,
    detail: str,
    update_id: int | None = None,
    node: str | None = None,
    from_state: str | None = None,
    to_state: str | None = None,
    epoch: int | None = None,
    actor: str | None = None,
) -> None:
    """Add one line, at the database's time; it is kept only if the caller's transaction is.

    ``node`` is whom it is about, ``actor`` who did it (the same, unless given). What no database takes in
    ``detail`` is escaped.
    """
    session.add(
        Event(
            kind=kind,
            detail=storable(detail),
            update_id=update_id,
            node=node,
            actor=actor if actor is not None else node or '',
            from_state=from_state,
            to_state=to_state,
            epoch=epoch,
            at=now(session),
        )
    )
