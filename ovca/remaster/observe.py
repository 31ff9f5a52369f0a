"""From rows to a :class:`~ovca.remaster.protocol.Situation`: what the acting master knows at one moment."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session

from ovca.cluster.glance import recent
from ovca.db.engine import clock, rows
from ovca.db.models import Directive, Entry, InstallGrant, Node, Update
from ovca.remaster import directives
from ovca.remaster.directives import Kind
from ovca.remaster.protocol import (
    BEFORE_COMMIT_ENDED,
    TARGET,
    WIPING,
    Grant,
    Health,
    Situation,
    Software,
    State,
    Verdict,
    Which,
)

if TYPE_CHECKING:
    from oslo_config import cfg

BOOTING = 'booting'
"""The step of a node that was told to install itself, and has not begun to."""


@dataclass(frozen=True)
class Limits:
    """The times of ``[remaster]``, in seconds, and the number of attempts."""

    soak: float
    prove_soak: float
    install_deadline: float
    verify_deadline: float
    prove_deadline: float
    rollback_deadline: float
    attempts: int
    grant_ttl: float
    order_interval: float
    ready_age: float
    unhealthy_limit: float
    alarm_percent: int
    power_orders: int
    hand_overs: int

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Limits:
        group = conf.remaster
        return cls(**{name: getattr(group, name) for name in cls.__dataclass_fields__})

    def deadline(self, state: State) -> float:
        """How long an update, or one attempt, may stay in ``state``."""
        return {
            State.PROVING: self.prove_deadline,
            State.ROLLBACK: self.rollback_deadline,
            State.VERIFY_1: self.verify_deadline,
            State.VERIFY_2: self.verify_deadline,
        }.get(state, self.install_deadline)

    def soft_limit(self, state: State) -> float:
        """Seconds after which a step in ``state`` takes long. To be healthy for as long as is asked for is not slow."""
        soak = {State.PROVING: self.prove_soak, State.VERIFY_1: self.soak, State.VERIFY_2: self.soak}.get(state, 0.0)
        return soak + self.alarm_percent / 100 * (self.deadline(state) - soak)


@dataclass(frozen=True)
class Observation:
    """A situation together with the rows that it was read from (detached: to read, not to change)."""

    situation: Situation
    update: Update
    target: str | None
    entry: Entry | None
    grant: InstallGrant | None
    peer: Node | None
    now: dt.datetime
    directives: tuple[Directive, ...] = ()
    slow: bool = False
    """The soft limit of the present step has passed."""

    def judged(self, *, checks: Verdict, stage_checks: Verdict, rehashed: Verdict) -> Observation:
        """The same with the results of the work that takes a while, which no row holds."""
        known = replace(self.situation, checks=checks, stage_checks=stage_checks, rehashed=rehashed)
        return replace(self, situation=known)

    def name(self, which: Which) -> str:
        """The pinned node's name."""
        return self.update.first if which is Which.FIRST else self.update.second


# Made once: they are asked for in nearly every pass of every thread.
_NEWEST = select(Update).order_by(Update.id.desc()).limit(1)
LAST_WIPE = select(func.max(InstallGrant.consumed_at)).where(
    InstallGrant.node == bindparam('name'), InstallGrant.consumed_at.is_not(None)
)
_WIPED_AT = LAST_WIPE.scalar_subquery()
WIPED = _WIPED_AT.is_not(None)
"""A grant to wipe this node was consumed once; else its disk is as it was installed at first."""
PROVED = (
    select(Entry.node)
    .where(
        Entry.node == bindparam('name'),
        Entry.final_digest == bindparam('runs'),
        Entry.final_at.is_not(None),
        or_(_WIPED_AT.is_(None), Entry.final_at >= _WIPED_AT),
    )
    .exists()
)
"""This node has proved to run this digest; a proof counts until the next grant is consumed."""
_PROVED = select(PROVED)
_PAIR = select(Node).where(or_(Node.name == bindparam('me'), Node.name == bindparam('peer')))
_ENTRIES = select(Entry).where(Entry.update_id == bindparam('number'))
_GRANTS = (
    select(InstallGrant)
    .where(InstallGrant.update_id == bindparam('number'), InstallGrant.node == bindparam('name'))
    .order_by(InstallGrant.id.desc())
)


