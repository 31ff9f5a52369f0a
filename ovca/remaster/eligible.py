"""Whether what a node runs allows it to lead (the rule CLAIM), read from the rows."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ovca.backup.aftermath import RESTORED
from ovca.db.models import Update
from ovca.remaster.observe import final_digests, last_wipe, newest_update, software
from ovca.remaster.protocol import ENDED, may_claim


def eligible(session: Session, node: str, running_digest: str | None) -> bool:
    """Return whether ``node`` may claim, re-claim or act with the software on its disk."""
    return eligible_in(session, newest_update(session), node, running_digest)


def eligible_in(session: Session, update: Update | None, node: str, running_digest: str | None) -> bool:
    """The same, for who has read the newest update already."""
    if running_digest is None:
        return False
    # A state that this software does not know is one of an update that goes on.
    if update is None or (update.state in ENDED and running_digest not in (update.digest, update.old_digest)):
        return True
    if update.reason == RESTORED:
        # What became of that update on the disks is not known here. An operator starts the node first that is to lead.
        return True
    # What no grant has ever touched is what was installed at first. A run that re-installs such a node, and ends before
    # it is wiped, takes nothing from it.
    final = last_wipe(session, node) is None or running_digest in final_digests(session, node)
    return may_claim(software(running_digest, update), final, update_open=True, runs_known=True)
