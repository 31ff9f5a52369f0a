"""The remaster protocol: given what is known, what happens next. Pure, total, and data.

Two nodes are re-installed one after the other. ``FIRST`` is the standby when the update starts and is installed first;
``SECOND`` is the master of that moment. The published procedure is the path REQUESTED, INSTALL_1, VERIFY_1, PROVING,
INSTALL_2, VERIFY_2, DONE: the master writes an entry for the inactive node and provisions it, that node finalises its
own entry, the master sees it and hands over, and the new master provisions the old one.

:data:`RULES` is the whole table. For a :class:`Situation` the first rule of its state whose guard holds is the one that
applies, and every state ends with a rule that always holds, so there is a decision for everything. The service runs
this table, the documentation prints it, and the model checker in ``tests/model`` explores it.

What the rules rely on, and others keep:

* Only the acting master decides, and each change is written in a transaction that locks the lease and compares the
  update's revision with the one that was looked at. A decision made on old facts is dropped.
* A node is wiped only by an installer that consumed a grant; a consumed grant counts as a wipe from then on.
* An entry is final only on evidence: the pinned digest runs, and this attempt's token is on the disk.
* PROVING to INSTALL_2 is the commit point: before it an update rolls back, after it it only goes forward.
* A pause ends with the stage: nothing that was begun is broken off, failures and aborts act as ever, and no deadline
  passes while a person lets an update wait. Whoever pauses revokes the grants that nobody has consumed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ovca.exceptions import Refused


class StateUnknown(Refused, ValueError):
    """An update is in a state that newer software has brought."""

    def __init__(self, state: object) -> None:
        super().__init__(
            f'the state {state} is one that this software does not know; nothing is done about the update until '
            f'software leads that knows it'
        )


class State(enum.StrEnum):
    """Where an update is. :raises StateUnknown: made of a word that is none."""

    REQUESTED = 'REQUESTED'
    INSTALL_1 = 'INSTALL_1'
    VERIFY_1 = 'VERIFY_1'
    PROVING = 'PROVING'
    ROLLBACK = 'ROLLBACK'
    INSTALL_2 = 'INSTALL_2'
    VERIFY_2 = 'VERIFY_2'
    DONE = 'DONE'
    ABORTED = 'ABORTED'
    FAILED_DEGRADED = 'FAILED_DEGRADED'
    FAILED_ROLLED_BACK = 'FAILED_ROLLED_BACK'
    FAILED_FORWARD = 'FAILED_FORWARD'

    @classmethod
    def _missing_(cls, value: object) -> State:
        raise StateUnknown(value)

    @property
    def ended(self) -> bool:
        """Whether the update is over."""
        return self in ENDED


ENDED = frozenset({State.DONE, State.ABORTED, State.FAILED_DEGRADED, State.FAILED_ROLLED_BACK, State.FAILED_FORWARD})
BEFORE_COMMIT_ENDED = frozenset({State.ABORTED, State.FAILED_DEGRADED, State.FAILED_ROLLED_BACK})
"""End states in which the old software is the one to trust."""
WIPING = frozenset({State.INSTALL_1, State.INSTALL_2})
"""States in which a grant may be consumed."""


class Which(enum.StrEnum):
    """A node by its pinned place in the update, never by its role of the moment."""

    FIRST = 'first'
    SECOND = 'second'

    @property
    def other(self) -> Which:
        return Which.SECOND if self is Which.FIRST else Which.FIRST


TARGET = {
    State.INSTALL_1: Which.FIRST,
    State.VERIFY_1: Which.FIRST,
    State.INSTALL_2: Which.SECOND,
    State.VERIFY_2: Which.SECOND,
}


class Software(enum.StrEnum):
    """What a node runs, by the digest on its disk."""

    OLD = 'old'
    NEW = 'new'
    UNKNOWN = 'unknown'


class Health(enum.StrEnum):
    """How a node's health stands against the soak that its state asks for."""

    PENDING = 'pending'
    SOAKED = 'soaked'
    FAILED = 'failed'


