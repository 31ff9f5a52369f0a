"""Reads rows in one short transaction, and makes of them the values of :mod:`ovca.remaster.views`.

Nothing here is secret: URIs come without user, password and query. The ages are by the database's clock.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from ovca.cluster.glance import recent
from ovca.db.engine import clock
from ovca.db.engine import now as database_now
from ovca.db.models import Directive, Entry, Event, Image, InstallGrant, Lease, Node, Request, Update
from ovca.image.fetch import redacted
from ovca.remaster import directives as decisions
from ovca.remaster import retention
from ovca.remaster.protocol import State
from ovca.remaster.views import (
    SILENT,
    WIPED,
    DirectiveView,
    DownloadView,
    EntryView,
    EventView,
    ImageView,
    MasterFacts,
    NodeView,
    RequestView,
    UpdateView,
)


@functools.cache
def _lease(now: ColumnElement[dt.datetime]) -> Select[Lease, dt.datetime]:
    return select(Lease, now).limit(1)


def master(session: Session, here: str) -> MasterFacts:
    """Return who is master; nobody, when the service never ran."""
    found = session.execute(_lease(clock(session))).one_or_none()
    if found is None:
        return MasterFacts(here)
    row, now = found
    age = (now - row.renewed_at).total_seconds() if row.renewed_at else None
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
    silent = not recent(row.last_seen_at, now, silent_after)
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


def download(row: Request) -> DownloadView:
    """Return a request's row as the download that it is."""
    running, progress = row.state == 'running', row.progress or {}
    uri = row.args.get('uri')
    moment = (progress.get('total') or 2) <= 1  # as publishing: a stage without an amount
    return DownloadView(
        id=row.id,
        kind=row.kind,
        state='aborting' if running and row.cancel_requested else 'waiting' if row.state == 'open' else row.state,
        source=redacted(uri) if uri else None,
        stage=progress.get('stage'),
        done_bytes=None if moment else progress.get('done'),
        total_bytes=None if moment else progress.get('total'),
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
