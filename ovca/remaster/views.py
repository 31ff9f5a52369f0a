"""What the rows say, as values that travel: safe to show, and the same on every node.

Nothing here is secret: URIs come without user, password and query. The ages are by the database's clock.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from ovca.cluster.glance import PUT_BACK
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
        return self.holder is None or self.age is None or not -self.ttl <= self.age < self.ttl

    @property
    def unrenewed(self) -> str:
        """For how long the lease was not renewed, as the end of a sentence that says that."""
        if self.age is None:
            return 'at all'
        return f'for {self.age:.0f} s' if self.age >= 0 else f'since {PUT_BACK}'


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
