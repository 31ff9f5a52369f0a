"""What the rows say, as values that travel: read in one short transaction, safe to show.

Nothing here is secret: URIs come without user, password and query. The ages are by the database's clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ovca.db.engine import now as database_now
from ovca.db.models import Directive, Entry, Event, Image, InstallGrant, Lease, Node, Request, Update
from ovca.image.fetch import redacted
from ovca.remaster import directives as decisions
from ovca.remaster import retention
from ovca.remaster.protocol import State

SILENT = 'silent'
"""The health of a node that has not been heard of for a while, whatever it said last."""
WIPED = 'wiped'
"""The health of a node whose disk was given to an installer after it was last heard of: what it said is gone."""


@dataclass(frozen=True)
class MasterFacts:
    """Who is master, as seen on the node ``here``."""

    here: str
    holder: str | None = None
    epoch: int = 0
    acting: bool = False
    renewed_at: dt.datetime | None = None
    age: float | None = None
    """Seconds since the holder renewed the lease."""
    ttl: float = 0.0
    fence_proof: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether this node holds the lease."""
        return self.holder == self.here

    @property
    def expired(self) -> bool:
        """Whether nobody holds the lease, or its holder is silent for its ttl."""
        return self.holder is None or self.age is None or self.age >= self.ttl


@dataclass(frozen=True)
class NodeView:
    """A node as it last described itself, and what the lease says of it."""

    name: str
    kind: str
    role: str
    version: str | None
    digest: str | None
    health: str
    problems: dict[str, str]
    ready: bool
    last_seen_at: dt.datetime | None
    age: float | None = field(compare=False)
    """Seconds since the node was last seen."""
    quarantined: bool
    quarantine_reason: str | None
    address: str | None
    bmc: str | None
    bmc_source: str | None
    """``configuration``, or ``database`` for what an operator has set or the node has told."""
    mac: str | None
    mac_source: str | None
    boot_id: str | None


@dataclass(frozen=True)
class ImageView:
    """A published image."""

    version: str
    digest: str
    iso: str
    size: int
    signed_by: str | None
    source: str | None
    published_at: dt.datetime
    files_digest: str | None
    manifest: dict[str, Any]
    runs_on: tuple[str, ...]
    """The nodes that run it."""
    kept_because: str | None
    """Why it cannot be deleted; None if it can."""


@dataclass(frozen=True)
class EntryView:
    """A node's record in an update."""

    node: str
    version: str
    attempt: int
    step: str
    percent: float | None
    detail: str | None
    step_at: dt.datetime
    final_at: dt.datetime | None


@dataclass(frozen=True)
class UpdateView:
    """One run of the protocol."""

    id: int
    state: State
    version: str
    digest: str
    old_version: str | None
    old_digest: str | None
    first: str
    second: str
    retry_of: int | None
    created_at: dt.datetime
    created_by: str
    state_since: dt.datetime
    proven_at: dt.datetime | None
    abort_requested_at: dt.datetime | None
    abort_reason: str | None
    handovers: int
    reason: str | None
    finished_at: dt.datetime | None

    @property
    def reinstalls(self) -> bool:
        """Whether this run installs one node alone: its first node was proven from the beginning."""
        return self.retry_of is None and self.proven_at == self.created_at


@dataclass(frozen=True)
class EventView:
    """One line of the journal."""

    id: int
    at: dt.datetime
    node: str | None
    actor: str
    kind: str
    from_state: str | None
    to_state: str | None
    detail: str
    epoch: int | None = None
    update_id: int | None = None


@dataclass(frozen=True)
class DirectiveView:
    """What an operator decided about an update, and when that was lifted."""

    kind: str
    subject: str
    detail: str
    created_at: dt.datetime
    created_by: str
    lifted_at: dt.datetime | None
    lifted_by: str | None


@dataclass(frozen=True)
class RequestView:
    """What an operator asked for, and how far it is."""

    id: int
    kind: str
    args: dict[str, Any] = field(repr=False)
    """As they were given; a URI in it may hold a password, so it is not shown."""
    state: str
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    error: str | None
    exit_code: int | None
    created_at: dt.datetime
    created_by: str
    finished_at: dt.datetime | None
    cancel_requested: bool

    @property
    def ended(self) -> bool:
        """Whether it was carried out, or failed."""
        return self.state in ('done', 'failed')


@dataclass(frozen=True)
class Snapshot:
    """An update at one moment; ``events`` are those since the snapshot before it."""

    update: UpdateView
    entries: tuple[EntryView, ...]
    nodes: tuple[NodeView, ...]
    master: MasterFacts
    events: tuple[EventView, ...]
    now: dt.datetime
    directives: tuple[DirectiveView, ...] = ()
    """What operators have decided, and holds now."""
    told_by: str | None = None
    """The node whose service told this, while the database did not answer here; None: it was read."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What has to differ for a snapshot to be worth showing; that a node was seen again is not."""
        nodes = tuple((n.name, n.role, n.version, n.health, tuple(n.problems.items()), n.ready) for n in self.nodes)
        entries = tuple((e.node, e.attempt, e.step, e.percent, e.detail, e.final_at) for e in self.entries)
        leader = (self.master.holder, self.master.epoch, self.master.acting)
        return (self.update, entries, nodes, leader, self.directives, self.told_by)

    def entry(self, node: str) -> EntryView | None:
        """The node's record, if it has one yet."""
        return next((e for e in self.entries if e.node == node), None)


