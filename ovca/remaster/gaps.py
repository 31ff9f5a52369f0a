"""How long nobody acted as master, from the journal."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db.models import Event


def last_gap(session: Session) -> float | None:
    """Seconds between the last demotion and the next master that acts; None where there was no such hand-over."""
    lease = select(Event).where(Event.kind == 'lease').order_by(Event.id.desc()).limit(8)
    acts = None
    for event in session.scalars(lease):
        if acts is None and ' acts as master' in event.detail:
            acts = event.at
        elif acts is not None and event.detail.endswith(' stopped acting'):
            return (acts - event.at).total_seconds()
    return None
