"""The machines of the model: disks, power, services, installers, and the faults that befall them."""

from __future__ import annotations

from ovca.remaster.protocol import State
from tests.model.world import (
    ACT,
    AL,
    ASK_NOW,
    ASK_OLD,
    BAD,
    CARRIED,
    DEAD,
    ENDED_N,
    FAILED,
    FB,
    FEN,
    G_CONSUMED,
    G_FAILED,
    G_NONE,
    G_OPEN,
    G_WRITTEN,
    GO_NOW,
    GO_OLD,
    GOOD,
    GR,
    HALF,
    HO,
    NEW,
    NEW_OLD,
    NO,
    NOW,
    OFF,
    OLD,
    PAUSED,
    PENDING,
    RAW,
    RUN,
    SOAKED,
    SOFTWARE,
    ST,
    STALE,
    TARGET_N,
    TORN,
    UP,
    WHICH,
    WI,
    WIPING_N,
    WRITE_NOW,
    WRITE_OLD,
    Config,
    D,
    Event,
    F,
    H,
    L,
    M,
    Move,
    N,
    P,
    V,
    World,
)


class Machines:
    """What disks, power, installers and services do by themselves, and the rows that they touch."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def ill(self, w: World | list[int], i: int) -> bool:
        """Whether the software on the node's disk cannot be healthy in its present role."""
        if self.config.image == GOOD or w[D + i] not in (RAW, NEW, NEW_OLD):
            return False
        return self.config.image == BAD or w[V + i] != NO

    def eligible(self, w: World | list[int], i: int) -> bool:
        """The rule CLAIM, as the service asks for it."""
        return self.config.eligible(
            SOFTWARE[w[D + i]], bool(w[F + i] or w[FB + i]), update_open=True, runs_known=w[D + i] != HALF
        )

    def readiness(self, w: World | list[int], i: int) -> tuple[bool, ...]:
        """What the row of a node may say about "ready" now."""
        if w[M + i] != UP or not self.eligible(w, i) or w[H + i] == FAILED:
            return (False,)
        if w[H + i] != PENDING:
            return (True,)
        return (False,) if self.ill(w, i) else (False, True)

    @staticmethod
    def serves(w: World | list[int], i: int) -> bool:
        """Whether the node acts as master under the present epoch, and can answer."""
        return w[M + i] == UP and w[V + i] == NOW and w[L] == i and w[ACT] == 1

    def bump(self, w: list[int]) -> None:
        """The epoch rises: beliefs, open grants and orders are of an older one, soaks start anew."""
        for i in (0, 1):
            if w[V + i] == NOW:
                w[V + i] = STALE
            if w[M + i] == ASK_NOW:
                w[M + i] = ASK_OLD
            self.health_anew(w, i)
        if w[GR] == G_OPEN:
            w[GR] = G_NONE
        w[HO] = 0
        w[P] |= w[P] and 1

    def health_anew(self, w: list[int], i: int) -> None:
        w[H + i] = PENDING if self.config.health_anew or w[H + i] not in (SOAKED, CARRIED) else CARRIED

    def revise(self, w: list[int]) -> None:
        """The update's revision rises: a decision on its way is stale."""
        w[P] |= w[P] and 1

    def down(self, w: list[int], i: int, mode: int) -> None:
        """The node's service is gone."""
        if w[V + i]:
            w[P] = 0
        w[M + i], w[V + i], w[H + i] = mode, NO, PENDING
        if w[L] == i:
            w[RUN], w[HO] = 0, 0
            w[FEN] = 0 if w[FEN] == 1 else w[FEN]

    def boot(self, w: list[int], i: int, *, network: bool = False) -> tuple[Event, ...]:
        self.down(w, i, UP)
        other = 1 - i
        if network and self.serves(w, other):
            if not self.config.grant_needed:
                w[M + i] = GO_NOW
                return (('ungranted', i),)
            if w[ST] in WIPING_N and TARGET_N[w[ST]] == i and w[GR] == G_OPEN:
                w[M + i] = ASK_NOW
                return ()
        if w[D + i] == HALF:
            w[M + i] = DEAD
        return ()

    def enter(self, w: list[int], to: State) -> tuple[Event, ...]:
        """Change the update's state, as the loop's transaction does."""
        n = N[to]
        if to is State.INSTALL_2 or w[ST] == N[State.REQUESTED]:
            w[GR], w[WI], w[AL] = G_NONE, 0, 1
        if to in (State.PROVING, State.ROLLBACK) or to.ended:
            w[GR], w[WI], w[AL] = G_NONE, 0, 1
            for i in (0, 1):
                w[M + i] = ASK_OLD if w[M + i] == ASK_NOW else w[M + i]
        w[ST] = n
        return (('enter', n),)

    def _put(self, out: list[Move], label: str, i: int, w: list[int], fault: bool = False,
             events: tuple[Event, ...] = ()) -> None:  # fmt: skip
        if not fault or self.config.faults:
            out.append(Move(f'{WHICH[i]}: {label}', fault, events, tuple(w)))

    def _machine(self, s: World, i: int, out: list[Move]) -> None:
        mode, disk, other = s[M + i], s[D + i], 1 - i
        w = list(s)
        if mode == OFF:
            cared = self.serves(s, other)
            due = s[ST] in WIPING_N and TARGET_N[s[ST]] == i and s[GR] in (G_NONE, G_OPEN)
            alone = s[M + other] != UP or not self.eligible(s, other)
            self.boot(w, i)
            if cared and not due and self.config.power_again:
                self._put(out, 'is powered on by the master', i, w)
            else:
                self._put(out, 'power returns', i, w, fault=not alone)
            if self.config.faults:
                w = list(s)
                events = self.boot(w, i, network=True)
                self._put(out, 'stray power-on, network boot', i, w, True, events)
        elif mode == DEAD:
            if disk != HALF:
                self.boot(w, i)
                self._put(out, 'the service starts', i, w)
        elif mode == UP:
            self._service(s, i, out)
        elif mode == PAUSED:
            w[M + i] = UP
            self._put(out, 'resumes', i, w)
        elif mode in (ASK_NOW, ASK_OLD):
            asked = mode == ASK_NOW and self.serves(s, other) and s[GR] == G_OPEN
            if asked:
                w[M + i], w[GR], w[WI] = GO_NOW, G_CONSUMED, 1
                w[FB + i] &= not self.config.wipe_ends_proof
                self.revise(w)
                self._put(out, 'consumes the grant', i, w, events=(('consume', i),))
                w = list(s)
            self.boot(w, i)
            self._put(out, 'is refused and boots its disk', i, w, fault=asked)
        else:
            self._installer(s, i, out)

    def _installer(self, s: World, i: int, out: list[Move]) -> None:
        mode, disk, other = s[M + i], s[D + i], 1 - i
        current = mode in (GO_NOW, WRITE_NOW)
        w = list(s)
        if mode in (GO_NOW, GO_OLD):
            if self.config.torn and disk == OLD:
                w[D + i] = TORN
            else:
                w[D + i], w[M + i] = HALF, WRITE_NOW if current else WRITE_OLD
            self._put(out, 'wipes its disk', i, w, events=(('wipe', i),))
        elif disk == HALF:
            w[D + i] = RAW
            self._put(out, 'all files are written', i, w)
        elif disk == RAW:
            w[D + i] = NEW if current else NEW_OLD
            self._put(out, 'the token is written', i, w)
        else:
            heard = current and self.serves(s, other) and s[GR] == G_CONSUMED
            self.boot(w, i)
            self._put(out, 'reboots, its report is lost', i, w, fault=heard)
            if heard:
                w = list(w)
                w[GR] = G_WRITTEN
                self.revise(w)
                self._put(out, 'reports "written" and reboots', i, w)
        if not self.config.faults:
            return
        known = current and s[GR] == G_CONSUMED and self.serves(s, other)
        if known:
            w = list(s)
            w[GR] = G_FAILED
            self.revise(w)
            self.down(w, i, DEAD)
            self._put(out, 'the installer fails', i, w, True)
            if self.config.nonce_bound:
                w = list(w)
                self.boot(w, i)
                self._put(out, 'starts again with a new nonce, is refused', i, w, True)
            else:
                w = list(s)
                w[M + i] = GO_NOW
                self._put(out, 'starts again with a new nonce', i, w, True, (('consume-again', i),))

    def _service(self, s: World, i: int, out: list[Move]) -> None:
        """What a running service does beside the lease and the loop: its proof, its health."""
        mine = i if s[ST] not in ENDED_N and s[ST] != N[State.REQUESTED] else -1
        has_entry = mine == 0 or (mine == 1 and s[ST] in (N[State.PROVING], N[State.ROLLBACK],
                                                          N[State.INSTALL_2], N[State.VERIFY_2]))  # fmt: skip
        if has_entry and not s[F + i]:
            proved = s[D + i] == NEW
            label_only = s[ST] in WIPING_N and TARGET_N[s[ST]] == i and s[V + i] == NO
            if proved or (not self.config.evidence and label_only):
                w = list(s)
                w[F + i] = 1
                self.revise(w)
                self._put(out, 'finalises its entry', i, w, events=(('final', i),))
        ill, health = self.ill(s, i), s[H + i]
        if health == PENDING or (health == FAILED) != ill:
            w = list(s)
            w[H + i] = FAILED if ill else PENDING if health == FAILED else SOAKED
            self._put(out, 'is ill' if ill else 'is well' if health == FAILED else 'was healthy for the soak', i, w)

    def _faults(self, s: World, i: int, out: list[Move]) -> None:
        mode = s[M + i]
        if mode != OFF:
            w = list(s)
            self.down(w, i, OFF)
            self._put(out, 'loses power', i, w, True)
        if mode in (UP, PAUSED):
            w = list(s)
            self.down(w, i, DEAD)
            self._put(out, 'the service is killed', i, w, True)
        if mode == UP:
            if s[L] == i or s[V + i]:
                w = list(s)
                w[M + i] = PAUSED
                self._put(out, 'is paused', i, w, True)
            if s[H + i] != FAILED:
                w = list(s)
                w[H + i] = FAILED
                self._put(out, 'is ill for a while', i, w, True)
            if s[V + i] and s[HO] == 0:
                w = list(s)
                w[V + i] = NO
                self.health_anew(w, i)
                self._put(out, 'cannot reach the database and stops serving', i, w, True)
        if s[GR] == G_OPEN and i == 0:
            w = list(s)
            w[GR] = G_NONE
            for n in (0, 1):
                w[M + n] = ASK_OLD if s[M + n] == ASK_NOW else s[M + n]
            self._put(out, 'the grant expires', i, w, True)
