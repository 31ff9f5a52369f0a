"""What an open update has to tell people, each once: whether it was told is asked of the journal."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import func, or_, select

from ovca.cluster.lease import Lease
from ovca.db import events
from ovca.db.models import Event, Update


class Alarms:
    """The acting master's alarms about an update. A restart, and the next master, repeat none."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._known: set[tuple[int, dt.datetime, str]] = set()
        """What need not be looked for in the journal once more."""

    def once(
        self,
        epoch: int,
        update: Update,
        node: str | None,
        detail: str,
        *,
        kind: events.Kind = 'alarm',
        cause: str = '',
    ) -> bool:
        """Write it, unless it was written since the update entered its state; return whether it was written now.

        With a ``cause``, an error's id, all that ends with it is the same. Another machine in a node's place begins
        anew.

        :raises LeaseLost: this node does not act under the epoch.
        """
        key = (update.id, update.state_since, cause or detail)
        if key in self._known:
            return False
        of_update = Event.update_id == update.id
        entered = select(func.max(Event.id)).where(
            of_update, or_(Event.to_state.is_not(None), Event.kind == events.REPLACED)
        )
        same = Event.detail.endswith(f'[{cause}]', autoescape=True) if cause else Event.detail == detail
        known = select(Event.id).where(of_update, Event.kind == kind, Event.node == node, same)
        with self._lease.fenced(epoch) as session:
            new = session.scalars(known.where(Event.id > (session.scalar(entered) or 0)).limit(1)).first() is None
            if new:
                events.append(
                    session,
                    kind=kind,
                    update_id=update.id,
                    node=node,
                    actor=self._lease.node,
                    epoch=epoch,
                    detail=detail,
                )
        self._known.add(key)
        return new
