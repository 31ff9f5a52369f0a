"""Two management nodes, their lease and one update as a transition system, driven by the production's own rules.

What happens next to the update is asked of :func:`ovca.remaster.protocol.rule_for`, what a node does about the lease of
:func:`ovca.cluster.election.step`, and who may lead of :func:`ovca.remaster.protocol.may_claim`. This module adds only
the world around them: disks, power, services, installers, the rows, and faults.

A state is a tuple of small integers (the fields are named below). Bounds and abstractions:

* Time is left out. A deadline may pass, a soak may end and a lease may run out at any moment that the real ones could,
  and earlier; a *false* expiry (the holder is alive) is a fault. Epochs are relative: a belief or a grant is of the
  present epoch or of an older one. Attempts are counted by "one is left" (two in all), a token or a running installer
  belongs to the present attempt or to an older one. So nothing is bounded but retries and aborts (at most
  :attr:`Config.retries` and one a run).
* A decision is taken and written at once; with :attr:`Config.inflight` a master may also stall between both, and its
  decision arrives later. A stalled power cycle with network boot is the same as the faults "power loss" and "stray
  power-on with network boot"; a delayed or lost reply is the same as a loss of power right after it.
* Faults are unlimited in number: loss of power, a killed service, a pause of a node that holds the lease or serves, a
  false expiry, a stray power-on, a network boot nobody asked for, an installer that fails or starts again with a new
  nonce, a lost report, an expired grant, passing ill health, an outage that makes the master stop serving, a hand-over
  that is given up half-way.
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
    Act,
    Grant,
    Health,
    Rule,
    Situation,
    Software,
    State,
    Verdict,
    Which,
    may_claim,
    rule_for,
)

World = tuple[int, ...]
Event = tuple[str, int]

# Fields. M, D, H, V, F and FB have one value for each node: FIRST at the index, SECOND after it.
M, D, H, V = 0, 2, 4, 6
HO, L, RUN, ACT, DEM, FEN = 8, 9, 10, 11, 12, 13
ST, GR, WI, AL, PR, F, AB, FB, RT, P = 14, 15, 16, 17, 18, 19, 21, 22, 24, 25
SIZE = 26

# M: what a machine does. An installer "now" belongs to the present attempt (and order), else to an older one.
OFF, DEAD, UP, PAUSED, ASK_NOW, ASK_OLD, GO_NOW, GO_OLD, WRITE_NOW, WRITE_OLD = range(10)
"""DEAD is powered without a service; GO has a consumed grant and has wiped nothing yet; WRITE has wiped."""
# D: what is on its disk. RAW is all files without the token; TORN is a wipe that stopped where the old still boots.
OLD, HALF, RAW, NEW, NEW_OLD, TORN = range(6)
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
            HALF: Software.UNKNOWN}  # fmt: skip
INSTALLING = frozenset((GO_NOW, GO_OLD, WRITE_NOW, WRITE_OLD))
ENDED_N = frozenset(STATES.index(s) for s in ENDED)
TARGET_N = {STATES.index(s): WHICH.index(w) for s, w in TARGET.items()}
WIPING_N = frozenset(STATES.index(s) for s in WIPING)
DECIDED_N = frozenset(range(len(STATES))) - ENDED_N | {STATES.index(s) for s in BEFORE_COMMIT_ENDED}
N = {s: STATES.index(s) for s in STATES}
GIVING_UP = -1

GOOD, BAD, BAD_MASTER = 'good', 'bad', 'bad-as-master'


class Move(NamedTuple):
    """One step of the world."""

    label: str
    fault: bool
    events: tuple[Event, ...]
    after: World


@dataclass(frozen=True)
class Config:
    """Which world is explored. The switches below ``image`` take one rule out each when they are turned off."""

    image: str = GOOD
    faults: bool = True
    """Without faults no deadline passes either."""
    abort: bool = False
    retries: int = 0
    inflight: bool = False
    torn: bool = False
    """A wipe may stop where the old system still boots."""
    early_give_up: bool = True
    """A hand-over may fail before the giver has noted its demotion, too."""
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
    power_again: bool = True
    health_anew: bool = True
    """The soak starts anew with each role and epoch."""
    reclaim_keeps_proof: bool = True
    commit_guard: bool = True
    """The transaction of the commit point looks again at who leads and what that node runs."""
    retry_bound: bool = True
    """A retry starts only where the old software leads, or the proven node does."""
    wipe_ends_proof: bool = True
    """What an earlier update proved about a node counts until a grant for that node is consumed."""


def start(config: Config) -> World:
    """An update was just asked for: both nodes are up on the old software, and SECOND is the acting master."""
    w = [0] * SIZE
    w[M] = w[M + 1] = UP
    w[V + 1], w[L], w[RUN], w[ACT], w[FEN] = NOW, 1, 1, 1, 2
    w[ST], w[AL], w[RT] = N[State.REQUESTED], 1, config.retries
    return tuple(w)


class System:
    """The moves of one world; decisions are remembered by situation."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._rules: dict[tuple[int, ...], int] = {}
        self._steps: dict[tuple[bool, ...], Step] = {}
        self._give = {n: i for i, n in enumerate(
            (n for n, r in enumerate(config.rules) if r.decision.act is Act.HAND_OVER), 1)}  # fmt: skip
        self._given = {i: config.rules[n] for n, i in self._give.items()}
        self._half = len(self._give)

    # Small facts.

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
        w[M + i], w[V + i], w[H + i] = mode, NO, PENDING
        if w[L] == i:
            w[RUN], w[HO] = 0, 0
            w[FEN] = 0 if w[FEN] == 1 else w[FEN]
            w[P] = 0

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

    # The moves.

    def moves(self, s: World) -> list[Move]:
        """Return all that may happen next."""
        out: list[Move] = []
        for i in (0, 1):
            self._machine(s, i, out)
            if s[M + i] == UP:
                self._lease(s, i, out)
                if s[V + i] == NOW or (s[V + i] == STALE and not self.config.fenced_writes):
                    self._loop(s, i, out)
            if self.config.faults:
                self._faults(s, i, out)
        return out

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

    def _lease(self, s: World, i: int, out: list[Move]) -> None:
        mine = s[L] == i
        demoted = s[DEM] == 1
        able = self.eligible(s, i)
        giving_up = mine and s[HO] == GIVING_UP
        key = (mine, s[RUN] == 1, s[ACT] == 1, demoted, s[DEM] == 2, s[FEN] == 2, able, giving_up)
        what = self._steps.get(key)
        if what is None:
            what = self._steps[key] = self.config.election(Standing(
                mine=mine, this_run=mine and s[RUN] == 1, acting=s[ACT] == 1, demoted=demoted,
                previous_demoted=s[DEM] == 2, fenced=s[FEN] == 2, expired=not mine, watched=not mine,
                eligible=able, giving_up=giving_up))  # fmt: skip
        w = list(s)
        if not mine and s[V + i]:
            w[V + i] = NO
            self.health_anew(w, i)
            self._put(out, 'sees that it leads no more', i, w)
            return
        if what is Step.CLAIM:
            self._claim(s, i, out)
        elif what is Step.STAY_DOWN:
            if s[V + i]:
                w[V + i] = NO
                self.health_anew(w, i)
                self._put(out, 'stops serving', i, w)
            elif 1 <= s[HO] <= 2 * self._half:
                self._hand_over(s, i, out)
        elif what is Step.RECLAIM:
            if demoted:
                w[ACT] = 0
            if w[FEN] != 2:
                w[FEN] = 2 if s[DEM] == 2 and self.config.reclaim_keeps_proof else 0
            if not self.config.reclaim_keeps_proof:
                w[ACT], w[FEN] = 0, 0
            w[RUN] = 1
            w[DEM] = 2 if demoted else 0
            self.bump(w)
            self._put(out, 're-claims the lease', i, w, events=(('epoch', i),))
        elif what is Step.FENCE and s[FEN] == 0:
            if self.config.fence:
                self.down(w, 1 - i, OFF)
            w[FEN] = 1
            self._put(out, 'fences the other node: it is off', i, w, events=(('reset', 1 - i),))
        elif what in (Step.FENCE, Step.ACT):
            w[ACT], w[FEN], w[V + i] = 1, 2, NOW
            self.health_anew(w, i)
            self._put(out, 'acts', i, w, events=(('act', i),))
        elif what is Step.RENEW:
            if s[V + i] != NOW and s[HO] == 0:
                w[V + i] = NOW
                self.health_anew(w, i)
                self._put(out, 'serves again', i, w, events=(('act', i),))
            elif 1 <= s[HO] <= 2 * self._half:
                self._hand_over(s, i, out)

    def _claim(self, s: World, i: int, out: list[Move]) -> None:
        holder = 1 - i
        kept = s[M + holder] == UP and (s[RUN] == 0 or s[DEM] != 1 or s[HO] != 0) and self.eligible(s, holder)
        w = list(s)
        w[L], w[RUN], w[ACT], w[FEN] = i, 1, 0, 0
        w[DEM] = 2 if s[DEM] == 1 else 0
        self.bump(w)
        self._put(out, 'claims the lease' + (' (false expiry)' if kept else ''), i, w, kept, (('epoch', i),))

    def _hand_over(self, s: World, i: int, out: list[Move]) -> None:
        """The giver's next act: it has stopped its roles (first half), or noted its demotion (second half)."""
        w = list(s)
        if s[HO] <= self._half:
            w[HO], w[DEM], w[ACT] = s[HO] + self._half, 1, 0
            self._put(out, 'notes its demotion', i, w)
            if self.config.early_give_up:
                w = list(s)
                w[HO] = GIVING_UP
                self._put(out, 'gives the hand-over up before the demotion', i, w, True)
            return
        rule = self._given[s[HO] - self._half]
        other = 1 - i
        ready = self.readiness(s, other) if self.config.ready_at_giving else (True,)
        if True in ready:
            events: tuple[Event, ...] = (('epoch', i), ('write', i))
            if rule.decision.to is not None:
                events += self.enter(w, rule.decision.to)
            w[L], w[RUN], w[ACT], w[FEN], w[DEM] = other, int(w[M + other] == UP), 0, 0, 2
            self.bump(w)
            if self.config.stop_before_giving:
                self.boot(w, i)
                events += (('reset', i),)
            self._put(out, 'gives the lease to the other node and reboots', i, w, events=events)
        w = list(s)
        w[HO] = GIVING_UP
        self._put(out, 'gives the hand-over up after the demotion', i, w, fault=True in ready)

    # The loop of the acting master.

    def _loop(self, s: World, i: int, out: list[Move]) -> None:
        if s[P] and self.config.inflight:
            if s[M + i] == UP:
                self._arrives(s, i, out)
            return
        if s[HO] or (s[V + i] == NOW and not self.serves(s, i)):
            return
        done = set()
        for late in (0, 1) if self.config.faults or s[ST] in ENDED_N else (0,):
            for ready in self.readiness(s, 1 - i):
                n = self.decision(s, i, late, int(ready))
                if n not in done:
                    done.add(n)
                    self._carry_out(s, i, n, out)
                    if self.config.inflight and self.config.rules[n].decision.act is Act.MOVE:
                        w = list(s)
                        w[P] = 2 + 2 * n
                        self._put(out, f'decides {self.config.rules[n].id} and stalls', i, w, True)
        if self.config.abort and not s[AB] and s[ST] not in ENDED_N:
            w = list(s)
            w[AB] = 1
            self.revise(w)
            self._put(out, 'takes an abort', i, w, True)
        if s[RT] and s[ST] in (N[State.FAILED_DEGRADED], N[State.FAILED_ROLLED_BACK], N[State.FAILED_FORWARD]):
            self._retry(s, i, out)

    def _arrives(self, s: World, i: int, out: list[Move]) -> None:
        n, stale = divmod(s[P] - 2, 2)
        w = list(s)
        w[P] = 0
        if stale and self.config.fenced_writes:
            self._put(out, 'a stale decision is refused', i, w)
        else:
            self._carry_out(tuple(w), i, n, out, arrived=bool(stale))

    def decision(self, s: World, i: int, late: int, ready: int) -> int:
        """The number of the rule that applies."""
        o = 1 - i
        seen = s[M + o] == UP
        disk, odisk = s[D + i], s[D + o] if seen else HALF
        if s[ST] == N[State.REQUESTED]:
            well = s[H + i] != FAILED and ((seen and s[H + o] != FAILED) or s[RT] < self.config.retries)
            checks = 1 if well else 2
        else:
            checks = 0
        # The re-hash of a node's own system tells the truth.
        hashed = 1 if disk == OLD else 2
        proven_new = s[PR] and i == 0 and disk in (RAW, NEW, NEW_OLD)
        key = (s[ST], i, disk, int(s[F + i] or proven_new), s[F + i] or s[FB + i], s[H + i], odisk, s[F + o],
               s[H + o] if seen else PENDING, ready, s[PR], s[GR], s[WI], hashed, checks, s[AL], late,
               s[AB])  # fmt: skip
        n = self._rules.get(key)
        if n is None:
            runs = SOFTWARE[disk]
            verdicts = (Verdict.PENDING, Verdict.PASSED, Verdict.FAILED)
            rule = rule_for(Situation(
                state=STATES[s[ST]], leader=WHICH[i], leader_runs=runs, leader_final=bool(key[3]),
                leader_final_before=runs is Software.NEW and bool(key[4]), leader_health=HEALTHS[s[H + i]],
                peer_runs=SOFTWARE[odisk], peer_final=bool(s[F + o]), peer_health=HEALTHS[key[8]],
                peer_ready=bool(ready), proven=bool(s[PR]), grant=GRANTS[s[GR]], wiped=bool(s[WI]),
                rehashed=verdicts[hashed], checks=verdicts[checks], attempts_left=bool(s[AL]), late=bool(late),
                abort=bool(s[AB])), self.config.rules)  # fmt: skip
            n = self._rules[key] = self.config.rules.index(rule)
        return n

    def _carry_out(self, s: World, i: int, n: int, out: list[Move], *, arrived: bool | None = None) -> None:
        rule = self.config.rules[n]
        act, to, o = rule.decision.act, rule.decision.to, 1 - i
        w = list(s)
        events: tuple[Event, ...] = (('write', i),)
        if arrived is not None:
            events += (('arrived', i),)
        if arrived or s[V + i] == STALE:
            events += (('stale-write', i),)
        if act is Act.MOVE and to is not None:
            if rule.decision.commit_point:
                if self.config.commit_guard and (i != 0 or s[D + i] not in (RAW, NEW, NEW_OLD)):
                    return  # the transaction's own guard
                w[PR] = 1
                events += (('commit', i),)
            events += self.enter(w, to)
        elif act is Act.ISSUE:
            w[GR] = G_OPEN
            w[M + o] = ASK_OLD if s[M + o] == ASK_NOW else s[M + o]
        elif act is Act.ATTEMPT and to is not None:
            w[GR], w[AL], w[F + o] = G_NONE, 0, 0
            w[ST] = N[to]
            w[D + o] = NEW_OLD if s[D + o] == NEW else s[D + o]
            older = {ASK_NOW: ASK_OLD, GO_NOW: GO_OLD, WRITE_NOW: WRITE_OLD}
            w[M + o] = older.get(s[M + o], s[M + o])
        elif act is Act.DRIVE:
            events += self.boot(w, o, network=True) + (('reset', o),)
            self._put(out, f'[{rule.id}]', i, w, s[M + o] == ASK_NOW, events)
            return
        elif act is Act.HAND_OVER:
            w[HO] = self._give[n]
            if self.config.stop_before_giving:
                w[V + i] = NO
                self.health_anew(w, i)
        else:
            return
        if act is not Act.HAND_OVER:
            self.revise(w)
        self._put(out, f'[{rule.id}]', i, w, 'late' in rule.id and not self.config.faults, events)

    def _retry(self, s: World, i: int, out: list[Move]) -> None:
        """An operator retries: only where the old software leads, or the proven node does."""
        allowed = s[D + i] in (RAW, NEW, NEW_OLD) and i == 0 if s[PR] else s[D + i] in (OLD, TORN) and i == 1
        if self.config.retry_bound and not allowed:
            return
        w = list(s)
        older = {ASK_NOW: ASK_OLD, GO_NOW: GO_OLD, WRITE_NOW: WRITE_OLD}
        for n in (0, 1):
            w[FB + n] |= w[F + n]
            w[F + n] = 0
            w[D + n] = NEW_OLD if s[D + n] == NEW else s[D + n]
            w[M + n] = older.get(s[M + n], s[M + n])
        w[ST], w[GR], w[WI], w[AL], w[AB], w[RT] = N[State.REQUESTED], G_NONE, 0, 1, 0, s[RT] - 1
        self._put(out, 'an operator retries', i, w, True)

    # Faults.

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
