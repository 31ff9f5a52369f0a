"""What a run has left: the journal, the rows, the disks and the logs, read by code of its own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db.engine import Database
from ovca.db.models import Entry, Event, InstallGrant, Lease, Node, Request, Update
from ovca.lab.lab import Lab
from tests.faults import witness
from tests.faults.witness import Note

RECORD, EVIDENCE = 'etc/ovca/installed.json', 'var/lib/ovca/evidence.json'
WORD = re.compile(r'[A-Za-z0-9_-]{20,}')


@dataclass(frozen=True)
class Disk:
    """A node's disk. ``version`` is empty when it holds no system; ``wrong`` are the files that are not its image's."""

    version: str = ''
    digest: str = ''
    wrong: tuple[str, ...] = ()
    evidence: tuple[int, int, str] | None = None
    """Update, attempt, and the SHA-256 of the token."""


@dataclass(frozen=True)
class Wipe:
    """At ``at`` (seconds since 1970) a node's disk ceased to hold a system."""

    node: str
    at: float


@dataclass(frozen=True)
class Line:
    """A line of the journal; ``at`` in seconds since 1970."""

    id: int
    at: float
    kind: str
    node: str | None = None
    actor: str = ''
    epoch: int | None = None
    update: int | None = None
    from_state: str | None = None
    to_state: str | None = None
    detail: str = ''


@dataclass(frozen=True)
class GrantFact:
    """A grant to wipe a node."""

    update: int
    node: str
    attempt: int
    consumed_at: float | None
    evidence: str | None


@dataclass(frozen=True)
class NodeFact:
    """A node's row."""

    running_digest: str | None
    ready: bool
    quarantined: bool
    role: str | None


@dataclass(frozen=True)
class EntryFact:
    """A node's entry in the update."""

    node: str
    final: bool
    attempt: int | None
    digest: str | None


@dataclass(frozen=True)
class UpdateFact:
    """The row of the update."""

    id: int
    state: str
    digest: str
    old_digest: str | None
    first: str
    second: str
    finished: bool
    proven: bool


@dataclass(frozen=True)
class Facts:
    """All of it."""

    holder: str | None
    acting: bool
    epoch: int
    nodes: dict[str, NodeFact]
    disks: dict[str, Disk]
    update: UpdateFact | None
    entries: tuple[EntryFact, ...] = ()
    grants: tuple[GrantFact, ...] = ()
    journal: tuple[Line, ...] = ()
    notes: tuple[Note, ...] = ()
    serving: tuple[str, ...] = ()
    """Where the role runs at the end."""
    wipes: tuple[Wipe, ...] = ()
    both_blank: tuple[float, ...] = ()
    """When neither disk held a system."""
    epochs: tuple[int, ...] = ()
    """Of the lease, as it was seen again and again."""
    orders: dict[str, int] = field(default_factory=dict)
    """How often an installer said on a node's console that it wipes the disk."""
    told: tuple[str, ...] = ()
    """Where a secret was found."""


def collect(lab: Lab, database: Database, **seen: Any) -> Facts:
    """Read all that a run has left; ``seen`` is what was watched while it ran."""
    serving = tuple(n.name for n in lab.spec.nodes if witness.serving(lab.folder, n.name))
    with database.read() as session:
        found = _from_rows(session, serving=serving, **seen)
        hashes, texts = _hashes(session), list(_rows(session))
    # What takes long comes after the transaction: the server ends one that stands still.
    texts += _texts(lab)
    return replace(
        found,
        disks={node.name: read_disk(node.root, lab.spec.shared) for node in lab.spec.nodes},
        notes=witness.notes(lab.folder),
        orders={n.name: n.log.read_text(errors='replace').count('grant given: ') for n in lab.spec.nodes},
        told=tuple(told(texts, secrets(lab), hashes)),
    )


def _from_rows(session: Session, **seen: Any) -> Facts:
    lease = session.scalars(select(Lease)).one()
    update = session.scalars(select(Update).order_by(Update.id.desc()).limit(1)).one_or_none()
    rows = session.scalars(select(Node)).all()
    return Facts(
        holder=lease.holder,
        acting=lease.acting,
        epoch=lease.epoch,
        nodes={n.name: NodeFact(n.running_digest, n.ready, n.quarantined, n.role) for n in rows},
        disks={},
        update=_update(update),
        entries=tuple(
            EntryFact(e.node, e.final_at is not None, e.final_attempt, e.final_digest)
            for e in session.scalars(select(Entry))
            if update is not None and e.update_id == update.id
        ),
        grants=tuple(
            GrantFact(
                g.update_id,
                g.node,
                g.attempt,
                g.consumed_at.timestamp() if g.consumed_at else None,
                g.evidence_hash,
            )
            for g in session.scalars(select(InstallGrant))
        ),
        journal=tuple(map(_line, session.scalars(select(Event).order_by(Event.id)))),
        **seen,
    )


