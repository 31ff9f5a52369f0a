"""What must hold in every state and at every step; the numbers are those of the protocol's list of invariants."""

from __future__ import annotations

from ovca.remaster.protocol import State, abort_landing
from tests.model.world import (
    AB,
    BAD,
    BAD_MASTER,
    DB,
    ENDED_N,
    FAILED,
    FB,
    HALF,
    HE,
    INSTALLING,
    LF,
    LO,
    LOST,
    NEW,
    NEW_ISH,
    NEW_OLD,
    NO,
    OFF,
    OLD,
    PA,
    PR,
    RAW,
    RESTLESS,
    RESTLESS_MASTER,
    RL,
    ROT,
    SOAKED,
    ST,
    STATES,
    TARGET_N,
    TORN,
    UP,
    WI,
    Config,
    D,
    Event,
    F,
    H,
    L,
    M,
    N,
    V,
    World,
)  # fmt: skip

NAMES = {
    1: 'at most one node acts',
    2: 'a change of update state carries the present epoch',
    3: 'a wipe has consumed a grant, and a grant is consumed once',
    4: 'never are both nodes blank or installing',
    5: 'the lease holder is never wiped',
    6: 'a node is wiped only while the other has a known-good disk',
    7: 'some node has a known-good bootable disk',
    8: 'the commit point follows a soak as master',
    9: 'an entry is final only on evidence',
    10: 'DONE means that both nodes run the new software and were healthy for their soak',
    11: 'a bad image never reaches the second node',
    12: 'every run ends once faults stop',
    14: 'without faults a master is missing only in a hand-over and nobody is fenced; resets are bounded',
    15: 'only a whole system leads',
    16: 'a fence never cuts the power of a node that is installing',
    17: 'a lease is given only to a node that can serve, and taken only by one that may',
    18: 'while an operator lets the update wait, no stage of it begins',
    19: 'no more power cycles and hand-overs are ordered than are allowed',
    20: 'no stage begins while a check before it fails',
    21: 'an update ends as it has to',
    22: 'after an abort nothing is begun',
    23: 'an abort ends where the command says',
    24: 'an update is not given up at its deadline while a step is open to it',
    25: 'an update begins only under the pinned master',
    26: 'a hand-over to the new software follows a soak as standby',
    27: 'ABORTED means that both disks are as they were, and what was not wiped is not called damaged',
    28: 'while the database is gone nothing is wiped, fenced or handed over',
    29: 'a node whose entry is final is not wiped',
    30: 'there is a decision for every situation',
}
"""15 to 17 are the rules CLAIM, FENCE and HANDOVER as properties of their own; 18 to 20 the pause, the bounds and the
checks; 21 to 29 what an operator is promised of the course and the end of an update, PIN, HEALTH, and the token.
13 (one open update, its digest fixed) is built into the model: it has one update, and no way to change what it pins."""

BEGUN = frozenset(N[state] for state in (State.INSTALL_1, State.INSTALL_2))
_HALF_DISK = frozenset((HALF, RAW, ROT))
BAD_ONES = frozenset((BAD, BAD_MASTER, RESTLESS, RESTLESS_MASTER))


def _waits(w: World) -> bool:
    return bool(w[PA] or (w[HE] and w[ST] == N[State.PROVING]))


def known_good(w: World, i: int) -> bool:
    """Whether a node's disk holds the old software, or the new one after it was proven."""
    return w[D + i] == OLD or (w[PR] == 1 and w[D + i] in (NEW, NEW_OLD))


def may_lead(w: World, i: int) -> bool:
    """Whether what a node has on its disk may lead: the old software, or the new one with a proof."""
    return w[D + i] in (OLD, TORN) or (w[D + i] in (NEW, NEW_OLD) and bool(w[F + i] or w[FB + i]))


def broken_by_state(config: Config, w: World) -> int | None:
    """Return the number of an invariant that this state breaks."""
    if w[V] != NO and w[V + 1] != NO:
        return 1
    if w[LO] == config.losses:  # whatever breaks for good takes its disk along
        if all(w[D + i] in _HALF_DISK or w[M + i] in INSTALLING for i in (0, 1)):
            return 4
        if not known_good(w, 0) and not known_good(w, 1):
            return 7
    if any(w[V + i] != NO and w[D + i] in _HALF_DISK for i in (0, 1)):
        return 15
    return None


