"""What a node does about the lease, decided from what it knows. Pure.

The master is the holder of one row in the database. To lead, a node claims the row, makes sure that the previous holder
cannot act (by a hand-over, or by power: off, and *seen* to be off), and only then acts.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Step(enum.StrEnum):
    """The next thing to do about the lease."""

    WATCH = 'watch'
    """Another node leads, or nobody may be replaced yet."""
    CLAIM = 'claim'
    RECLAIM = 'reclaim'
    """This node holds the lease from an earlier run of its service, or has demoted itself: epoch + 1, no fence."""
    RENEW = 'renew'
    FENCE = 'fence'
    """Power the other node off and poll until it is off; then act."""
    ACT = 'act'
    """The previous holder is known not to act: set ``acting`` and start the roles."""
    STAY_DOWN = 'stay-down'
    """This node holds the lease but may not lead."""


@dataclass(frozen=True)
class Standing:
    """What a node knows of the lease and of itself."""

    mine: bool
    """The holder is this node."""
    this_run: bool = False
    """... and the incarnation is this run of its service."""
    vacant: bool = False
    """Nobody has ever held the lease."""
    acting: bool = False
    demoted: bool = False
    """The holder of the present epoch has demoted itself for good."""
    previous_demoted: bool = False
    """The holder of the epoch before has."""
    fenced: bool = False
    """A proof that the other node cannot act is in the row."""
    expired: bool = False
    """By the database's clock."""
    watched: bool = False
    """This node saw the row unchanged for a whole ttl on its own clock, with the database reachable all the time."""
    eligible: bool = True
    """What this node runs allows it to lead (see :func:`ovca.remaster.protocol.may_claim`)."""
    giving_up: bool = False
    """A hand-over was given up; this node is to serve again."""
    has_peer: bool = True


def step(s: Standing) -> Step:
    """Return what to do about the lease now."""
    if not s.mine:
        takes = s.vacant or (s.expired and s.watched)
        return Step.CLAIM if takes and s.eligible else Step.WATCH
    if not s.eligible:
        return Step.STAY_DOWN
    if not s.this_run:
        return Step.RECLAIM
    if s.demoted:
        return Step.RECLAIM if s.giving_up else Step.STAY_DOWN
    if s.acting:
        return Step.RENEW
    if s.fenced or s.previous_demoted or not s.has_peer:
        return Step.ACT
    return Step.FENCE
