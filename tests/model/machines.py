"""The machines of the model: disks, power, services, installers, and the faults that befall them."""

from __future__ import annotations

from ovca.remaster.protocol import State
from tests.model.world import (
    AB,
    ACT,
    AL,
    ASK_NOW,
    ASK_OLD,
    BAD,
    BAD_SECOND,
    BD,
    CARRIED,
    DB,
    DEAD,
    DEM,
    ENDED_N,
    FAILED,
    FB,
    FEN,
    G_CONSUMED,
    G_FAILED,
    G_NONE,
    G_OPEN,
    G_WRITTEN,
    GIVING_UP,
    GO_NOW,
    GO_OLD,
    GOOD,
    GR,
    HALF,
    HE,
    HO,
    LF,
    LO,
    LOST,
    NEW,
    NEW_ISH,
    NEW_OLD,
    NO,
    NOW,
    OFF,
    OLD,
    PA,
    PAUSED,
    PENDING,
    RAW,
    RESTLESS,
    RESTLESS_MASTER,
    RL,
    ROT,
    RUN,
    SOAKED,
    SOFTWARE,
    ST,
    STALE,
    TARGET_N,
    TORN,
    UP,
    WI,
    WIPING_N,
    WRITE_NOW,
    WRITE_OLD,
    Config,
    D,
    Draft,
    Event,
    F,
    H,
    L,
    M,
    Moves,
    N,
    P,
    V,
    World,
)

_SERVES = frozenset(N[state] for state in (State.REQUESTED, State.PROVING, State.VERIFY_2))
_PROVES = frozenset({N[State.PROVING], N[State.VERIFY_2]})
_ALL = frozenset(N.values())
HEALTH_COUNTS = (
    ((frozenset({N[State.VERIFY_1]}), _ALL), (frozenset({N[State.VERIFY_2]}), _ALL)),
    ((_PROVES, _SERVES), (_PROVES, _SERVES)),
)
"""By whether a node serves, and which one it is: the states in which its soak counts, and those in which its illness
does. In the others a standby that is well is as good as one that was so for the soak."""


