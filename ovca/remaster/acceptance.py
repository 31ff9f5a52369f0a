"""Warnings of checks: who has accepted which, kept with the update."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.orm import Session

from ovca.db import events
from ovca.db.models import Update
from ovca.exceptions import Refused
from ovca.remaster import directives
from ovca.remaster.checks import CheckResult, Result, failures, warnings
from ovca.remaster.directives import Kind


class WarningNotAccepted(Refused):
    """A check warns, and nobody has accepted that."""

    def __init__(self, missing: Sequence[CheckResult]) -> None:
        self.missing = tuple(missing)
        told = '; '.join(f'{each.id}: {each.detail}' for each in missing)
        super().__init__(
            f'there are warnings that nobody has accepted: {told}; to go on in spite of them, add {options(missing)}'
        )


def options(missing: Sequence[CheckResult]) -> str:
    """The words of a command line that accept these warnings."""
    return ' '.join(f'--accept {each.id}' for each in missing)


def implied(accepted: Collection[str], *, downgrade: bool) -> frozenset[str]:
    """What is accepted, with what other options say already: who asks for a downgrade knows that it is one."""
    return frozenset({*accepted, 'version-path'} if downgrade else accepted)


def require(results: list[CheckResult], accepted: Collection[str]) -> list[CheckResult]:
    """Return the warnings that were accepted. :raises WarningNotAccepted: one was not."""
    if missing := warnings(results, accepted):
        raise WarningNotAccepted(missing)
    return [each for each in results if each.result is Result.WARNING]


def judged(results: list[CheckResult], accepted: Collection[str]) -> list[CheckResult]:
    """Return the warnings that were accepted. :raises Refused: a check failed, or one warns that was not named."""
    if bad := failures(results):
        raise Refused(f'{"; ".join(bad)}; see `ovca check`', id='checks-failed')
    return require(results, accepted)


def keep(session: Session, update: Update, accepted: Sequence[CheckResult], who: str, *, node: str, epoch: int) -> None:
    """Write who has accepted which warnings; in the transaction that opens the update."""
    for each in accepted:
        # Software of this revision works on the schema before it, which has no place for it but the journal.
        if directives.known(session):
            directives.give(session, update, Kind.ACCEPT, who, subject=each.id, detail=each.detail)
        events.append(
            session,
            kind='accepted',
            update_id=update.id,
            node=node,
            actor=who,
            epoch=epoch,
            detail=f'{who} accepts the warning of check {each.id}: {each.detail}',
        )


def tell(session: Session, update: Update, results: list[CheckResult], *, node: str, epoch: int) -> None:
    """Write the warnings into the journal that came after the update was opened."""
    accepted = {row.subject for row in directives.active(session, update.id) if row.kind == Kind.ACCEPT}
    for each in warnings(results, accepted):
        events.append(
            session,
            kind='warning',
            update_id=update.id,
            node=node,
            epoch=epoch,
            detail=f'check {each.id}: {each.detail}',
        )