class Grant(enum.StrEnum):
    """The newest grant of the target's present attempt."""

    NONE = 'none'
    """None that can be used: not issued, expired, or of an older epoch."""
    OPEN = 'open'
    CONSUMED = 'consumed'
    WRITTEN = 'written'
    FAILED = 'failed'
    """The installer reported a failure, or started anew after it had consumed the grant."""


class Verdict(enum.StrEnum):
    """The result of work that takes a while."""

    PENDING = 'pending'
    PASSED = 'passed'
    FAILED = 'failed'


@dataclass(frozen=True)
class Situation:
    """All that a decision may depend on, as the acting master sees it."""

    state: State
    leader: Which
    """The acting master, who decides."""
    leader_runs: Software
    leader_final: bool = False
    """The leader's own entry in this update is final."""
    leader_final_before: bool = False
    """The leader runs the new software by an earlier update (this one is a retry)."""
    leader_health: Health = Health.PENDING
    peer_runs: Software = Software.UNKNOWN
    peer_final: bool = False
    peer_health: Health = Health.PENDING
    peer_ready: bool = False
    """The peer's row says ready, in this boot and epoch, and is fresh."""
    proven: bool = False
    """The commit point was passed, by this update or by the one that it retries."""
    grant: Grant = Grant.NONE
    wiped: bool = False
    """Some grant for the target was consumed in this update."""
    rehashed: Verdict = Verdict.PENDING
    """The leader's system against the list of the old image; asked for only where a rule needs it."""
    checks: Verdict = Verdict.PENDING
    """The checks before the first node is touched."""
    stage_checks: Verdict = Verdict.PASSED
    """Those that are repeated before the hand-over and before the second wipe; asked for only where a rule needs it."""
    attempts_left: bool = True
    resets_left: bool = True
    """Fewer power cycles were ordered in this update than are allowed."""
    hand_overs_left: bool = True
    """Fewer hand-overs were made in this update than are allowed; those back to sound software need no permission."""
    late: bool = False
    """The deadline of the state, or of the attempt, has passed."""
    abort: bool = False
    paused: bool = False
    """An operator wants the update to go no further than the stage that it is in."""
    held: bool = False
    """An operator wants to be asked before the commit point."""

    @property
    def target_leads(self) -> bool:
        return TARGET.get(self.state) is self.leader

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed and counts: while a person lets an update wait, none does.

        A roll-back is never made to wait.
        """
        waits = self.paused or (self.held and self.state is State.PROVING)
        return self.late and not (waits and self.state is not State.ROLLBACK)


class Act(enum.StrEnum):
    """What a decision tells the service to do."""

    WAIT = 'wait'
    MOVE = 'move'
    """Change the state."""
    ISSUE = 'issue'
    """Issue the grant of the present attempt (again): not an attempt."""
    DRIVE = 'drive'
    """One-time network boot and power cycle of the target; rate-limited, repeatable."""
    ATTEMPT = 'attempt'
    """Begin a new attempt on the target: new grant, power cycle."""
    HAND_OVER = 'hand-over'
    """Give the lease to the peer."""
    CHECK = 'check'
    """Run the checks that must hold before the next stage."""
    REHASH = 'rehash'
    """Compare the leader's own system with the old image's list."""


class Quarantine(enum.StrEnum):
    """Which node must not serve while another one does."""

    NONE = 'none'
    FIRST = 'first'
    SECOND = 'second'


@dataclass(frozen=True)
class Decision:
    """What happens next, and the sentence that tells an operator why."""

    act: Act
    to: State | None = None
    """The state after it; None keeps the present one."""
    quarantine: Quarantine = Quarantine.NONE
    alarm: bool = False
    commit_point: bool = False


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    id: str
    states: frozenset[State]
    when: str
    guard: Callable[[Situation], bool]
    decision: Decision

    def applies(self, s: Situation) -> bool:
        return s.state in self.states and self.guard(s)


def _rule(
    id: str,
    states: State | frozenset[State],
    when: str,
    guard: Callable[[Situation], bool],
    act: Act,
    to: State | None = None,
    *,
    quarantine: Quarantine = Quarantine.NONE,
    alarm: bool = False,
    commit_point: bool = False,
) -> Rule:
    where = frozenset({states}) if isinstance(states, State) else states
    return Rule(id, where, when, guard, Decision(act, to, quarantine, alarm, commit_point))


def _as_pinned(s: Situation) -> bool:
    if s.proven:
        return s.leader is Which.FIRST and s.leader_runs is Software.NEW
    return s.leader is Which.SECOND and s.leader_runs is Software.OLD


def _used_up(s: Situation) -> bool:
    return not s.attempts_left and (s.overdue or s.grant is Grant.FAILED)


def _again(s: Situation) -> bool:
    return s.attempts_left and not s.paused and (s.overdue or s.grant is Grant.FAILED)


def _not_begun(s: Situation) -> bool:
    return not s.target_leads and s.grant in (Grant.NONE, Grant.OPEN)


def _could_take_over(s: Situation) -> bool:
    return not s.target_leads and s.peer_final and s.peer_health is H.SOAKED and s.peer_ready


def _proven_new(s: Situation) -> bool:
    return s.leader_runs is Software.NEW and s.leader_final


S, W, H = State, Which, Health
_1 = frozenset({S.INSTALL_1, S.VERIFY_1})
_2 = frozenset({S.INSTALL_2, S.VERIFY_2})

RULES: tuple[Rule, ...] = (
    # REQUESTED: nothing was touched yet.
    _rule('requested-abort', S.REQUESTED, 'an abort is asked for', lambda s: s.abort, Act.MOVE, S.ABORTED),
    _rule(
        'requested-master-changed', S.REQUESTED, 'the master is not the one, or runs not the software, that was pinned',
        lambda s: not _as_pinned(s), Act.MOVE, S.ABORTED,
    ),
    _rule('requested-checks-failed', S.REQUESTED, 'a check fails', lambda s: s.checks is Verdict.FAILED,
          Act.MOVE, S.ABORTED),
    _rule('requested-paused', S.REQUESTED, 'the update is paused', lambda s: s.paused, Act.WAIT),
    _rule('requested-retry-second', S.REQUESTED, 'the checks pass, and the first node is proven already',
          lambda s: s.checks is Verdict.PASSED and s.proven, Act.MOVE, S.INSTALL_2),
    _rule('requested-start', S.REQUESTED, 'the checks pass', lambda s: s.checks is Verdict.PASSED,
          Act.MOVE, S.INSTALL_1),
    _rule('requested-late', S.REQUESTED, 'the checks do not come to an end', lambda s: s.overdue, Act.MOVE, S.ABORTED),
    # The first node, while the old master leads.
    _rule('first-abort-untouched', S.INSTALL_1, 'an abort is asked for, and no grant was consumed',
          lambda s: s.abort and not s.target_leads and not s.wiped, Act.MOVE, S.ABORTED),
    _rule('first-abort', _1, 'an abort is asked for under the old master',
          lambda s: s.abort and not s.target_leads, Act.MOVE, S.FAILED_DEGRADED, quarantine=Quarantine.FIRST),
    _rule('first-final', S.INSTALL_1, 'the target has proved digest and token',
          lambda s: not s.target_leads and s.peer_final, Act.MOVE, S.VERIFY_1),
    _rule('first-unhealthy', S.VERIFY_1, 'the target stays unhealthy',
          lambda s: not s.target_leads and s.peer_health is H.FAILED,
          Act.MOVE, S.FAILED_DEGRADED, quarantine=Quarantine.FIRST),
    _rule('first-waits', S.VERIFY_1, 'the target could take over, and the update is paused',
          lambda s: s.paused and _could_take_over(s), Act.WAIT),
    _rule('first-check', S.VERIFY_1, 'the target could take over, and the checks before the hand-over are due',
          lambda s: _could_take_over(s) and s.stage_checks is Verdict.PENDING, Act.CHECK),
    _rule('first-blocked-late', S.VERIFY_1, 'the target could take over, and a check has failed until the deadline',
          lambda s: _could_take_over(s) and s.stage_checks is Verdict.FAILED and s.overdue,
          Act.MOVE, S.FAILED_DEGRADED, quarantine=Quarantine.FIRST, alarm=True),
    _rule('first-blocked', S.VERIFY_1, 'the target could take over, and a check before the hand-over fails',
          lambda s: _could_take_over(s) and s.stage_checks is Verdict.FAILED, Act.WAIT, alarm=True),
    _rule('first-hand-over', S.VERIFY_1, 'the target is final, was healthy for the soak, and is ready',
          _could_take_over, Act.HAND_OVER, S.PROVING),
    _rule('first-again', _1, 'the attempt failed or is late, and one is left',
          lambda s: not s.target_leads and _again(s), Act.ATTEMPT, S.INSTALL_1),
    _rule('first-used-up', _1, 'the attempts are used up',
          lambda s: not s.target_leads and _used_up(s),
          Act.MOVE, S.FAILED_DEGRADED, quarantine=Quarantine.FIRST, alarm=True),
    _rule('first-paused', S.INSTALL_1, 'the update is paused, and the wipe has not begun',
          lambda s: s.paused and _not_begun(s), Act.WAIT),
    _rule('first-issue', S.INSTALL_1, 'there is no usable grant',
          lambda s: not s.target_leads and s.grant is Grant.NONE, Act.ISSUE),
    _rule('first-drive', S.INSTALL_1, 'the grant is open and nothing was reported',
          lambda s: not s.target_leads and s.grant is Grant.OPEN and s.resets_left, Act.DRIVE),
    # The first node leads before it was asked to.
    _rule('first-leads-new', _1, 'the target leads, on the new software, and its entry is final',
          lambda s: s.target_leads and _proven_new(s), Act.MOVE, S.PROVING),
    _rule('first-leads-retry', _1, 'the target leads by an earlier update, and the peer is ready',
          lambda s: s.target_leads and s.leader_runs is Software.NEW and s.leader_final_before and s.peer_ready
          and s.peer_runs is Software.OLD and s.hand_overs_left, Act.HAND_OVER),
    _rule('first-leads-old', _1, 'the target leads on the old software, and no grant was consumed',
          lambda s: s.target_leads and s.leader_runs is Software.OLD and not s.wiped, Act.MOVE, S.ABORTED),
    _rule('first-leads-old-sound', _1, 'the target leads on the old software, and its system is whole',
          lambda s: s.target_leads and s.leader_runs is Software.OLD and s.rehashed is Verdict.PASSED,
          Act.MOVE, S.ABORTED),
    _rule('first-leads-old-damaged', _1, 'the target leads on the old software, and its system is damaged',
          lambda s: s.target_leads and s.leader_runs is Software.OLD and s.rehashed is Verdict.FAILED,
          Act.MOVE, S.FAILED_DEGRADED, alarm=True),
    _rule('first-leads-old-unsure', _1, 'the target leads on the old software, and a grant was consumed',
          lambda s: s.target_leads and s.leader_runs is Software.OLD, Act.REHASH),
    _rule('first-leads-late', _1, 'the target leads, and the other node is not back by the deadline',
          lambda s: s.target_leads and s.overdue, Act.MOVE, S.FAILED_DEGRADED, alarm=True),
    # The new software is tried as master.
    _rule('proving-old-leads', S.PROVING, 'the old node leads', lambda s: s.leader is W.SECOND,
          Act.MOVE, S.ROLLBACK),
    _rule('proving-not-pinned', S.PROVING, 'the leader is not the one that was proved', lambda s: not _proven_new(s),
          Act.MOVE, S.ROLLBACK, alarm=True),
    _rule('proving-abort', S.PROVING, 'an abort is asked for', lambda s: s.abort, Act.MOVE, S.ROLLBACK),
    _rule('proving-unhealthy', S.PROVING, 'the new master stays unhealthy', lambda s: s.leader_health is H.FAILED,
          Act.MOVE, S.ROLLBACK),
    _rule('proving-waits', S.PROVING, 'it is proven, and the update is paused, or held before its commit point',
          lambda s: (s.paused or s.held) and s.leader_health is H.SOAKED, Act.WAIT),
    _rule('proving-check', S.PROVING, 'it is proven, and the checks before the second wipe are due',
          lambda s: s.leader_health is H.SOAKED and s.stage_checks is Verdict.PENDING, Act.CHECK),
    _rule('proving-blocked', S.PROVING, 'it is proven, and a check before the second wipe fails',
          lambda s: s.leader_health is H.SOAKED and s.stage_checks is Verdict.FAILED and not s.overdue,
          Act.WAIT, alarm=True),
    _rule('proving-blocked-late', S.PROVING, 'it is proven, and a check has failed until the deadline',
          lambda s: s.leader_health is H.SOAKED and s.stage_checks is Verdict.FAILED, Act.MOVE, S.ROLLBACK,
          alarm=True),
    _rule('proving-proven', S.PROVING, 'the target leads, runs the pinned digest, and was healthy for the soak',
          lambda s: s.leader is W.FIRST and _proven_new(s) and s.leader_health is H.SOAKED,
          Act.MOVE, S.INSTALL_2, commit_point=True),
    _rule('proving-late', S.PROVING, 'the deadline passes', lambda s: s.overdue, Act.MOVE, S.ROLLBACK),
    # Back to the old software.
    _rule('rollback-back', S.ROLLBACK, 'the leader runs the old software', lambda s: s.leader_runs is Software.OLD,
          Act.MOVE, S.FAILED_ROLLED_BACK, quarantine=Quarantine.FIRST),
    _rule('rollback-hand-over', S.ROLLBACK, 'the old node is ready',
          lambda s: s.leader is W.FIRST and s.peer_ready and s.peer_runs is Software.OLD, Act.HAND_OVER),
    _rule('rollback-late', S.ROLLBACK, 'the old node is not ready by the deadline', lambda s: s.overdue,
          Act.MOVE, S.FAILED_DEGRADED, alarm=True),
    # The second node; from here on only forward.
    _rule('second-leads-hand-over', _2, 'the target leads, and the proven node is ready',
          lambda s: s.target_leads and s.peer_ready and s.peer_runs is Software.NEW and s.hand_overs_left,
          Act.HAND_OVER),
    _rule('second-leads-late', _2, 'the target leads, and the proven node is not back by the deadline',
          lambda s: s.target_leads and s.overdue, Act.MOVE, S.FAILED_FORWARD, alarm=True),
    _rule('second-abort', _2, 'an abort is asked for under the proven node',
          lambda s: s.abort and not s.target_leads, Act.MOVE, S.FAILED_FORWARD, quarantine=Quarantine.SECOND),
    _rule('second-final', S.INSTALL_2, 'the target has proved digest and token',
          lambda s: not s.target_leads and s.peer_final, Act.MOVE, S.VERIFY_2),
    _rule('second-done', S.VERIFY_2, 'both nodes run the pinned digest, and were healthy for their soak',
          lambda s: not s.target_leads and s.leader_runs is Software.NEW and s.peer_final
          and s.peer_runs is Software.NEW and s.peer_health is H.SOAKED and s.peer_ready
          and s.leader_health is H.SOAKED, Act.MOVE, S.DONE),
    _rule('second-unhealthy-again', S.VERIFY_2, 'the target stays unhealthy, and an attempt is left',
          lambda s: not s.target_leads and s.peer_health is H.FAILED and s.attempts_left and not s.paused,
          Act.ATTEMPT, S.INSTALL_2),
    _rule('second-unhealthy', S.VERIFY_2, 'the target stays unhealthy, and the attempts are used up',
          lambda s: not s.target_leads and s.peer_health is H.FAILED and not s.attempts_left,
          Act.MOVE, S.FAILED_FORWARD, quarantine=Quarantine.SECOND, alarm=True),
    _rule('second-again', _2, 'the attempt failed or is late, and one is left',
          lambda s: not s.target_leads and _again(s), Act.ATTEMPT, S.INSTALL_2),
    _rule('second-used-up', _2, 'the attempts are used up', lambda s: not s.target_leads and _used_up(s),
          Act.MOVE, S.FAILED_FORWARD, quarantine=Quarantine.SECOND, alarm=True),
    _rule('second-paused', S.INSTALL_2, 'the update is paused, and the wipe has not begun',
          lambda s: s.paused and _not_begun(s), Act.WAIT),
    _rule('second-issue', S.INSTALL_2, 'there is no usable grant',
          lambda s: not s.target_leads and s.grant is Grant.NONE, Act.ISSUE),
    _rule('second-drive', S.INSTALL_2, 'the grant is open and nothing was reported',
          lambda s: not s.target_leads and s.grant is Grant.OPEN and s.resets_left, Act.DRIVE),
    # After the end: the old software serves again as soon as it can.
    _rule('ended-hand-back', BEFORE_COMMIT_ENDED, 'the leader does not run the old software, a ready peer does',
          lambda s: not s.proven and s.leader_runs is not Software.OLD and s.peer_ready
          and s.peer_runs is Software.OLD, Act.HAND_OVER),
    # What is left is waiting; a deadline or an event ends it.
    _rule('ended', ENDED, 'the update is over', lambda s: True, Act.WAIT),
    _rule('late-waiting', frozenset(S) - ENDED, 'the deadline has passed, and nothing else applies',
          lambda s: s.overdue, Act.WAIT, alarm=True),
    _rule('waiting', frozenset(S) - ENDED, 'nothing else applies', lambda s: True, Act.WAIT),
)  # fmt: skip


_OF_STATE = {state: tuple(rule for rule in RULES if state in rule.states) for state in State}


def rule_for(situation: Situation, rules: tuple[Rule, ...] = RULES) -> Rule:
    """Return the row that applies: the first of the state's rules whose guard holds."""
    for rule in _OF_STATE[situation.state] if rules is RULES else rules:
        if rule.applies(situation):
            return rule
    raise RuntimeError(f'the protocol has no rule for {situation}')