def master(session: Session, here: str) -> MasterFacts:
    """Return who is master; nobody, when the service never ran."""
    row = session.scalars(select(Lease).limit(1)).one_or_none()
    if row is None:
        return MasterFacts(here)
    age = (database_now(session) - row.renewed_at).total_seconds() if row.renewed_at else None
    return MasterFacts(here, row.holder, row.epoch, row.acting, row.renewed_at, age, row.ttl, row.fence_proof)


def nodes(session: Session, *, leader: MasterFacts, silent_after: float) -> tuple[NodeView, ...]:
    """Return all nodes by name. One that is not heard of for ``silent_after`` seconds is ``silent``, not healthy."""
    now = database_now(session)
    # For each node by itself: so the index gives the newest, however many there were.
    consumed = select(func.max(InstallGrant.consumed_at)).where(InstallGrant.node == Node.name).scalar_subquery()
    rows = session.execute(select(Node, consumed).order_by(Node.name))
    return tuple(_node(row, leader, silent_after, now, wiped_at) for row, wiped_at in rows)


def _node(
    row: Node, leader: MasterFacts, silent_after: float, now: dt.datetime, consumed: dt.datetime | None
) -> NodeView:
    age = (now - row.last_seen_at).total_seconds() if row.last_seen_at else None
    silent = age is None or age > silent_after
    wiped = consumed is not None and (row.last_seen_at is None or row.last_seen_at < consumed)
    role = '-' if silent or wiped else 'standby'
    if row.name == leader.holder:
        role = 'master' if leader.acting and not leader.expired else 'claiming'
    return NodeView(
        name=row.name,
        role=role,
        version=None if wiped else row.running_version,
        digest=None if wiped else row.running_digest,
        health=WIPED if wiped else SILENT if silent and age is not None else row.health,
        problems={} if wiped else {str(k): str(v) for k, v in (row.health_detail or {}).items()},
        ready=row.ready and not silent and not wiped,
        last_seen_at=row.last_seen_at,
        age=age,
        quarantined=row.quarantined,
        quarantine_reason=row.quarantine_reason,
        address=row.address,
        kind=row.kind,
        bmc=redacted(row.bmc) if row.bmc else None,
        bmc_source='database' if row.bmc else None,
        mac=row.mac,
        mac_source='database' if row.mac else None,
        boot_id=row.boot_id,
    )


def images(session: Session) -> list[ImageView]:
    """Return all published images, the newest first."""
    running: dict[str, list[str]] = {}
    for node in session.scalars(select(Node).order_by(Node.name)):
        if node.running_digest:
            running.setdefault(node.running_digest, []).append(node.name)
    kept = retention.read(session)
    rows = session.scalars(select(Image).order_by(Image.published_at.desc(), Image.version))
    return [
        ImageView(
            version=row.version,
            digest=row.digest,
            iso=row.iso,
            size=row.size,
            signed_by=row.signed_by,
            source=redacted(row.source) if row.source else None,
            published_at=row.published_at,
            files_digest=row.files_digest,
            manifest=row.manifest,
            runs_on=tuple(running.get(row.digest, ())),
            kept_because=kept.get(row.version),
        )
        for row in rows
    ]


def update(row: Update) -> UpdateView:
    """Return an update's row as a value."""
    return UpdateView(
        id=row.id,
        state=State(row.state),
        version=row.version,
        digest=row.digest,
        old_version=row.old_version,
        old_digest=row.old_digest,
        first=row.first,
        second=row.second,
        retry_of=row.retry_of,
        created_at=row.created_at,
        created_by=row.created_by,
        state_since=row.state_since,
        proven_at=row.proven_at,
        abort_requested_at=row.abort_requested_at,
        abort_reason=row.abort_reason,
        handovers=row.handovers,
        reason=row.reason,
        finished_at=row.finished_at,
    )


def entries(session: Session, update: UpdateView) -> tuple[EntryView, ...]:
    """Return the nodes' records, in the order of installation."""
    rows = session.scalars(select(Entry).where(Entry.update_id == update.id))
    views = (
        EntryView(e.node, e.version, e.attempt, e.step, e.percent, e.step_detail, e.step_at, e.final_at) for e in rows
    )
    return tuple(sorted(views, key=lambda e: (e.node != update.first, e.node)))