def broken_by_move(config: Config, before: World, events: tuple[Event, ...], after: World) -> int | None:
    """Return the number of an invariant that this step breaks."""
    # A decision that was on its way rests on the health of the moment it was made; what is pinned must still hold.
    arrived = any(what == 'arrived' for what, _ in events)
    proving = ('enter', N[State.PROVING]) in events
    for what, i in events:
        if what == 'stale-write':
            return 2
        if _waits(before) and (what in ('commit', 'issue', 'consume') or (what == 'enter' and i in BEGUN)):
            return 18
        if what == 'give' and before[PA] and proving:
            return 18
        if what == 'blocked':
            return 20
        if what == 'drive' and not before[RL]:
            return 19
        if what == 'give' and not before[LF] and before[ST] in TARGET_N and not proving:
            return 19
        if what in ('ungranted', 'consume-again'):
            return 3
        if what == 'consume' and TARGET_N.get(before[ST]) != i:
            return 3
        if what == 'wipe':
            if before[L] == i:
                return 5
            if not known_good(before, 1 - i) and before[LO] == config.losses:
                return 6
            if before[F + i]:
                return 29
            if config.image in BAD_ONES and before[LO] == config.losses and before[D + 1 - i] != OLD:
                return 11
        if what == 'commit' and (i != 0 or not before[F] or (before[H] != SOAKED and not arrived)):
            return 8
        if what == 'final' and before[D + i] != NEW:
            return 9
        if what == 'fence' and before[M + i] in INSTALLING:
            return 16
        if what == 'fence' and not config.faults and before[LO] == config.losses:
            return 14
        if what == 'claim' and not may_lead(before, i):
            return 17
        if what == 'give' and (before[M + i] != UP or before[H + i] == FAILED or before[D + i] in _HALF_DISK):
            return 17
        if what == 'enter' and i == N[State.DONE]:
            if any(after[D + n] not in (NEW, NEW_OLD) for n in (0, 1)):
                return 10
            if not arrived and any(before[M + n] != UP or before[H + n] != SOAKED for n in (0, 1)):
                return 10
            if config.image in BAD_ONES:
                return 11
        if before[DB] and what in ('consume', 'fence', 'give', 'commit', 'drive'):
            return 28
        number = _broken_promise(config, before, what, i, events, after)
        if number is not None:
            return number
    return None


def _broken_promise(config: Config, before: World, what: str, i: int, events: tuple[Event, ...],
                    after: World) -> int | None:  # fmt: skip
    """What an operator is promised of the course and the end of an update."""
    state, leader = STATES[before[ST]], before[L]
    forward = ('enter', N[State.PROVING]) in events
    if before[AB] and (what in ('issue', 'attempt', 'commit', 'drive') or (what == 'give' and forward)):
        return 22
    if what == 'give' and forward and before[H + i] != SOAKED:
        return 26
    if what != 'enter':
        return None
    to = STATES[i]
    if state is State.REQUESTED and not to.ended:
        if before[AB]:
            return 22
        if leader != (0 if before[PR] else 1) or before[D + leader] in _HALF_DISK:
            return 25
    told = before[AB] and state is not State.ROLLBACK and TARGET_N.get(before[ST]) != leader
    if told and to.ended and abort_landing(state, wiped=bool(before[WI])).lands_in is not to:
        return 23
    if to.ended and to not in config.ends:
        return 21
    late = ('late', leader) in events
    arrived = any(kind == 'arrived' for kind, _ in events)
    mixed = config.retries or config.reinstall is not None or before[LO] != config.losses
    if to is State.ABORTED and not mixed and (before[D] != OLD or before[D + 1] != OLD):
        return 27
    if to is State.FAILED_DEGRADED and state is State.INSTALL_1 and leader == 0 and not before[WI] and not late:
        return None if arrived else 27
    if late and _open_step(before, state, leader, ('ready', 1 - leader) in events):
        return 24
    return None


def _open_step(w: World, state: State, leader: int, ready: bool) -> bool:
    """Whether the update could have gone on, or ended better, without waiting for its deadline."""
    other = 1 - leader
    if state is State.PROVING:
        return leader == 1
    if TARGET_N.get(w[ST]) != leader:
        return False
    if leader == 1:
        return ready and w[LF] == 1 and w[D + other] in NEW_ISH
    if w[D] in (OLD, TORN) or w[F]:
        return True
    return ready and w[LF] == 1 and w[FB] == 1 and w[D + other] in (OLD, TORN)


def at_rest(config: Config, w: World) -> bool:
    """Whether the update is over and somebody serves; with a bad image that is the old software, torn or whole.

    When a node broke for good, and the other one may not lead, all waits for an operator.
    """
    if w[LO] != config.losses and _nobody_left(w):
        return True
    if w[ST] not in ENDED_N:
        return False
    any_software = config.image not in BAD_ONES or w[LO] != config.losses
    return any(w[V + i] != NO and w[M + i] != OFF and (any_software or w[D + i] in (OLD, TORN)) for i in (0, 1))


def _nobody_left(w: World) -> bool:
    """Whether a node broke for good, and what is left may not lead: that waits for an operator."""
    return any(w[M + i] == LOST for i in (0, 1)) and all(
        w[M + i] == LOST or (w[D + i] != NEW and not may_lead(w, i)) for i in (0, 1)
    )
