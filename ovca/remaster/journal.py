"""What the journal can be asked for: a word that nothing can have is a mistake, and no empty journal."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db.events import KINDS
from ovca.db.models import Event, Node
from ovca.exceptions import UsageError

if TYPE_CHECKING:
    from oslo_config import cfg


def check_kind(session: Session, kind: str) -> None:
    """Let a kind of events pass that exists, here or in the journal: other software may know more.

    :raises UsageError: there is none.
    """
    if kind not in KINDS and session.scalars(select(Event.id).where(Event.kind == kind).limit(1)).first() is None:
        hint = _close(kind, KINDS) or f'the kinds are {", ".join(KINDS)}'
        raise UsageError(f'there are no events of the kind {kind!r}; {hint}', id='no-event-kind')


def check_node(session: Session, conf: cfg.ConfigOpts, name: str) -> None:
    """Let a node pass that is configured, known, or was known once.

    :raises UsageError: it is none of them.
    """
    known = sorted({*session.scalars(select(Node.name)), *filter(None, (conf.cluster.node_name, conf.cluster.peer))})
    if name in known or session.scalars(select(Event.id).where(Event.node == name).limit(1)).first() is not None:
        return
    hint = _close(name, known) or f'known are: {", ".join(known) or "none yet"}'
    raise UsageError(f'there is no node {name!r}, and the journal tells of none; {hint}', id='no-node')


def _close(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 2, 0.6)
    return f'did you mean {" or ".join(close)}?' if close else ''