def events(session: Session, update_id: int, after: int = 0) -> tuple[EventView, ...]:
    """Return the journal of an update, after the event with the number ``after``."""
    rows = session.scalars(select(Event).where(Event.update_id == update_id, Event.id > after).order_by(Event.id))
    return tuple(map(_event, rows))


def changes(session: Session, update_id: int) -> tuple[EventView, ...]:
    """Return the changes of state of an update, in order."""
    query = select(Event).where(Event.update_id == update_id, Event.to_state.is_not(None)).order_by(Event.id)
    return tuple(map(_event, session.scalars(query)))


def last_events(session: Session, update_id: int, limit: int) -> tuple[EventView, ...]:
    """Return the newest events of an update, at most ``limit``; the newest stands last."""
    query = select(Event).where(Event.update_id == update_id).order_by(Event.id.desc()).limit(limit)
    return tuple(reversed([_event(row) for row in session.scalars(query)]))


def lease_events(session: Session, since: int, until: int | None) -> tuple[EventView, ...]:
    """Return what the journal tells of the lease between two events, by their numbers; None: until now."""
    query = select(Event).where(Event.id >= since, Event.kind == 'lease').order_by(Event.id)
    if until is not None:
        query = query.where(Event.id <= until)
    return tuple(map(_event, session.scalars(query)))


def directives(session: Session, update_id: int, *, holding: bool = False) -> tuple[DirectiveView, ...]:
    """Return what operators have decided about an update, in order; with ``holding`` only what holds now."""
    if not decisions.known(session):
        return ()
    query = select(Directive).where(Directive.update_id == update_id).order_by(Directive.id)
    if holding:
        query = query.where(Directive.lifted_at.is_(None))
    return tuple(
        DirectiveView(d.kind, d.subject, d.detail, d.created_at, d.created_by, d.lifted_at, d.lifted_by)
        for d in session.scalars(query)
    )


def journal(
    session: Session,
    *,
    update_id: int | None = None,
    kind: str | None = None,
    node: str | None = None,
    since: dt.datetime | None = None,
    limit: int,
) -> tuple[EventView, ...]:
    """Return the newest events that fit, at most ``limit`` of them; the newest stands last."""
    query = select(Event).order_by(Event.id.desc()).limit(limit)
    for column, wanted in ((Event.update_id, update_id), (Event.kind, kind), (Event.node, node)):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        # Numbers and times grow together; by time its index is of use, and nothing older is looked at.
        query = query.where(Event.at >= since).order_by(None).order_by(Event.at.desc(), Event.id.desc())
    return tuple(reversed([_event(row) for row in session.scalars(query)]))


def _event(row: Event) -> EventView:
    return EventView(
        id=row.id,
        at=row.at,
        node=row.node,
        actor=row.actor,
        kind=row.kind,
        from_state=row.from_state,
        to_state=row.to_state,
        detail=row.detail,
        epoch=row.epoch,
        update_id=row.update_id,
    )


def request(row: Request) -> RequestView:
    """Return a request's row as a value."""
    return RequestView(
        id=row.id,
        kind=row.kind,
        args=dict(row.args),
        state=row.state,
        progress=row.progress,
        result=row.result,
        error=row.error,
        exit_code=row.exit_code,
        created_at=row.created_at,
        created_by=row.created_by,
        finished_at=row.finished_at,
        cancel_requested=row.cancel_requested,
    )


@dataclass(frozen=True)
class DownloadView:
    """A download, or the download that an update begins with; rates and times only while it runs."""

    id: int
    kind: str
    state: str
    """``waiting``, ``running``, ``aborting``, ``done`` or ``failed``."""
    source: str | None
    """Without secrets."""
    stage: str | None
    done_bytes: int | None
    total_bytes: int | None
    bytes_per_second: int | None
    seconds_left: int | None
    created_at: dt.datetime
    created_by: str
    error: str | None


def download(row: Request) -> DownloadView:
    """Return a request's row as the download that it is."""
    running, progress = row.state == 'running', row.progress or {}
    uri = row.args.get('uri')
    return DownloadView(
        id=row.id,
        kind=row.kind,
        state='aborting' if running and row.cancel_requested else 'waiting' if row.state == 'open' else row.state,
        source=redacted(uri) if uri else None,
        stage=progress.get('stage'),
        done_bytes=progress.get('done'),
        total_bytes=progress.get('total'),
        bytes_per_second=progress.get('bytes_per_second') if running else None,
        seconds_left=progress.get('seconds_left') if running else None,
        created_at=row.created_at,
        created_by=row.created_by,
        error=row.error,
    )


def wiped(session: Session, update_id: int, nodes: Sequence[str]) -> bool:
    """Whether a grant to wipe one of these nodes was consumed in this update."""
    query = select(InstallGrant.id).where(
        InstallGrant.update_id == update_id, InstallGrant.node.in_(nodes), InstallGrant.consumed_at.is_not(None)
    )
    return session.scalars(query.limit(1)).first() is not None