@functools.cache
def _newest_and(now: ColumnElement[dt.datetime]) -> Select[Update, dt.datetime]:
    return select(Update, now).order_by(Update.id.desc()).limit(1)


def newest_update(session: Session) -> Update | None:
    """The open update, or else the last one that ended."""
    return session.scalars(_NEWEST).one_or_none()


def last_wipe(session: Session, node: str) -> dt.datetime | None:
    """When a grant to wipe this node was consumed last; None: never, so its disk is as it was installed at first."""
    moment: dt.datetime | None = rows(session, LAST_WIPE, {'name': node}).scalar()
    return moment


def proved(session: Session, node: str, digest: str) -> bool:
    """Whether this node has proved to run this digest; a proof counts until the next grant is consumed."""
    return bool(rows(session, _PROVED, {'name': node, 'runs': digest}).scalar_one())


def software(digest: str | None, update: Update) -> Software:
    """What a digest means in this update."""
    if digest is None:
        return Software.UNKNOWN
    if digest == update.digest:
        return Software.NEW
    return Software.OLD if digest == update.old_digest else Software.UNKNOWN


def fresh(node: Node | None, epoch: int, limits: Limits, now: dt.datetime) -> bool:
    """Whether a node's row speaks of the present: this epoch, and not older than ``ready_age``."""
    return node is not None and node.epoch_seen == epoch and recent(node.last_seen_at, now, limits.ready_age)


def health_of(node: Node, soak: float, limits: Limits, now: dt.datetime) -> Health:
    """A fresh row's health against the soak that is asked for."""
    if node.health == 'healthy' and node.healthy_since is not None:
        return Health.SOAKED if (now - node.healthy_since).total_seconds() >= soak else Health.PENDING
    if node.health == 'unhealthy' and node.unhealthy_since is not None:
        bad_for = (now - node.unhealthy_since).total_seconds()
        return Health.FAILED if bad_for >= limits.unhealthy_limit else Health.PENDING
    return Health.PENDING


def _as_master(own: Node | None, epoch: int, limits: Limits, now: dt.datetime) -> Health:
    """The leader's health since it leads: a soak that it spent as standby, or in another epoch, proves nothing."""
    if own is None or own.role != 'master' or not fresh(own, epoch, limits, now):
        return Health.PENDING
    return health_of(own, limits.prove_soak, limits, now)


def grant_status(grants: list[InstallGrant], epoch: int, now: dt.datetime) -> tuple[Grant, InstallGrant | None]:
    """The status of an attempt, from all its grants: a consumed one counts whatever its epoch."""
    for grant in grants:
        if grant.consumed_at is not None:
            if grant.failed:
                return Grant.FAILED, grant
            return (Grant.WRITTEN if grant.written_at else Grant.CONSUMED), grant
    for grant in grants:
        if grant.epoch == epoch and grant.revoked_at is None and grant.expires_at > now:
            return Grant.OPEN, grant
    return Grant.NONE, None


def last_start(entry: Entry | None) -> dt.datetime | None:
    """When the node was last seen to start, or was told to; None: never in this attempt."""
    if entry is None or entry.power_ordered_at is None:
        return None
    return max(entry.power_ordered_at, entry.step_at) if entry.step == BOOTING else entry.power_ordered_at


def step_began(update: Update, entry: Entry | None) -> dt.datetime:
    """When the present step's deadline began to run: with the state or attempt, anew with each percent installed.

    What is written goes on from its last percent: it reboots now, however long it took to be written.
    """
    if State(update.state) in WIPING and entry is not None and entry.step in ('installing', 'written'):
        return max(update.deadline_from, entry.step_at)
    return update.deadline_from


