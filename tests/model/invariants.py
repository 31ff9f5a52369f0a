"""What must hold in every state and at every step; the numbers are those of the protocol's list of invariants."""

from __future__ import annotations

from ovca.remaster.protocol import State
from tests.model.world import (
    ENDED_N,
    FAILED,
    GOOD,
    HALF,
    HE,
    INSTALLING,
    LF,
    NEW,
    NEW_OLD,
    NO,
    OFF,
    OLD,
    PA,
    PR,
    RAW,
    RL,
    SOAKED,
    ST,
    TARGET_N,
    TORN,
    UP,
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
    10: 'DONE means that both nodes run the new software and are healthy',
    11: 'a bad image never reaches the second node',
    12: 'every run ends once faults stop',
    14: 'without faults a master is missing only in a hand-over, and resets are bounded',
    15: 'only a whole system leads',
    16: 'a fence never cuts the power of a node that is installing',
    17: 'a lease is given only to a node that can serve',
    18: 'while an operator lets the update wait, no stage of it begins',
    19: 'no more power cycles and hand-overs are ordered than are allowed',
    20: 'no stage begins while a check before it fails',
}
"""15 to 17 are the rules CLAIM, FENCE and HANDOVER as properties of their own; 18 to 20 the pause, the
bounds and the checks.
13 (one open update, its digest fixed) is built into the model: it has one update, and no way to change what it pins."""

BEGUN = frozenset(N[state] for state in (State.INSTALL_1, State.INSTALL_2))
_HALF_DISK = frozenset((HALF, RAW))


def _waits(w: World) -> bool:
    return bool(w[PA] or (w[HE] and w[ST] == N[State.PROVING]))


def known_good(w: World, i: int) -> bool:
    """Whether a node's disk holds the old software, or the new one after it was proven."""
    return w[D + i] == OLD or (w[PR] == 1 and w[D + i] in (NEW, NEW_OLD))


def broken_by_state(w: World) -> int | None:
    """Return the number of an invariant that this state breaks."""
    if w[V] != NO and w[V + 1] != NO:
        return 1
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
        if _waits(before) and (what in ('commit', 'issue') or (what == 'enter' and i in BEGUN)):
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
            if not known_good(before, 1 - i):
                return 6
            if config.image != GOOD and before[D + 1 - i] != OLD:
                return 11
        if what == 'commit' and (i != 0 or not before[F] or (before[H] != SOAKED and not arrived)):
            return 8
        if what == 'final' and before[D + i] != NEW:
            return 9
        if what == 'fence' and before[M + i] in INSTALLING:
            return 16
        if what == 'give' and (before[M + i] != UP or before[H + i] == FAILED or before[D + i] in _HALF_DISK):
            return 17
        if what == 'enter' and i == N[State.DONE]:
            if any(after[D + n] not in (NEW, NEW_OLD) for n in (0, 1)):
                return 10
            if not arrived and any(after[M + n] != UP or after[H + n] == FAILED for n in (0, 1)):
                return 10
            if config.image != GOOD:
                return 11
    return None


def at_rest(config: Config, w: World) -> bool:
    """Whether the update is over and somebody serves; with a bad image that is the old software, torn or whole."""
    if w[ST] not in ENDED_N:
        return False
    return any(w[V + i] != NO and w[M + i] != OFF and (config.image == GOOD or w[D + i] in (OLD, TORN)) for i in (0, 1))