def decide(situation: Situation) -> Decision:
    """Return what brings the update closer to its end. It never fails: the table is total."""
    return rule_for(situation).decision


def may_claim(runs: Software, final: bool, *, update_open: bool, runs_known: bool) -> bool:
    """Return whether a node may claim, re-claim or act, judged by the digest on its disk.

    With an open update (or one that ended before the commit point, whose new node must not lead while the old one can)
    a node needs the old digest, or its own entry final. Without an update any node whose software is known may lead.
    """
    if not update_open:
        return runs_known
    return runs is Software.OLD or (runs is Software.NEW and final)


@dataclass(frozen=True)
class Landing:
    """Whether an abort is possible, and where it ends."""

    possible: bool
    lands_in: State | None
    sentence: str


def abort_landing(state: State, *, wiped: bool) -> Landing:
    """Say what an abort would do now; the command shows it before it asks."""
    if state.ended:
        return Landing(False, None, f'the update is over ({state}); there is nothing to abort')
    if state is State.REQUESTED or (state is State.INSTALL_1 and not wiped):
        return Landing(True, State.ABORTED, 'nothing was changed yet; the update ends as ABORTED')
    if state in _1:
        return Landing(
            True,
            State.FAILED_DEGRADED,
            'the standby was wiped; the old master goes on serving alone until a retry (FAILED_DEGRADED)',
        )
    if state in (State.PROVING, State.ROLLBACK):
        return Landing(
            True,
            State.FAILED_ROLLED_BACK,
            'the lease goes back to the old node, the new one is quarantined (FAILED_ROLLED_BACK)',
        )
    return Landing(
        True,
        State.FAILED_FORWARD,
        'the new software is proven and stays master; the second node is left as it is (FAILED_FORWARD)',
    )


@dataclass(frozen=True)
class Effect:
    """Whether a pause is possible, and what it does."""

    possible: bool
    sentence: str


def pause_effect(state: State) -> Effect:
    """Say where an update stops that is paused now; the command shows it before it asks."""
    if state.ended:
        return Effect(False, f'the update is over ({state}); there is nothing to pause')
    if state is State.ROLLBACK:
        return Effect(False, 'a roll-back is not made to wait: the appliance is on its way to sound software')
    return Effect(
        True,
        {
            State.REQUESTED: 'it stops before the first node is touched',
            State.INSTALL_1: 'an install that has begun goes on to its end; it stops before the hand-over',
            State.VERIFY_1: 'it stops before the hand-over',
            State.PROVING: 'it stops before the commit point, with the new software as master',
            State.INSTALL_2: 'an install that has begun goes on to its end; no new one begins',
            State.VERIFY_2: 'nothing is left to be begun but another attempt; the update may come to its end',
        }[state],
    )