class Machines:
    """What disks, power, installers and services do by themselves, and the rows that they touch."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._leads = {
            (disk, final): config.eligible(SOFTWARE[disk], final, update_open=True, runs_known=disk != HALF)
            for disk in SOFTWARE
            for final in (False, True)
        }

    def ill(self, w: World | Draft, i: int) -> bool:
        """Whether the software on the node's disk cannot be healthy in its present role."""
        image = self.config.image
        if image in (GOOD, RESTLESS, RESTLESS_MASTER) or w[D + i] not in NEW_ISH:
            return False
        if image == BAD_SECOND:
            return i == 1 and w[V + i] == NO
        return image == BAD or w[V + i] != NO

    def restless(self, w: World | Draft, i: int) -> bool:
        """Whether the software on the node's disk is never well for the soak, and never ill for long."""
        wanted = RESTLESS if w[V + i] == NO else RESTLESS_MASTER
        return self.config.image == wanted and w[D + i] in NEW_ISH

    def eligible(self, w: World | Draft, i: int) -> bool:
        """The rule CLAIM, as the service asks for it."""
        return self._leads[w[D + i], bool(w[F + i] or w[FB + i])]

    def readiness(self, w: World | Draft, i: int) -> tuple[bool, ...]:
        """What the row of a node may say about "ready" now."""
        if w[M + i] != UP or not self.eligible(w, i) or w[H + i] == FAILED:
            return (False,)
        if w[H + i] != PENDING:
            return (True,)
        return (False,) if self.ill(w, i) else (False, True)

    @staticmethod
    def serves(w: World | Draft, i: int) -> bool:
        """Whether the node acts as master under the present epoch, and can answer."""
        return w[M + i] == UP and w[V + i] == NOW and w[L] == i and w[ACT] == 1 and w[DB] == 0

    def grants(self, w: World | Draft, i: int) -> bool:
        """Whether the node can let a grant be consumed."""
        if self.serves(w, i):
            return True
        return not self.config.database_needed and w[M + i] == UP and w[V + i] == NOW and w[L] == i

    def bump(self, w: Draft) -> None:
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

    def health_anew(self, w: Draft, i: int) -> None:
        w[H + i] = PENDING if self.config.health_anew or w[H + i] not in (SOAKED, CARRIED) else CARRIED

    def revise(self, w: Draft) -> None:
        """The update's revision rises: a decision on its way is stale."""
        w[P] |= w[P] and 1

    def down(self, w: Draft, i: int, mode: int) -> None:
        """The node's service is gone."""
        if w[V + i]:
            w[P] = 0
        w[M + i], w[V + i], w[H + i] = mode, NO, PENDING
        if w[L] == i:
            w[RUN], w[HO] = 0, 0
            w[FEN] = 0 if w[FEN] == 1 else w[FEN]

    def boot(self, w: Draft, i: int, *, network: bool = False) -> tuple[Event, ...]:
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

    def enter(self, w: Draft, to: State) -> tuple[Event, ...]:
        """Change the update's state, as the loop's transaction does."""
        n = N[to]
        if to is State.INSTALL_2 or w[ST] == N[State.REQUESTED]:
            w[GR], w[WI], w[AL] = G_NONE, 0, 1
        if to in (State.PROVING, State.ROLLBACK) or to.ended:
            w[GR], w[WI], w[AL] = G_NONE, 0, 1
            for i in (0, 1):
                w[M + i] = ASK_OLD if w[M + i] == ASK_NOW else w[M + i]
        w[ST] = n
        self._forget(w, to)
        return (('enter', n),)

    @staticmethod
    def _forget(w: Draft, to: State) -> None:
        """Let go of what no later step depends on; states that differ in nothing else are one."""
        if to in (State.ROLLBACK, State.INSTALL_2) or to.ended:
            w[HE] = 0
        if to is State.ROLLBACK or to.ended:
            w[PA] = 0
        for i in (0, 1):
            if w[H + i] != CARRIED and (w[H + i] == SOAKED or w[V + i] != NO):
                w[H + i] = PENDING
        if to.ended:
            # A retry counts anew, and no token or installer is of its attempt.
            w[AB], w[RL], w[LF] = 0, 1, 1
            older = {ASK_NOW: ASK_OLD, GO_NOW: GO_OLD, WRITE_NOW: WRITE_OLD}
            for i in (0, 1):
                w[FB + i], w[F + i] = w[FB + i] | w[F + i], 0
                w[D + i] = NEW_OLD if w[D + i] == NEW else w[D + i]
                w[M + i] = older.get(w[M + i], w[M + i])

    def _put(self, out: Moves, label: str, i: int, w: Draft, fault: bool = False,
             events: tuple[Event, ...] = ()) -> None:  # fmt: skip
        if not fault or self.config.faults:
            out.append((i, label, fault, events, bytes(w)))

    def _machine(self, s: World, i: int, out: Moves) -> None:
        mode, disk, other = s[M + i], s[D + i], 1 - i
        w = Draft(s)
        if mode == OFF:
            cared = self.serves(s, other) and not s[BD + i]
            due = s[ST] in WIPING_N and TARGET_N[s[ST]] == i and s[GR] in (G_NONE, G_OPEN)
            alone = s[M + other] != UP or not self.eligible(s, other)
            self.boot(w, i)
            if cared and not due and self.config.power_again:
                self._put(out, 'is powered on by the master', i, w)
            else:
                self._put(out, 'power returns', i, w, fault=not alone)
            if self.config.faults:
                w = Draft(s)
                events = self.boot(w, i, network=True)
                self._put(out, 'stray power-on, network boot', i, w, True, events)
        elif mode == DEAD:
            if disk != HALF:
                self.boot(w, i)
                self._put(out, 'the service starts', i, w)
            elif self.config.half_boots:
                w[M + i] = UP
                self._put(out, 'what is half installed boots', i, w, True)
        elif mode == UP:
            self._service(s, i, out)
        elif mode == PAUSED:
            w[M + i] = UP
            self._put(out, 'resumes', i, w, True)
            w = Draft(s)
            self.down(w, i, UP)
            self._put(out, 'hangs, and is started again by its watchdog', i, w)
        elif mode in (ASK_NOW, ASK_OLD):
            valid = mode == ASK_NOW and s[GR] == G_OPEN
            asked = self.grants(s, other) and (valid or not self.config.grant_of_epoch)
            if asked:
                w[M + i], w[GR], w[WI] = GO_NOW, G_CONSUMED, 1
                w[FB + i] &= not self.config.wipe_ends_proof
                self.revise(w)
                self._put(out, 'consumes the grant', i, w, events=(('consume', i),))
                w = Draft(s)
            self.boot(w, i)
            self._put(out, 'is refused and boots its disk', i, w, fault=asked)
        elif mode != LOST:
            self._installer(s, i, out)

    def _installer(self, s: World, i: int, out: Moves) -> None:
        mode, disk, other = s[M + i], s[D + i], 1 - i
        current = mode in (GO_NOW, WRITE_NOW)
        w = Draft(s)
        if mode in (GO_NOW, GO_OLD):
            if self.config.torn and disk == OLD:
                w[D + i] = TORN
            else:
                w[D + i], w[M + i] = HALF, WRITE_NOW if current else WRITE_OLD
            self._put(out, 'wipes its disk', i, w, events=(('wipe', i),))
        elif disk == HALF:
            w[D + i] = RAW
            self._put(out, 'all files are written', i, w)
        elif self.config.broken_installer == i:
            w[GR] = G_FAILED if current and self.serves(s, other) and s[GR] == G_CONSUMED else s[GR]
            self.revise(w)
            self.down(w, i, DEAD)
            self._put(out, 'the installer fails', i, w)
        elif disk == RAW:
            w[D + i] = NEW if current else NEW_OLD
            self._put(out, 'the token is written', i, w)
        else:
            heard = current and self.serves(s, other) and s[GR] == G_CONSUMED
            self.boot(w, i)
            if not (heard and self.config.reports):
                self._put(out, 'reboots', i, w)
            else:
                self._put(out, 'reboots, its report is lost', i, w, fault=True)
                w = Draft(w)
                w[GR] = G_WRITTEN
                self.revise(w)
                self._put(out, 'reports "written" and reboots', i, w)
        if not self.config.faults or self.config.broken_installer == i:
            return
        known = current and s[GR] == G_CONSUMED and self.serves(s, other)
        if known:
            w = Draft(s)
            w[GR] = G_FAILED
            self.revise(w)
            self.down(w, i, DEAD)
            self._put(out, 'the installer fails', i, w, True)
            if self.config.nonce_bound:
                w = Draft(w)
                self.boot(w, i)
                self._put(out, 'starts again with a new nonce, is refused', i, w, True)
            else:
                w = Draft(s)
                w[M + i] = GO_NOW
                self._put(out, 'starts again with a new nonce', i, w, True, (('consume-again', i),))

    def _around(self, s: World, i: int, out: Moves) -> None:
        """BMCs, the database, and what breaks for good."""
        w = Draft(s)
        if s[BD + i]:
            w[BD + i] = 0
            self._put(out, 'its BMC answers again', i, w)
        elif self.config.bmcs:
            w[BD + i] = 1
            self._put(out, 'its BMC does not answer', i, w, True)
        if self.config.outages and i == 0:
            w = Draft(s)
            w[DB] = 1 - s[DB]
            self._put(out, 'the database is back' if s[DB] else 'the database is gone', i, w, not s[DB])
        if s[DB] and s[M + i] == UP:
            self._cut_off(s, i, out)
        if s[LO] and s[M + i] != LOST:
            w = Draft(s)
            self.down(w, i, LOST)
            w[D + i], w[LO] = HALF, s[LO] - 1
            out.append((i, 'breaks for good', True, (), bytes(w)))
        elif s[M + i] == LOST and self.serves(s, 1 - i) and TARGET_N.get(s[ST]) == i:
            w = Draft(s)
            w[M + i], w[D + i], w[F + i], w[GR], w[AL], w[RL] = DEAD, HALF, 0, G_NONE, 0, 1
            w[ST] = N[State.INSTALL_1 if i == 0 else State.INSTALL_2]
            self.revise(w)
            out.append((i, 'an operator replaces it by a blank machine', True, (), bytes(w)))

    def _cut_off(self, s: World, i: int, out: Moves) -> None:
        """What a service does while the database is gone."""
        w = Draft(s)
        if s[V + i]:
            w[V + i] = NO
            self.health_anew(w, i)
            self._put(out, 'stops serving until the database is back', i, w)
        elif s[L] == i and s[HO] not in (0, GIVING_UP):
            w[HO] = GIVING_UP if s[DEM] == 1 else 0
            self._put(out, 'gives the hand-over up', i, w)

    def _service(self, s: World, i: int, out: Moves) -> None:
        """What a running service does beside the lease and the loop: its proof, its health."""
        mine = i if s[ST] not in ENDED_N and s[ST] != N[State.REQUESTED] else -1
        has_entry = mine == 0 or (mine == 1 and s[ST] in (N[State.PROVING], N[State.ROLLBACK],
                                                          N[State.INSTALL_2], N[State.VERIFY_2]))  # fmt: skip
        if has_entry and not s[F + i] and not s[DB]:
            proved = s[D + i] == NEW or (s[D + i] == NEW_OLD and not self.config.token_of_attempt)
            proved = proved or (s[D + i] == ROT and not self.config.rehash)
            label_only = s[ST] in WIPING_N and TARGET_N[s[ST]] == i and s[V + i] == NO
            if proved or (not self.config.evidence and label_only):
                w = Draft(s)
                w[F + i] = 1
                self.revise(w)
                self._put(out, 'finalises its entry', i, w, events=(('final', i),))
        ill, health = self.ill(s, i), s[H + i]
        soaks, feels = HEALTH_COUNTS[s[V + i] != NO][i]
        if ill:
            if health != FAILED and s[ST] in feels:
                w = Draft(s)
                w[H + i] = FAILED
                self._put(out, 'is ill', i, w)
        elif health == FAILED or (health == PENDING and s[ST] in soaks and not self.restless(s, i)):
            w = Draft(s)
            w[H + i] = PENDING if health == FAILED else SOAKED
            self._put(out, 'is well' if health == FAILED else 'was healthy for the soak', i, w)

    def _faults(self, s: World, i: int, out: Moves) -> None:
        mode = s[M + i]
        if mode not in (OFF, LOST):
            w = Draft(s)
            self.down(w, i, OFF)
            self._put(out, 'loses power', i, w, True)
            if self.config.rot and s[D + i] == NEW and not s[F + i]:
                w = Draft(w)
                w[D + i] = ROT
                self._put(out, 'loses power, and a file of the new system', i, w, True)
        if mode == UP:
            if s[L] == i or s[V + i]:
                w = Draft(s)
                self.down(w, i, UP)
                self._put(out, 'the service is killed, and starts again', i, w, True)
            if s[V + i] or (s[L] == i and s[HO]):
                w = Draft(s)
                w[M + i] = PAUSED
                self._put(out, 'is paused', i, w, True)
            if s[H + i] != FAILED and s[ST] in HEALTH_COUNTS[s[V + i] != NO][i][1]:
                w = Draft(s)
                w[H + i] = FAILED
                self._put(out, 'is ill for a while', i, w, True)
            if s[V + i] and s[HO] == 0:
                w = Draft(s)
                w[V + i] = NO
                self.health_anew(w, i)
                self._put(out, 'cannot reach the database and stops serving', i, w, True)
        if s[GR] == G_OPEN and i == 0:
            w = Draft(s)
            w[GR] = G_NONE
            for n in (0, 1):
                w[M + n] = ASK_OLD if s[M + n] == ASK_NOW else s[M + n]
            self._put(out, 'the grant expires', i, w, True)