def _update(row: Update | None) -> UpdateFact | None:
    if row is None:
        return None
    return UpdateFact(
        row.id,
        row.state,
        row.digest,
        row.old_digest,
        row.first,
        row.second,
        row.finished_at is not None,
        row.proven_at is not None,
    )


def _line(e: Event) -> Line:
    return Line(
        e.id, e.at.timestamp(), e.kind, e.node, e.actor, e.epoch, e.update_id, e.from_state, e.to_state, e.detail
    )


def read_disk(root: Path, shared: Path) -> Disk:
    """Read a node's record, and hash its files against the list of the image that the record names."""
    try:
        record = json.loads((root / RECORD).read_bytes())
    except FileNotFoundError:
        return Disk()
    folder = shared / 'mgmt_image' / record['version']
    wrong = [name for name, right in _compared(root, folder) if not right]
    isos = [hashlib.sha256(iso.read_bytes()).hexdigest() for iso in folder.glob('*.iso')]
    if record['digest'] not in isos:
        wrong.append(f'{record["digest"]} is not the digest of {folder}')
    return Disk(record['version'], record['digest'], tuple(wrong), _evidence(root))


def _compared(root: Path, folder: Path) -> Iterator[tuple[str, bool]]:
    listing = json.loads((folder / 'files.json').read_bytes())['files']
    for entry in listing:
        tree, _, name = entry['path'].partition('/')
        if tree != 'mgmt_image':
            continue
        path = root / name
        if 'link' in entry:
            yield name, path.is_symlink() and str(path.readlink()) == entry['link']
        else:
            yield name, path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == entry['sha256']


def _evidence(root: Path) -> tuple[int, int, str] | None:
    try:
        found = json.loads((root / EVIDENCE).read_bytes())
    except FileNotFoundError:
        return None
    return found['update'], found['attempt'], hashlib.sha256(found['token'].encode()).hexdigest()


def secrets(lab: Lab) -> list[str]:
    """The secrets of a lab that are known in the clear."""
    password = re.search(r'://[^:@/]+:([^@]+)@', lab.spec.database)
    tokens = []
    for node in lab.spec.nodes:
        try:
            tokens.append(str(json.loads((node.root / EVIDENCE).read_bytes())['token']))
        except FileNotFoundError:
            continue
    return [lab.spec.bmc_password, *([password[1]] if password else []), *tokens]


def _hashes(session: Session) -> set[str]:
    """The SHA-256 of those that are known to the nodes only: boot tokens, nonces, evidence."""
    rows = session.execute(
        select(InstallGrant.boot_token_hash, InstallGrant.nonce_hash, InstallGrant.evidence_hash)
    ).all()
    return {found for row in rows for found in row if found}


def _texts(lab: Lab) -> Iterator[tuple[str, str]]:
    """What may be read by many: consoles, logs."""
    for path in [*(lab.folder / 'log').glob('*.log'), *(node.log for node in lab.spec.nodes)]:
        yield (
            path.name if path.parent.name == 'log' else f'the console of {path.parent.name}',
            path.read_text(errors='replace'),
        )


def _rows(session: Session) -> Iterator[tuple[str, str]]:
    for event in session.scalars(select(Event)):
        yield 'the journal', event.detail
    for request in session.scalars(select(Request)):
        yield 'a request', json.dumps([request.args, request.progress, request.result, request.error])
    for node in session.scalars(select(Node)):
        yield 'the row of a node', json.dumps([node.health_detail, node.bmc, node.address, node.quarantine_reason])


def told(texts: list[tuple[str, str]], clear: list[str], hashes: set[str]) -> Iterator[str]:
    """Where a secret stands that does not belong there; the secret itself is not shown."""
    for where, text in texts:
        if any(secret in text for secret in clear):
            yield f'{where} holds a secret in the clear'
        for word in set(WORD.findall(text)):
            if hashlib.sha256(word.encode()).hexdigest() in hashes:
                yield f'{where} holds a token that is kept as a hash only: {word[:4]}...'