def observe(
    session: Session,
    *,
    me: str,
    epoch: int,
    running_digest: str | None,
    limits: Limits,
) -> Observation | None:
    """Return what is known of the update that needs a decision, or None when there is none.

    An update that ended before its commit point still needs one while the leader does not run the old software.
    """
    found = session.execute(_newest_and(clock(session))).one_or_none()
    if found is None:
        return None
    update, now = found
    if me not in (update.first, update.second):
        return None
    state = State(update.state)
    if state.ended and state not in BEFORE_COMMIT_ENDED:
        return None
    leader = Which.FIRST if me == update.first else Which.SECOND
    peer_name = update.second if leader is Which.FIRST else update.first
    nodes = {node.name: node for node in session.scalars(_PAIR, {'me': me, 'peer': peer_name})}
    own, peer = nodes.get(me), nodes.get(peer_name)
    target_which = TARGET.get(state)
    target = None if target_which is None else (update.first if target_which is Which.FIRST else update.second)
    entries = {e.node: e for e in session.scalars(_ENTRIES, {'number': update.id})}
    entry = entries.get(target) if target else None
    grants = list(session.scalars(_GRANTS, {'number': update.id, 'name': target})) if target else []
    attempt = entry.attempt if entry else 1
    status, grant = grant_status([g for g in grants if g.attempt == attempt], epoch, now)
    peer_fresh = fresh(peer, epoch, limits, now) and not _before_wipe(peer, grant)
    peer_runs = software(peer.running_digest, update) if peer and peer_fresh else Software.UNKNOWN
    leader_runs = software(running_digest, update)
    decided = directives.active(session, update.id)
    kinds = {row.kind for row in decided}
    lasts = (now - step_began(update, entry)).total_seconds()
    situation = Situation(
        state=state,
        leader=leader,
        leader_runs=leader_runs,
        leader_final=_final(entries.get(me), update),
        leader_final_before=leader_runs is Software.NEW and proved(session, me, update.digest),
        leader_health=_as_master(own, epoch, limits, now),
        peer_runs=peer_runs,
        peer_final=_final(entries.get(peer_name), update),
        peer_health=health_of(peer, limits.soak, limits, now) if peer and peer_fresh else Health.PENDING,
        peer_ready=bool(peer and peer_fresh and peer.ready),
        proven=update.proven_at is not None,
        grant=status,
        wiped=any(g.consumed_at is not None for g in grants),
        stage_checks=Verdict.PENDING,
        attempts_left=attempt < limits.attempts,
        resets_left=sum(e.power_orders for e in entries.values()) < limits.power_orders,
        hand_overs_left=update.handovers < limits.hand_overs,
        late=lasts > limits.deadline(state),
        abort=update.abort_requested_at is not None,
        paused=Kind.PAUSE in kinds,
        held=Kind.HOLD in kinds,
    )
    if situation.proven and leader is Which.FIRST:
        # A retry of the second node: the first was proved in the update that is retried.
        situation = _with_proof(situation, leader_runs)
    for row in (update, entry, grant, peer, *decided):
        if row is not None:
            session.expunge(row)
    counts = replace(situation, late=True).overdue
    slow = not state.ended and counts and lasts > limits.soft_limit(state)
    return Observation(situation, update, target, entry, grant, peer, now, tuple(decided), slow)


def _before_wipe(peer: Node | None, grant: InstallGrant | None) -> bool:
    """Whether a node's row is from before its newest grant was consumed: it tells of what was there then."""
    if peer is None or peer.last_seen_at is None or grant is None or grant.consumed_at is None:
        return False
    return grant.node == peer.name and peer.last_seen_at <= grant.consumed_at


def _with_proof(situation: Situation, runs: Software) -> Situation:
    return replace(situation, leader_final=situation.leader_final or runs is Software.NEW)


def _final(entry: Entry | None, update: Update) -> bool:
    return bool(
        entry and entry.final_at and entry.final_attempt == entry.attempt and entry.final_digest == update.digest
    )
