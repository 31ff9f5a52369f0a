"""Whether the appliance runs on one node only, since when, and why: then the next fault is an outage."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ovca.cluster.glance import PUT_BACK, recent
from ovca.cluster.nodes import silent_after
from ovca.db.engine import now as database_now
from ovca.db.models import Event, Node, Update
from ovca.remaster import conflicts, reading
from ovca.remaster.conflicts import stamp
from ovca.remaster.observe import last_wipe

if TYPE_CHECKING:
    from oslo_config import cfg


@dataclass(frozen=True)
class Alone:
    """One node serves, and the other could not take over."""

    node: str
    """The one that serves."""
    missing: str
    """The one that could not."""
    since: dt.datetime | None
    """None: it was never otherwise, or has just changed."""
    why: str
    update_id: int | None
    """The open update, which takes care of its nodes by itself."""

    def __str__(self) -> str:
        since = f', since {stamp(self.since)}' if self.since else ''
        return f'running on one node, {self.node}{since}: {self.why}'


@dataclass(frozen=True)
class Facts:
    """What is known of the node that does not serve."""

    name: str
    last_seen_at: dt.datetime | None
    silent: bool
    health: str
    problems: str
    unhealthy_since: dt.datetime | None
    quarantine: str | None
    """Its reason, None if the node is not quarantined."""
    quarantined_at: dt.datetime | None
    consumed_at: dt.datetime | None
    """When it was last given to an installer."""
    ahead: bool = False
    """It was last seen at a time that is still to come."""


def alone(session: Session, conf: cfg.ConfigOpts) -> Alone | None:
    """Return it, or None: both nodes are there, or none serves, or there is only one by configuration."""
    pair = (conf.cluster.node_name, conf.cluster.peer)
    leader = reading.master(session, conf.cluster.node_name)
    if not all(pair) or leader.holder is None or leader.holder not in pair or not leader.acting or leader.expired:
        return None
    missing = pair[1] if leader.holder == pair[0] else pair[0]
    causes = judge(_facts(session, conf, missing))
    if not causes:
        return None
    opened = conflicts.opened(session)
    number = opened.id if opened is not None else None
    why = causes[0][1] + (f'; update {number} is open' if number else '')
    since = min((moment for moment, _ in causes if moment), default=None)
    return Alone(leader.holder, missing, since, why, number)


def judge(facts: Facts) -> list[tuple[dt.datetime | None, str]]:
    """Return why this node could not take over, each with the time since when; what explains most comes first."""
    name, seen = facts.name, facts.last_seen_at
    found: list[tuple[dt.datetime | None, str]] = []
    if facts.quarantine is not None:
        found.append((facts.quarantined_at, f'{name} is quarantined ({facts.quarantine})'))
    if facts.consumed_at is not None and (seen is None or seen < facts.consumed_at):
        found.append((facts.consumed_at, f'{name} was wiped and is not back yet'))
    elif seen is None:
        found.append((None, f'{name} was never seen'))
    elif facts.silent and facts.ahead:
        found.append((None, f'{name} was last seen before {PUT_BACK}'))
    elif facts.silent:
        found.append((seen, f'{name} was last seen then'))
    elif facts.health == 'unhealthy':
        found.append((facts.unhealthy_since, f'{name} is unhealthy ({facts.problems})'))
    elif facts.health != 'healthy':
        found.append((None, f'{name} has just started'))
    return found


def _facts(session: Session, conf: cfg.ConfigOpts, name: str) -> Facts:
    node = session.get(Node, name)
    if node is None:
        return Facts(name, None, True, 'unknown', '', None, None, None, None)
    now = database_now(session)
    problems = '; '.join(f'{check}: {problem}' for check, problem in (node.health_detail or {}).items())
    reason = (node.quarantine_reason or 'no reason is known') if node.quarantined else None
    return Facts(
        name=name,
        last_seen_at=node.last_seen_at,
        silent=not recent(node.last_seen_at, now, silent_after(conf)),
        ahead=node.last_seen_at is not None and node.last_seen_at > now,
        health=node.health,
        problems=problems,
        unhealthy_since=node.unhealthy_since,
        quarantine=reason,
        quarantined_at=_quarantined_at(session, node) if node.quarantined else None,
        consumed_at=last_wipe(session, name),
    )


def _quarantined_at(session: Session, node: Node) -> dt.datetime | None:
    """When the update ended that a node is quarantined for, or another machine took its place."""
    reason = node.quarantine_reason or ''
    if reason.startswith('replaced by '):
        return session.scalar(select(func.max(Event.at)).where(Event.node == node.name, Event.kind == 'node'))
    ended = select(func.max(Update.finished_at))
    number = re.match(r'update (\d{1,18}): ', reason)
    return session.scalar(ended if number is None else ended.where(Update.id == int(number[1])))
