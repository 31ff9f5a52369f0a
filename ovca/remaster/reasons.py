"""Why an update changed its state, in a sentence for whoever has to mend it: the rule, and the facts behind it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db.models import Entry, Event, Node, Update
from ovca.remaster.protocol import Rule, State

ROLLED_BACK = ('rollback-back', 'rollback-late')
"""The rules that end a roll-back; why it began is what has to be told."""


def reason(session: Session, update: Update, rule: Rule, *, leader: str, target: str | None) -> str:
    """The rule's own words, with what is known of its cause."""
    if 'abort' in rule.id and update.abort_reason:
        return f'{rule.when}: {update.abort_reason}'
    if 'unhealthy' in rule.id:
        return rule.when + _problems(session, target or leader)
    if rule.id in ('first-used-up', 'second-used-up') and target is not None:
        return rule.when + _last_heard(session, update, target)
    if rule.id in ROLLED_BACK:
        return _rolled_back(session, update, rule)
    return rule.when


def _problems(session: Session, node: str) -> str:
    row = session.get(Node, node)
    problems = '; '.join(f'{name}: {text}' for name, text in ((row.health_detail if row else None) or {}).items())
    return f' ({node}: {problems})' if problems else ''


def _last_heard(session: Session, update: Update, node: str) -> str:
    entry = session.get(Entry, (update.id, node))
    if entry is None:
        return ''
    got = f' {entry.percent:.0f} %' if entry.step == 'installing' and entry.percent is not None else ''
    detail = f', {entry.step_detail}' if entry.step_detail else ''
    return f' (the last that was heard of {node}, attempt {entry.attempt}: {entry.step}{got}{detail})'


def _rolled_back(session: Session, update: Update, rule: Rule) -> str:
    query = select(Event.detail).where(Event.update_id == update.id, Event.to_state == State.ROLLBACK.value)
    why = session.scalars(query.order_by(Event.id.desc()).limit(1)).first()
    if why is None:
        return rule.when
    return why if rule.id == 'rollback-back' else f'{rule.when}; it was rolled back because: {why}'
