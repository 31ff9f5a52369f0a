"""A take-over by an operator's word, when a BMC that is dead cannot prove that its node is off.

A node that takes over powers the other one off first, and waits until it is seen to be off. If the other one's BMC does
not answer, that cannot be had, and nobody may lead. An operator who has pulled its cables can say so; the word is a
request that counts once, for this take-over only, and for a short time. It replaces the proof and nothing else: the
lease must have expired, and the node must be fit to lead.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.cluster.glance import recent
from ovca.cluster.lease import is_off
from ovca.db import events
from ovca.db.engine import Database
from ovca.db.engine import now as database_now
from ovca.db.models import Lease, Request
from ovca.exceptions import NotMaster, Refused, UsageError

KIND = 'claim'
VALID = 900.0
"""Seconds for which an operator's word counts: what was off an hour ago may be on again."""


@dataclass(frozen=True)
class Claim:
    """Who should lead, and which node is known to be off."""

    node: str
    known_off: str


def ask(session: Session, claim: Claim, who: str) -> int:
    """Write the request; return its number.

    :raises UsageError: another node is named than the one that held the lease. :raises Refused: there is a master.
    """
    lease, now = session.scalars(select(Lease).with_for_update()).one_or_none(), database_now(session)
    if lease is None or lease.holder is None:
        raise NotMaster(
            'no node has ever been master; start ovca.service on both nodes, then see `ovca master-show`',
            id='no-master',
        )
    if lease.acting and recent(lease.renewed_at, now, lease.ttl):
        raise Refused(f'{lease.holder} is master and serves; there is nothing to take over', id='master-serves')
    if lease.holder not in (claim.node, claim.known_off):
        raise UsageError(
            f'the lease is held by {lease.holder}, not by {claim.known_off}; see `ovca master-show`', id='other-holder'
        )
    row = Request(
        kind=KIND,
        args={'node': claim.node, 'known_off': claim.known_off, 'epoch': lease.epoch, 'holder': lease.holder},
        state='open',
        created_at=now,
        created_by=who,
    )
    session.add(row)
    session.flush()
    events.append(
        session,
        kind='claim',
        node=claim.node,
        actor=who,
        epoch=lease.epoch,
        detail=f'{who} says that {claim.known_off} is off, and wants {claim.node} to lead',
    )
    return row.id


def take(database: Database, node: str, peer: str) -> str | None:
    """Use up the word that was given for this take-over; return the proof that it is, or None when there is none.

    From then on the proof is in the lease, as one of the BMC is once the node acts.
    """
    with database.write() as session:
        lease, now = session.scalars(select(Lease).with_for_update()).one_or_none(), database.now(session)
        if lease is None or lease.holder != node:
            return None
        query = select(Request).where(Request.kind == KIND, Request.state == 'open').order_by(Request.id.desc())
        for row in session.scalars(query):
            if not _counts(row, lease, node, peer, now):
                continue
            row.state, row.finished_at, row.taken_epoch = 'done', now, lease.epoch
            row.result = {'master': node}
            word = f'{row.created_by} said at {row.created_at:%Y-%m-%dT%H:%M:%SZ} that {peer} is off; its BMC is dead'
            # In the same transaction: a service that is started anew before it acts finds it in the lease.
            lease.fence_proof = word
            is_off(session, peer)
            events.append(session, kind='claim', node=node, epoch=lease.epoch, detail=word)
            return word
    return None


def _counts(row: Request, lease: Lease, node: str, peer: str, now: dt.datetime) -> bool:
    """Whether a word is about the holder that this take-over replaces: nobody else has led since it was given."""
    args = row.args
    if args.get('node') != node or args.get('known_off') != peer:
        return False
    if (now - row.created_at).total_seconds() > VALID:
        return False
    # Given while the other node held the lease, and claimed since; or while this one already did, in vain.
    since = 1 if args.get('holder') == peer else 0
    return bool(lease.epoch == args.get('epoch', -1) + since)
