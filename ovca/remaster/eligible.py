"""Whether what a node runs allows it to lead (the rule CLAIM), read from the rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.backup.aftermath import RESTORED
from ovca.db.engine import rows
from ovca.db.models import Node, Update
from ovca.remaster.observe import PROVED, WIPED, newest_update, software
from ovca.remaster.protocol import ENDED, may_claim

# Made once: it is asked for before each look at the lease, and with each sign of life.
_LOOK = (
    select(Update.state, Update.digest, Update.old_digest, Update.reason, WIPED.label('wiped'), PROVED.label('proved'))
    .order_by(Update.id.desc())
    .limit(1)
)
_DISK = select(WIPED, PROVED)


def eligible(session: Session, node: str, running_digest: str | None) -> bool:
    """Return whether ``node`` may claim, re-claim or act with the software on its disk."""
    if running_digest is None:
        return False
    # What is asked of an update is among the columns of this.
    update: Any = rows(session, _LOOK, {'name': node, 'runs': running_digest}).one_or_none()
    return update is None or _may(update, running_digest, wiped=update.wiped, proved=update.proved)


def eligible_in(session: Session, update: Update | None, node: str, running_digest: str | None) -> bool:
    """The same, for who has read the newest update already."""
    if running_digest is None:
        return False
    if update is None:
        return True
    wiped, proved = rows(session, _DISK, {'name': node, 'runs': running_digest}).one()
    return _may(update, running_digest, wiped=wiped, proved=proved)


def why_not(session: Session, name: str) -> str | None:
    """Why what runs on a node does not allow it to lead, and what helps; None if it may."""
    node = session.get(Node, name)
    if node is None or node.running_digest is None:
        return f'{name} may not lead: it is not known what runs on it; see to ovca.service there'
    update = newest_update(session)
    if update is None or eligible_in(session, update, name, node.running_digest):
        return None
    help = 'put the database back from a backup: then either node may lead'
    if update.old_digest is not None and update.old_version is not None:
        help = f'install it with {update.old_version}, which update {update.id} began from, or {help}'
    return f'{name} may not lead: nothing proves that {node.running_version} was installed on it whole; {help}'


def _may(update: Update, digest: str, *, wiped: bool, proved: bool) -> bool:
    # A state that this software does not know is one of an update that goes on.
    if update.state in ENDED and digest not in (update.digest, update.old_digest):
        return True
    if update.reason == RESTORED:
        # What became of that update on the disks is not known here. An operator starts the node first that is to lead.
        return True
    # What no grant has ever touched is what was installed at first. A run that re-installs such a node, and ends before
    # it is wiped, takes nothing from it.
    return may_claim(software(digest, update), proved or not wiped, update_open=True, runs_known=True)
