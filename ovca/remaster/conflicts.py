"""What an open update forbids, in a sentence that says who began it, since when it is open, and what to do."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db.models import Update
from ovca.exceptions import Refused
from ovca.remaster import directives
from ovca.remaster.directives import Kind

_OPEN = select(
    Update.id,
    Update.version,
    Update.state,
    Update.created_by,
    Update.created_at,
    Update.first,
    Update.second,
).where(Update.finished_at.is_(None))


@dataclass(frozen=True)
class Opened:
    """The open update, as a refusal tells it."""

    id: int
    version: str
    state: str
    by: str
    since: dt.datetime
    first: str
    second: str

    def __str__(self) -> str:
        return f'update {self.id} to {self.version}, which {began(self.by, self.since)}, is open ({self.state})'


class UpdateOpen(Refused):
    """What was asked for has to wait for the end of the open update."""

    def __init__(self, opened: Opened, what: str) -> None:
        self.opened = opened
        super().__init__(
            f'{what} is refused: {opened}; follow it with `ovca update-watch`, or end it with `ovca update-abort`'
        )


def heed_hold(session: Session, number: int) -> None:
    """Let the wish pass that an open update stops before its commit point, if it does.

    :raises Refused: it does not; a pause is another wish, and the operator's to say.
    """
    if directives.given(session, number, Kind.HOLD) is None:
        raise Refused(
            f'update {number} does not stop before its commit point: it was begun without --pause-before-commit, or '
            f'continued since; to stop it before its next stage, give `ovca update-pause`',
            id='update-open',
        )


def began(by: str, since: dt.datetime) -> str:
    """Who began an update, and when, as half a sentence."""
    return f'{by or "somebody"} began at {stamp(since)}'


def stamp(moment: dt.datetime) -> str:
    """A time as messages show it."""
    return f'{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}'


def opened(session: Session) -> Opened | None:
    """The open update, if there is one; by columns that are there on each revision of the schema."""
    found = session.execute(_OPEN).first()
    return None if found is None else Opened(*found)


def refuse_open(session: Session, what: str) -> None:
    """Let something pass that no open update may see. :raises UpdateOpen: one is open."""
    found = opened(session)
    if found is not None:
        raise UpdateOpen(found, what)
