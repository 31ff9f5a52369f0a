"""What a state of the model is: two management nodes, their lease and one update; and which world is explored.

What happens next to the update is asked of :func:`ovca.remaster.protocol.rule_for`, what a node does about the lease of
:func:`ovca.cluster.election.step`, and who may lead of :func:`ovca.remaster.protocol.may_claim`. This module adds only
the world around them: disks, power, services, installers, the rows, and faults.

A state is a string of small integers (the fields are named below). Bounds and abstractions:

* Time is left out. A deadline may pass, a soak may end and a lease may run out at any moment that the real ones could,
  and earlier; a *false* expiry (the holder is alive) is a fault. Epochs are relative: a belief or a grant is of the
  present epoch or of an older one. Attempts are counted by "one is left" (two in all), a token or a running installer
  belongs to the present attempt or to an older one. So nothing is bounded but retries and aborts (at most
  :attr:`Config.retries` and one a run).
* A pause, or the hold before the commit point, is always ended by somebody at some time. How many power cycles and
  hand-overs are allowed is left out, too: each may be the last one.
* A decision is taken and written at once; with :attr:`Config.inflight` a master may also stall between both, and its
  decision arrives later. A stalled power cycle with network boot is the same as the faults "power loss" and "stray
  power-on with network boot"; a delayed or lost reply is the same as a loss of power right after it.
* States that differ in nothing that a later step depends on are one: a soak or an illness counts only where a rule
  reads it, what an update has left over counts no more at its end, and a grant is "consumed" whether or not its
  installer has reported. Nodes take their steps when they like, so a service that is killed and starts again, and a
  standby that hangs, need no state of their own. A master or a giver that hangs has one: nobody waits for it to resume
  (that is a fault), its watchdog ends it.
* Faults are unlimited in number: loss of power, a killed service, a pause of a node that serves or hands over, a false
  expiry, a stray power-on, a late or repeated network boot that nobody asked for, an installer that fails or starts
  again with a new nonce, a lost report, an expired grant, passing ill health, an outage that makes the master stop
  serving, a hand-over that is given up half-way. Worlds of their own add a database that is gone for both nodes, BMCs
  that are silent or ignore the choice of the next boot, files lost with the power, half a system that boots, and nodes
  that break for good (at most :attr:`Config.losses`; an operator may replace the target of the open update).
* What needs no move of its own: an order to power off that is "accepted, but the machine stays on" is a fence that is
  not finished, and one that is not carried out an order in vain; a giver whose reboot is lost is in the state of one
  that has rebooted, as it serves nothing and holds no lease; a lost reply of a transaction is one that its sender reads
  in the rows, or dies before. While a BMC is silent, an operator may say that its node is off, and has made sure of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ovca.cluster.election import Standing, Step, step
from ovca.remaster.protocol import (
    BEFORE_COMMIT_ENDED,
    ENDED,
    RULES,
    TARGET,
    WIPING,
    Grant,
    Health,
    Rule,
    Software,
    State,
    Verdict,
    Which,
    may_claim,
)

World = bytes
Draft = bytearray
"""A state that is being changed."""
Event = tuple[str, int]

# Fields. M, D, H, V, F, FB and BD have one value for each node: FIRST at the index, SECOND after it.
M, D, H, V = 0, 2, 4, 6
HO, L, RUN, ACT, DEM, FEN = 8, 9, 10, 11, 12, 13
ST, GR, WI, AL, PR, F, AB, FB, RT, P = 14, 15, 16, 17, 18, 19, 21, 22, 24, 25
PA, HE, RL, LF = 26, 27, 28, 29
BD, DB, LO = 30, 32, 33
SIZE = 34

# M: what a machine does. An installer "now" belongs to the present attempt (and order), else to an older one.
OFF, DEAD, UP, PAUSED, ASK_NOW, ASK_OLD, GO_NOW, GO_OLD, WRITE_NOW, WRITE_OLD, LOST = range(11)
"""DEAD is powered without a service; GO has a consumed grant and has wiped nothing yet; WRITE has wiped; LOST is broken
for good."""
# D: what is on its disk. RAW is all files without the token; TORN is a wipe that stopped where the old still boots; ROT
# is all of it, with a file that a power cut took. NEW_OLD is a token of an older attempt. HALF is a blank disk, too.
OLD, HALF, RAW, NEW, NEW_OLD, TORN, ROT = range(7)
# H: its health against the soak. CARRIED is a soak that was not spent in the present role.
PENDING, SOAKED, FAILED, CARRIED = range(4)
# V: whether it serves: no, under the present epoch, under an older one.
NO, NOW, STALE = range(3)
# DEM: whose demotion the row tells; FEN: proof about the predecessor: none, seen by the holder, in the row.
STATES = tuple(State)
GRANTS = tuple(Grant)
G_NONE, G_OPEN, G_CONSUMED, G_WRITTEN, G_FAILED = range(5)
HEALTHS = (Health.PENDING, Health.SOAKED, Health.FAILED, Health.SOAKED)
WHICH = (Which.FIRST, Which.SECOND)
SOFTWARE = {OLD: Software.OLD, TORN: Software.OLD, RAW: Software.NEW, NEW: Software.NEW, NEW_OLD: Software.NEW,
            ROT: Software.NEW, HALF: Software.UNKNOWN}  # fmt: skip
INSTALLING = frozenset((GO_NOW, GO_OLD, WRITE_NOW, WRITE_OLD))
NEW_ISH = frozenset((RAW, NEW, NEW_OLD, ROT))
"""Disks that name the new software."""
ENDED_N = frozenset(STATES.index(s) for s in ENDED)
TARGET_N = {STATES.index(s): WHICH.index(w) for s, w in TARGET.items()}
WIPING_N = frozenset(STATES.index(s) for s in WIPING)
DECIDED_N = frozenset(range(len(STATES))) - ENDED_N | {STATES.index(s) for s in BEFORE_COMMIT_ENDED}
N = {s: STATES.index(s) for s in STATES}
GIVING_UP = 255

GOOD, BAD, BAD_MASTER, BAD_SECOND = 'good', 'bad', 'bad-as-master', 'bad-on-second'
RESTLESS, RESTLESS_MASTER = 'restless', 'restless-as-master'
"""Software that is neither well for the soak nor ill for long."""


class Move(NamedTuple):
    """One step of the world; a search meets millions, so they travel as plain tuples in this order."""

    node: int
    what: str
    fault: bool
    events: tuple[Event, ...]
    after: World


Moves = list[tuple[int, str, bool, tuple[Event, ...], World]]


def label(node: int, what: str) -> str:
    """A step of a trace."""
    return f'{WHICH[node]}: {what}'


@dataclass(frozen=True)
class Config:
    """Which world is explored. The switches below ``image`` take one rule out each when they are turned off."""

    image: str = GOOD
    faults: bool = True
    deadlines: bool = True
    """A deadline may pass at any moment."""
    ends: frozenset[State] = ENDED
    """How the update has to end."""
    abort: bool = False
    retries: int = 0
    pause: bool = False
    """An operator may pause at any moment, and continues at some other."""
    hold: bool = False
    """The update is held before its commit point until an operator continues it."""
    caps: bool = False
    """The power cycles and hand-overs of the update may be used up with each that is made."""
    checks: Verdict = Verdict.PASSED
    """What the checks at the start find on nodes that are well; PENDING is that they never come to an end."""
    blocked: bool = False
    """The checks before the hand-over, and before the second wipe, may fail at any moment."""
    blocked_for_good: bool = False
    """They always fail."""
    edited: bool = False
    """Somebody has changed a file of the first node's system, so that it differs from its image without any wipe."""
    broken_installer: int | None = None
    """The node whose installer always fails."""
    reinstall: int | None = None
    """No update of both nodes, but the installation of the second one; this is what is on its disk."""
    outages: bool = False
    """The database may be gone for a while, for both nodes."""
    bmcs: bool = False
    """A BMC may be silent for a while, or ignore the choice of the next boot."""
    losses: int = 0
    """So many nodes may break for good; an operator may replace one."""
    rot: bool = False
    """A loss of power may take files that were written."""
    half_boots: bool = False
    """What is half installed may boot all the same."""
    inflight: bool = False
    torn: bool = False
    """A wipe may stop where the old system still boots."""
    early_give_up: bool = True
    """A hand-over may fail before the giver has noted its demotion, too."""
    reports: bool = False
    """What an installer reports is told from a grant that it consumed; no rule of the table does that."""
    rules: tuple[Rule, ...] = RULES
    eligible: Callable[..., bool] = may_claim
    election: Callable[[Standing], Step] = step
    grant_needed: bool = True
    nonce_bound: bool = True
    fence: bool = True
    """The peer is powered off, and seen to be off, before a claimant acts."""
    stop_before_giving: bool = True
    evidence: bool = True
    fenced_writes: bool = True
    """A change of the update checks holder, epoch and revision in its transaction."""
    ready_at_giving: bool = True
    soak_at_giving: bool = True
    """The transaction of the hand-over looks again at how long the new node was healthy."""
    power_again: bool = True
    health_anew: bool = True
    """The soak starts anew with each role and epoch."""
    reclaim_keeps_proof: bool = True
    commit_guard: bool = True
    """The transaction of the commit point looks again at who leads and what that node runs."""
    receiver_takes_epoch: bool = True
    """The receiver of a hand-over finds itself in the row, and makes no claim."""
    expiry_needed: bool = True
    """A lease is claimed only when it has expired, and was watched."""
    token_of_attempt: bool = True
    """Only the token of the present attempt proves an install."""
    rehash: bool = True
    """A node compares its files with the image before it finalises its entry."""
    grant_of_epoch: bool = True
    """A grant of an older epoch or attempt, or one that was revoked, is not valid."""
    database_needed: bool = True
    """A grant is consumed in the database."""
    pause_revokes: bool = True
    """A pause revokes the grants that nobody has consumed."""
    retry_anywhere: bool = False
    """A retry begins whoever leads."""
    true_word: bool = True
    """An operator who says that a node is off has made sure of it."""
    wipe_ends_proof: bool = True
    """What an earlier update proved about a node counts until a grant for that node is consumed."""


def start(config: Config) -> World:
    """An update was just asked for: both nodes are up on the old software, and SECOND is the acting master."""
    w = Draft(SIZE)
    leads = 1 if config.reinstall is None else 0
    w[M] = w[M + 1] = UP
    w[V + leads], w[L], w[RUN], w[ACT], w[FEN] = NOW, leads, 1, 1, 2
    if config.reinstall is not None:
        w[D], w[F], w[PR], w[D + 1] = NEW_OLD, 1, 1, config.reinstall
        w[M + 1] = DEAD if config.reinstall == HALF else UP
    w[ST], w[AL], w[RT], w[LO] = N[State.REQUESTED], 1, config.retries, config.losses
    w[HE], w[RL], w[LF] = int(config.hold), 1, 1
    return bytes(w)
