"""A node proves what it runs, and finalises its own entry: the code that a re-installed node re-enters.

"The service started" proves nothing. The proof is: the digest in the installed record is the pinned one, every file of
the system is as the pinned image vouches, and this attempt's token, which the installer wrote last, is on the disk.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ovca.db import events
from ovca.db.engine import Database
from ovca.db.models import Entry, Image, InstallGrant, Lease, Node, Update
from ovca.exceptions import ImageError, OvcaError
from ovca.provision.putback import REPORT
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import ENDED

if TYPE_CHECKING:
    from oslo_config import cfg

INSTALLED = 'etc/ovca/installed.json'
EVIDENCE = 'var/lib/ovca/evidence.json'


@dataclass(frozen=True)
class Installed:
    """What is on this node's disk, as its installer recorded it."""

    version: str
    digest: str
    files_digest: str | None


class UnreadableRecord(OvcaError):
    """A record on this node's disk is torn; it never counts as "nothing installed"."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f'{path} cannot be read: {cause}; re-install this node, or restore the file')


class EvidenceRefused(OvcaError):
    """What this node can show does not prove the install."""


def installed(root: Path) -> Installed | None:
    """Return the installed record below ``root``; None when there is none.

    :raises UnreadableRecord: it is there and torn.
    """
    data = _record(root / INSTALLED)
    if data is None:
        return None
    try:
        return Installed(str(data['version']), str(data['digest']), data.get('files_digest'))
    except KeyError as exc:
        raise UnreadableRecord(root / INSTALLED, f'{exc} is missing') from exc


def _record(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise UnreadableRecord(path, str(exc)) from exc
    if not isinstance(data, dict):
        raise UnreadableRecord(path, 'it holds no object')
    return data


def differing(root: Path, shared_storage: Path, version: str, files_digest: str | None) -> list[str]:
    """Return the paths below ``root`` that are not as the published image of ``version`` says.

    :raises ImageError: the image's file list cannot be read, or is not the one that its manifest vouches for.
    """
    from ovca.image import verify_root

    listing = shared_storage / 'mgmt_image' / version / 'files.json'
    try:
        found = hashlib.sha256(listing.read_bytes()).hexdigest()
        if files_digest is not None and found != files_digest:
            raise ImageError(
                f'{listing} has digest {found}, not {files_digest}; download {version} again', id='image-differs'
            )
        bad = verify_root(root, listing)
    except OSError as exc:
        raise ImageError(f'{listing} cannot be read: {exc}; download {version} again', id='image-unreadable') from exc
    replaced = _replaced(root)
    return [path for path in map(str, bad) if path.partition('/')[2] not in replaced]


def _replaced(root: Path) -> set[str]:
    """The image's files in whose place the installer put the site's own; they are not the image's to judge."""
    report = _record(root / REPORT) or {}
    return {str(path) for path in report.get('replaced', ())}


def given(root: Path) -> bool:
    """Whether an installer has left a proof on this disk, legible or not; it does so before what it installs starts."""
    try:
        return _record(root / EVIDENCE) is not None
    except UnreadableRecord:
        return True


def finalise(database: Database, conf: cfg.ConfigOpts, *, node: str, boot_id: str) -> bool:
    """Finalise this node's entry in the open update if it can be proved; return whether it was done now.

    It is safe to call at any time: without an open entry, or when the entry is final already, nothing happens.

    :raises EvidenceRefused: the node was re-installed for the open update, and the proof does not hold.
    :raises ImageError: the image's file list cannot be had now.
    """
    root = Path(conf.provision.root)
    record, token = installed(root), _record(root / EVIDENCE)
    if record is None or token is None:
        return False
    with database.read() as session:
        update = newest_update(session)
        if update is None or update.state in ENDED or update.digest != record.digest:
            return False
        entry = session.get(Entry, (update.id, node))
        if entry is None or (entry.final_at is not None and entry.final_attempt == entry.attempt):
            return False
        image = session.get(Image, update.version)
        update_id, attempt = update.id, entry.attempt
        files_digest = image.files_digest if image else record.files_digest
    if token.get('update') != update_id or token.get('attempt') != attempt or token.get('node') != node:
        return False
    bad = differing(root, Path(conf.image.shared_storage), record.version, files_digest)
    if bad:
        raise EvidenceRefused(
            f'{node}: {len(bad)} files differ from image {record.version}, the first is {bad[0]}; '
            f'the entry stays open and the master will re-install this node',
            id='node-differs',
        )
    return _write(database, node, boot_id, update_id, attempt, record.digest, str(token.get('token', '')))


def _write(database: Database, node: str, boot_id: str, update_id: int, attempt: int, digest: str, token: str) -> bool:
    with database.write() as session:
        # The lease row first, as everywhere: one order of locks, and no decision is made meanwhile.
        lease = session.scalars(select(Lease).with_for_update()).first()
        update = session.get(Update, update_id, with_for_update=True)
        entry = session.get(Entry, (update_id, node), with_for_update=True)
        if update is None or entry is None or update.state in ENDED or entry.attempt != attempt:
            return False
        hashed = hashlib.sha256(token.encode()).hexdigest()
        grants = session.scalars(
            select(InstallGrant).where(
                InstallGrant.update_id == update_id,
                InstallGrant.node == node,
                InstallGrant.attempt == attempt,
                InstallGrant.consumed_at.is_not(None),
            )
        )
        if not any(g.evidence_hash and hmac.compare_digest(g.evidence_hash, hashed) for g in grants):
            raise EvidenceRefused(f'{node}: the token on the disk is not the one of attempt {attempt}')
        if digest != update.digest:
            raise EvidenceRefused(f'{node} runs {digest}, not the pinned {update.digest}')
        now = database.now(session)
        entry.final_at, entry.final_attempt, entry.final_digest = now, attempt, digest
        entry.final_boot_id, entry.step, entry.percent, entry.step_at = boot_id, 'final', 100.0, now
        update.revision += 1
        row = session.get(Node, node)
        if row is not None and row.quarantined:
            row.quarantined, row.quarantine_reason = False, None
        events.append(
            session,
            kind='final',
            update_id=update_id,
            node=node,
            epoch=lease.epoch if lease else None,
            detail=f'{node} proved that it runs {update.version} and finalised its entry (attempt {attempt})',
        )
        return True
