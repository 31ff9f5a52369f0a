"""The moves of the model, driven by the production's own rules.

The update is decided by :func:`ovca.remaster.protocol.rule_for`, the lease by :func:`ovca.cluster.election.step`, and
who may lead by :func:`ovca.remaster.protocol.may_claim`; the world around them is in :mod:`tests.model.machines`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from ovca.cluster.election import Standing, Step
from ovca.remaster.protocol import Act, Rule, Situation, Software, State, Verdict, rule_for
from tests.model.machines import Machines
from tests.model.world import (
    AB,
    ACT,
    AL,
    ASK_NOW,
    ASK_OLD,
    BD,
    DB,
    DEM,
    ENDED_N,
    FAILED,
    FB,
    FEN,
    G_NONE,
    G_OPEN,
    GIVING_UP,
    GO_NOW,
    GO_OLD,
    GR,
    GRANTS,
    HALF,
    HE,
    HEALTHS,
    HO,
    LF,
    LOST,
    NEW,
    NEW_ISH,
    NEW_OLD,
    NO,
    NOW,
    OFF,
    OLD,
    PA,
    PENDING,
    PR,
    RL,
    RT,
    RUN,
    SOAKED,
    SOFTWARE,
    ST,
    STALE,
    STATES,
    TORN,
    UP,
    WHICH,
    WI,
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

VERDICTS = (Verdict.PENDING, Verdict.PASSED, Verdict.FAILED)


class NoRule(Exception):
    """The table is not total."""


class System(Machines):
    """All moves of one world; decisions are remembered by situation."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.unsteady = config.bmcs or config.outages or config.losses > 0
        self._blocks = (1,) if config.blocked_for_good else (0, 1) if config.blocked else (0,)
        self._rules: dict[tuple[int, ...], int] = {}
        self._steps: dict[tuple[bool, ...], Step] = {}
        self._give = {n: i for i, n in enumerate(
            (n for n, r in enumerate(config.rules) if r.decision.act is Act.HAND_OVER), 1)}  # fmt: skip
        self._given = {i: config.rules[n] for n, i in self._give.items()}
        self._half = len(self._give)
        self._used: set[str] = set()

    def rules_used(self) -> set[str]:
        """The rules that applied somewhere so far."""
        return set(self._used)

    def moves(self, s: World) -> Moves:
        """Return all that may happen next."""
        out: Moves = []
        for i in (0, 1):
            self._machine(s, i, out)
            if self.unsteady:
                self._around(s, i, out)
            if s[M + i] == UP and not s[DB]:
                self._lease(s, i, out)
                if s[V + i] == NOW or (s[V + i] == STALE and not self.config.fenced_writes):
                    self._loop(s, i, out)
            if self.config.faults:
                self._faults(s, i, out)
        return out

    def _lease(self, s: World, i: int, out: Moves) -> None:
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
        w = Draft(s)
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
            w[DEM] = 2 if demoted and w[FEN] != 2 else 0
            self.bump(w)
            self._put(out, 're-claims the lease', i, w, events=(('epoch', i),))
        elif what is Step.FENCE and s[FEN] == 0:
            word = s[BD + 1 - i] or s[M + 1 - i] == LOST
            if s[M + 1 - i] != LOST and self.config.fence and (self.config.true_word or not word):
                self.down(w, 1 - i, OFF)
            w[FEN] = 1
            if word:
                self._put(out, 'is told by an operator that the other node is off', i, w)
            else:
                self._put(out, 'fences the other node: it is off', i, w, events=(('reset', 1 - i), ('fence', 1 - i)))
        elif what in (Step.FENCE, Step.ACT):
            w[ACT], w[FEN], w[V + i], w[DEM] = 1, 2, NOW, w[DEM] & 1
            self.health_anew(w, i)
            self._put(out, 'acts', i, w, events=(('act', i),))
        elif what is Step.RENEW:
            if s[V + i] != NOW and s[HO] == 0:
                w[V + i] = NOW
                self.health_anew(w, i)
                self._put(out, 'serves again', i, w, events=(('act', i),))
            elif 1 <= s[HO] <= 2 * self._half:
                self._hand_over(s, i, out)

    def _claim(self, s: World, i: int, out: Moves) -> None:
        holder = 1 - i
        kept = s[M + holder] == UP and (s[RUN] == 0 or s[DEM] != 1 or s[HO] != 0) and self.eligible(s, holder)
        kept = kept and self.config.expiry_needed
        w = Draft(s)
        w[L], w[RUN], w[ACT], w[FEN] = i, 1, 0, 0
        w[DEM] = 2 if s[DEM] == 1 else 0
        self.bump(w)
        self._put(
            out, 'claims the lease' + (' (false expiry)' if kept else ''), i, w, kept, (('epoch', i), ('claim', i))
        )

    def _hand_over(self, s: World, i: int, out: Moves) -> None:
        """The giver's next act: it has stopped its roles (first half), or noted its demotion (second half)."""
        w = Draft(s)
        if s[HO] <= self._half:
            w[HO], w[DEM], w[ACT] = s[HO] + self._half, 1, 0
            self._put(out, 'notes its demotion', i, w)
            if self.config.early_give_up:
                w = Draft(s)
                w[HO], w[V + i] = 0, NOW
                self.health_anew(w, i)
                self._put(out, 'gives the hand-over up before the demotion', i, w, True)
            return
        rule = self._given[s[HO] - self._half]
        other = 1 - i
        ready = self.readiness(s, other) if self.config.ready_at_giving else (True,)
        if rule.decision.to is State.PROVING and self.config.soak_at_giving and s[H + other] != SOAKED:
            ready = (False,)
        if True in ready:
            events: tuple[Event, ...] = (('epoch', i), ('write', i), ('give', other))
            if rule.decision.to is not None:
                events += self.enter(w, rule.decision.to)
            takes = self.config.receiver_takes_epoch and w[M + other] == UP
            w[L], w[RUN], w[ACT], w[FEN], w[DEM] = other, int(takes), 0, 0, 2
            self.bump(w)
            if self.config.stop_before_giving:
                self.boot(w, i)
                events += (('reset', i),)
            self._put(out, 'gives the lease to the other node and reboots', i, w, events=events)
            if self.config.caps:
                w = Draft(w)
                w[LF] = 0
                self._put(out, 'gives the lease to the other node for the last time', i, w, True, events)
        w = Draft(s)
        w[HO] = GIVING_UP
        self._put(out, 'gives the hand-over up after the demotion', i, w, fault=True in ready)

    def _loop(self, s: World, i: int, out: Moves) -> None:
        if s[P] and self.config.inflight:
            if s[M + i] == UP:
                self._arrives(s, i, out)
            return
        if s[HO] or (s[V + i] == NOW and not self.serves(s, i)):
            return
        done = set()
        lates = (0, 1) if self.config.deadlines else (0,)
        for late, blocked in itertools.product(lates, self._blocks):
            for ready in self.readiness(s, 1 - i):
                n = self.decision(s, i, late, int(ready), blocked)
                if (n, blocked, 0) not in done and (n, blocked, late + ready) not in done:
                    done.add((n, blocked, late and late + ready))
                    self._carry_out(s, i, n, out, blocked=blocked, late=late, ready=ready)
                    if self.config.inflight and self.config.rules[n].decision.act is Act.MOVE:
                        w = Draft(s)
                        w[P] = 2 + 2 * n
                        self._put(out, f'decides {self.config.rules[n].id} and stalls', i, w, True)
        self._person(s, i, out)
        if self.config.abort and not s[AB] and s[ST] not in ENDED_N:
            w = Draft(s)
            w[AB] = 1
            self.revise(w)
            out.append((i, 'takes an abort', True, (), bytes(w)))
        if s[RT] and s[ST] in (N[State.FAILED_DEGRADED], N[State.FAILED_ROLLED_BACK], N[State.FAILED_FORWARD]):
            self._retry(s, i, out)

    def _person(self, s: World, i: int, out: Moves) -> None:
        """An operator pauses the update, or lets it go on."""
        if s[PA] or s[HE]:
            w = Draft(s)
            w[PA] = w[HE] = 0
            self.revise(w)
            self._put(out, 'an operator continues', i, w)
        if self.config.pause and not s[PA] and s[ST] not in ENDED_N and s[ST] != N[State.ROLLBACK]:
            w = Draft(s)
            w[PA] = 1
            if s[GR] == G_OPEN and self.config.pause_revokes:
                w[GR] = G_NONE
                o = 1 - i
                w[M + o] = ASK_OLD if s[M + o] == ASK_NOW else s[M + o]
            self.revise(w)
            out.append((i, 'an operator pauses', True, (), bytes(w)))

    def _arrives(self, s: World, i: int, out: Moves) -> None:
        n, stale = divmod(s[P] - 2, 2)
        w = Draft(s)
        w[P] = 0
        if stale and self.config.fenced_writes:
            self._put(out, 'a stale decision is refused', i, w)
        else:
            self._carry_out(bytes(w), i, n, out, arrived=bool(stale))

    def decision(self, s: World, i: int, late: int, ready: int, blocked: int = 0) -> int:
        """The number of the rule that applies."""
        key = (*self._key(s, i, late, ready), blocked)
        n = self._rules.get(key)
        if n is None:
            situation = self._situation(key[:-1])
            rule = self._rule(situation)
            if rule.decision.act is Act.CHECK:
                verdict = Verdict.FAILED if blocked else Verdict.PASSED
                rule = self._rule(replace(situation, stage_checks=verdict))
            if rule.decision.act is Act.REHASH:
                whole = Verdict.PASSED if s[D + i] == OLD and not self.config.edited else Verdict.FAILED
                rule = self._rule(replace(situation, rehashed=whole))
            n = self._rules[key] = self.config.rules.index(rule)
        return n

    def _rule(self, situation: Situation) -> Rule:
        try:
            rule = rule_for(situation, self.config.rules)
        except RuntimeError as exc:
            raise NoRule(str(exc)) from exc
        self._used.add(rule.id)
        return rule

    def situation(self, s: World, i: int, *, late: bool = False, ready: bool = True) -> Situation:
        """What node ``i`` knows when it leads."""
        return self._situation(self._key(s, i, int(late), int(ready)))

    def _key(self, s: World, i: int, late: int, ready: int) -> tuple[int, ...]:
        o = 1 - i
        seen = s[M + o] == UP
        disk, odisk = s[D + i], s[D + o] if seen else HALF
        if s[ST] == N[State.REQUESTED]:
            one = s[RT] < self.config.retries or self.config.reinstall is not None
            well = s[H + i] != FAILED and ((seen and s[H + o] != FAILED) or one)
            checks = VERDICTS.index(self.config.checks) if well else 2
            checks = 0 if s[PA] and checks == 2 else checks  # while it waits they are not run; what passed still counts
        else:
            checks = 0
        proven_new = s[PR] and i == 0 and disk in NEW_ISH
        return (s[ST], i, disk, int(s[F + i] or proven_new), s[F + i] or s[FB + i], s[H + i], odisk, s[F + o],
                s[H + o] if seen else PENDING, ready, s[PR], s[GR], s[WI], checks, s[AL], late,
                s[AB], s[PA], s[HE], s[RL], s[LF])  # fmt: skip

    def _situation(self, key: tuple[int, ...]) -> Situation:
        state, leader, disk, final, final_before, health, odisk, ofinal, ohealth, ready, proven, grant, wiped = key[:13]
        checks, left, late, abort, paused, held, resets, hand_overs = key[13:]
        runs = SOFTWARE[disk]
        return Situation(
            state=STATES[state], leader=WHICH[leader], leader_runs=runs, leader_final=bool(final),
            leader_final_before=runs is Software.NEW and bool(final_before), leader_health=HEALTHS[health],
            peer_runs=SOFTWARE[odisk], peer_final=bool(ofinal), peer_health=HEALTHS[ohealth],
            peer_ready=bool(ready), proven=bool(proven), grant=GRANTS[grant], wiped=bool(wiped),
            checks=VERDICTS[checks], stage_checks=Verdict.PENDING, attempts_left=bool(left),
            late=bool(late), abort=bool(abort), paused=bool(paused), held=bool(held), resets_left=bool(resets),
            hand_overs_left=bool(hand_overs))  # fmt: skip

    def _carry_out(self, s: World, i: int, n: int, out: Moves, *, arrived: bool | None = None,
                   blocked: int = 0, late: int = 0, ready: bool = False) -> None:  # fmt: skip
        rule = self.config.rules[n]
        act, to, o = rule.decision.act, rule.decision.to, 1 - i
        w = Draft(s)
        events: tuple[Event, ...] = (('write', i),)
        if blocked and (rule.decision.commit_point or (act is Act.HAND_OVER and to is State.PROVING)):
            events += (('blocked', i),)
        if late:
            events += (('late', i), ('ready' if ready else 'unready', 1 - i))
        if arrived is not None:
            events += (('arrived', i),)
        if arrived or s[V + i] == STALE:
            events += (('stale-write', i),)
        if act is Act.MOVE and to is not None:
            if rule.decision.commit_point:
                if self.config.commit_guard and (i != 0 or s[D + i] not in NEW_ISH):
                    return  # the transaction's own guard
                w[PR] = 1
                events += (('commit', i),)
            events += self.enter(w, to)
        elif act is Act.ISSUE:
            events += (('issue', o),)
            w[GR] = G_OPEN
            w[M + o] = ASK_OLD if s[M + o] == ASK_NOW else s[M + o]
        elif act is Act.ATTEMPT and to is not None:
            events += (('attempt', o),)
            w[GR], w[AL], w[F + o] = G_NONE, 0, 0
            w[ST] = N[to]
            w[D + o] = NEW_OLD if s[D + o] == NEW else s[D + o]
            older = {ASK_NOW: ASK_OLD, GO_NOW: GO_OLD, WRITE_NOW: WRITE_OLD}
            w[M + o] = older.get(s[M + o], s[M + o])
        elif act is Act.DRIVE:
            if s[BD + o] or s[M + o] == LOST:
                self._put(out, f'[{rule.id}], in vain', i, w, False, (*events, ('drive', o)))
                return
            events += (*self.boot(w, o, network=True), ('reset', o), ('drive', o))
            self._put(out, f'[{rule.id}]', i, w, s[M + o] == ASK_NOW, events)
            if self.config.bmcs:
                ignored = Draft(s)
                self.boot(ignored, o)
                self._put(out, f'[{rule.id}], but it boots its disk', i, ignored, True, events)
            if self.config.caps:
                w = Draft(w)
                w[RL] = 0
                self._put(out, f'[{rule.id}], the last one', i, w, True, events)
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
        self._put(out, f'[{rule.id}]', i, w, False, events)

    def _retry(self, s: World, i: int, out: Moves) -> None:
        """An operator retries: only where the old software leads, or the proven node does."""
        allowed = s[D + i] in NEW_ISH and i == 0 if s[PR] else s[D + i] in (OLD, TORN) and i == 1
        if not allowed and not self.config.retry_anywhere:
            return
        w = Draft(s)
        older = {ASK_NOW: ASK_OLD, GO_NOW: GO_OLD, WRITE_NOW: WRITE_OLD}
        for n in (0, 1):
            w[FB + n] |= w[F + n]
            w[F + n] = 0
            w[D + n] = NEW_OLD if s[D + n] == NEW else s[D + n]
            w[M + n] = older.get(s[M + n], s[M + n])
        w[ST], w[GR], w[WI], w[AL], w[AB], w[RT] = N[State.REQUESTED], G_NONE, 0, 1, 0, s[RT] - 1
        w[PA], w[HE], w[RL], w[LF] = 0, int(self.config.hold), 1, 1
        out.append((i, 'an operator retries', True, (), bytes(w)))
