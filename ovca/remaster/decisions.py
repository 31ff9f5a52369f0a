"""What an operator decides about the update that is open; each is one short transaction of the acting master."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.cluster.glance import recent
from ovca.db import events
from ovca.db.engine import now as database_now
from ovca.db.models import Entry, InstallGrant, Node, Request, Update
from ovca.exceptions import Refused
from ovca.remaster import directives
from ovca.remaster.directives import Kind
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import TARGET, State, Which, pause_effect


@dataclass(frozen=True)
class Decider:
    """Who decides, and through which master."""

    who: str
    node: str
    epoch: int
    request: int | None = None
    """The number of the request that says so."""


def note(session: Session, by: Decider, update: Update) -> None:
    """Write into the request what came of it, in the transaction that does it: then nobody does it a second time."""
    row = session.get(Request, by.request) if by.request is not None else None
    if row is not None:
        row.result = {'update_id': update.id}


def pause(session: Session, by: Decider, reason: str | None) -> Update:
    """Let the update go no further than its present stage. :raises Refused: nothing is open that could be paused."""
    update = opened(session, 'no-pause', 'pause')
    effect = pause_effect(State(update.state))
    if not effect.possible:
        raise Refused(effect.sentence, id='no-pause')
    if directives.give(session, update, Kind.PAUSE, by.who, detail=reason or ''):
        update.revision += 1
        now = database_now(session)
        # A machine that asks now boots from its disk; after the pause there is a new grant.
        for grant in _unconsumed(session, update):
            grant.revoked_at = now
        why = f' ({reason})' if reason else ''
        _tell(session, update, by, 'pause', f'paused by {by.who}: {effect.sentence}{why}')
    return update


def resume(session: Session, by: Decider) -> Update:
    """Let a paused or held update go on; its deadlines begin anew. :raises Refused: it does not wait for anybody."""
    update = opened(session, 'not-paused', 'continue')
    lifted = directives.lift(session, update, (Kind.PAUSE, Kind.HOLD), by.who)
    if not lifted:
        raise Refused(
            f'update {update.id} is not paused, nor held before its commit point; see `ovca update-watch`',
            id='not-paused',
        )
    update.revision += 1
    update.deadline_from = database_now(session)
    note(session, by, update)
    since = f'{lifted[0].created_at:%Y-%m-%d %H:%M:%SZ}'
    _tell(session, update, by, 'continue', f'{by.who} lets it go on; it waited since {since}')
    return update


def replace_target(session: Session, by: Decider, name: str, *, silent_after: float) -> Update | None:
    """Begin a new attempt on new hardware, when the machine that the open update installs has died for good.

    Returns None when no update is open. :raises Refused: the update does not install this node now, or it is alive.
    """
    update = check_target(session, name)
    if update is None:
        return None
    node, now = session.get_one(Node, name), database_now(session)
    if node.last_seen_at is not None and recent(node.last_seen_at, now, silent_after):
        raise Refused(f'{name} is alive: it was seen {node.last_seen_at:%Y-%m-%dT%H:%M:%SZ}', id='node-alive')
    for grant in _unconsumed(session, update):
        grant.revoked_at = now
    entry = session.get(Entry, (update.id, name))
    if entry is not None:
        entry.attempt += 1
        entry.final_at = entry.final_attempt = entry.final_digest = entry.final_boot_id = None
        entry.step, entry.percent, entry.step_detail, entry.step_at = 'waiting', None, None, now
        entry.power_orders, entry.power_ordered_at = 0, None  # those were for another machine
    before, update.state = update.state, (State.INSTALL_1 if name == update.first else State.INSTALL_2).value
    moved = before != update.state
    update.state_since = update.deadline_from = now
    update.revision += 1
    forget_machine(node)
    note(session, by, update)
    events.append(
        session,
        kind=events.REPLACED,
        update_id=update.id,
        node=name,
        actor=by.who,
        epoch=by.epoch,
        from_state=before if moved else None,
        to_state=update.state if moved else None,
        detail=f'{name} was replaced by another machine; a new attempt begins',
    )
    return update


def check_target(session: Session, name: str) -> Update | None:
    """The open update, if there is one. :raises Refused: it does not install this node now."""
    update = newest_update(session)
    if update is None or State(update.state).ended:
        return None
    target = TARGET.get(State(update.state))
    if target is None or name != (update.first if target is Which.FIRST else update.second):
        raise Refused(
            f'update {update.id} to {update.version} is open ({update.state}) and does not install {name} now; it can '
            f'be replaced when the update installs it, or after its end',
            id='node-pinned',
        )
    return update


def forget_machine(node: Node) -> None:
    """Forget what another machine of this name has told of itself."""
    node.boot_id = node.incarnation = node.running_version = node.running_digest = node.role = None
    node.health, node.health_detail, node.ready = 'unknown', None, False
    node.healthy_since = node.unhealthy_since = node.last_seen_at = None
    node.power_orders, node.power_ordered_at = 0, None


def opened(session: Session, id: str, what: str) -> Update:
    """The open update. :raises Refused: there is none."""
    update = newest_update(session)
    if update is None or State(update.state).ended:
        raise Refused(f'no update is open, so there is nothing to {what}; see `ovca update-list`', id=id)
    return update


def _unconsumed(session: Session, update: Update) -> list[InstallGrant]:
    return list(
        session.scalars(
            select(InstallGrant).where(
                InstallGrant.update_id == update.id,
                InstallGrant.consumed_at.is_(None),
                InstallGrant.revoked_at.is_(None),
            )
        )
    )


def _tell(session: Session, update: Update, by: Decider, kind: events.Kind, detail: str) -> None:
    events.append(session, kind=kind, update_id=update.id, node=by.node, actor=by.who, epoch=by.epoch, detail=detail)
