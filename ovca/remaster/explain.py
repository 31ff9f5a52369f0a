"""What an update does, why, and what would happen if something failed now: worked out from the protocol's table.

Nothing here knows the protocol a second time. A failure is a change of the :class:`Situation`; what follows is asked of
:func:`rule_for` and :func:`may_claim`, again and again, until the table waits for something that does not come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ovca.remaster.protocol import (
    TARGET,
    WIPING,
    Act,
    Effect,
    Grant,
    Health,
    Landing,
    Rule,
    Situation,
    Software,
    State,
    Verdict,
    Which,
    abort_landing,
    may_claim,
    pause_effect,
    rule_for,
)

AFTER_FIRST = frozenset({State.PROVING, State.ROLLBACK, State.INSTALL_2, State.VERIFY_2})
"""States in which the first node has proved the new software."""
FAR = 30
"""More decisions and waits than this never follow one another to the end of an update."""


@dataclass(frozen=True)
class Course:
    """What follows by itself: the rules that apply one after the other, and where the update stands then."""

    leader: Which | None
    """Who leads; None: nobody can, until the failed one is back."""
    rules: tuple[Rule, ...]
    state: State
    path: tuple[State, ...] = ()
    """The states that it enters on the way, the last of them included."""

    @property
    def waits(self) -> Rule | None:
        """The rule that it stands at."""
        return self.rules[-1] if self.rules else None


@dataclass(frozen=True)
class Outlook:
    """What happens if one thing fails now."""

    now: Course
    """What follows before any deadline passes."""
    in_the_end: Course | None = None
    """When what failed does not come back and all attempts and deadlines have passed; None: it stays as it is."""
    once_there: Outlook | None = None
    """Nobody can lead, unless the node that is just being installed, or boots, comes up; then this."""
    proves: bool = False
    """It has to prove what it was installed with before that."""

    @property
    def last(self) -> Course:
        """What it comes to when nobody mends it."""
        return self.in_the_end or self.now


@dataclass(frozen=True)
class Explanation:
    """What is going on, and what could."""

    rule: Rule
    abort: Landing
    pause: Effect
    leader_fails: Outlook
    peer_fails: Outlook
    peer_bmc_fails: Outlook
    """The BMC of the node that does not lead answers no more."""
    leader_bmc_fails: Outlook
    """The BMC of the node that leads answers no more."""


@dataclass(frozen=True)
class Fault:
    """The one thing that fails, and does not come back; all else goes well."""

    gone: Which | None = None
    """A node without power."""
    dark: Which | None = None
    """A node whose BMC answers no more: the other one cannot fence it, and is therefore not healthy."""
    checks: Verdict = Verdict.FAILED
    """What the checks find before the first wipe; nobody remembers it when the master has changed."""


def explain(s: Situation, *, peer_proven: bool = False, retry: bool = False) -> Explanation:
    """Work out what is going on and what would follow from a failure.

    ``peer_proven`` says that the node that does not lead has proved what it runs, by whichever update. ``retry`` says
    that the update retries another one: then its checks do not ask for both nodes, but for both BMCs.
    """
    return Explanation(
        rule_for(s),
        abort_landing(s.state, wiped=s.wiped),
        pause_effect(s.state),
        leader_fails(s, peer_proven=peer_proven, retry=retry),
        peer_fails(s, retry=retry),
        bmc_fails(s, s.leader.other),
        bmc_fails(s, s.leader),
    )


def leader_fails(s: Situation, *, peer_proven: bool = False, retry: bool = False) -> Outlook:
    """The acting master loses its power, and stays away."""
    final = s.peer_final or (s.proven and s.leader is Which.SECOND and s.peer_runs is Software.NEW)
    known = s.peer_runs is not Software.UNKNOWN
    fault = Fault(gone=s.leader, checks=Verdict.PASSED if retry else Verdict.FAILED)
    if may_claim(s.peer_runs, final or peer_proven, update_open=not s.state.ended or known, runs_known=known):
        return _alone(_led_by_peer(s, final=final, before=final or peer_proven), fault)
    nobody = Course(None, (), s.state)
    if s.state in TARGET and not s.target_leads and (s.wiped or s.peer_runs is Software.NEW):
        proved = _led_by_peer(replace(s, peer_runs=Software.NEW), final=True, before=True)
        return Outlook(nobody, once_there=_alone(proved, fault), proves=True)
    if known:
        return Outlook(nobody)
    # It is not heard of, and no install is why: as far as is known it boots.
    runs = Software.OLD if s.leader is Which.FIRST or s.state not in AFTER_FIRST else Software.NEW
    up = _led_by_peer(replace(s, peer_runs=runs), final=runs is Software.NEW, before=runs is Software.NEW)
    return Outlook(nobody, once_there=_alone(up, fault))


def peer_fails(s: Situation, *, retry: bool = False) -> Outlook:
    """The node that does not lead loses its power, and stays away."""
    fault = Fault(gone=s.leader.other, checks=Verdict.PASSED if retry else Verdict.FAILED)
    return _alone(_gone(s, final=s.peer_final), fault)


def bmc_fails(s: Situation, whose: Which) -> Outlook:
    """A node's BMC answers no more; the node itself goes on."""
    fault = Fault(dark=whose)
    return _outlook(s, fault, _course(s, fault, goes_on=True))


def _led_by_peer(s: Situation, *, final: bool, before: bool) -> Situation:
    led = replace(
        s,
        leader=s.leader.other,
        leader_runs=s.peer_runs,
        leader_final=final,
        leader_final_before=before,
        leader_health=Health.PENDING,
        grant=s.grant if s.grant in (Grant.CONSUMED, Grant.WRITTEN, Grant.FAILED) else Grant.NONE,
        checks=Verdict.PENDING,
        late=False,
    )
    return _gone(led, final=s.leader_final)


def _gone(s: Situation, *, final: bool) -> Situation:
    """The situation in which the node that does not lead is not heard of any more."""
    return replace(
        s, peer_runs=Software.UNKNOWN, peer_final=final, peer_health=Health.PENDING, peer_ready=False, late=False
    )


def _alone(s: Situation, fault: Fault) -> Outlook:
    return _outlook(s, fault, _course(s, fault))


def _outlook(s: Situation, fault: Fault, now: Course) -> Outlook:
    """With what is left when nothing comes back: each deadline and attempt is used up, and nobody lets it wait."""
    if now.state.ended:
        return Outlook(now)
    last = _course(replace(s, paused=False, held=False), fault, goes_on=True, late=True)
    return Outlook(now, last if last.state is not now.state else None)


def _course(s: Situation, fault: Fault, *, goes_on: bool = False, late: bool = False) -> Course:
    """Apply the table until it waits for something that does not come.

    ``goes_on`` says that what is not hit by the fault does what it has to do meanwhile, ``late`` that a deadline passes
    where that is not enough.
    """
    rules: list[Rule] = []
    path: list[State] = []
    for _ in range(FAR):
        s = _hit(s, fault)
        rule = rule_for(s)
        rules.append(rule)
        act, to = rule.decision.act, rule.decision.to
        if s.state is State.REQUESTED and s.checks is Verdict.PENDING and act is Act.WAIT and not s.paused:
            s = replace(s, checks=fault.checks)
        elif act is Act.CHECK:
            s = replace(s, stage_checks=Verdict.FAILED if _blocks(s, fault) else Verdict.PASSED)
        elif act is Act.REHASH:
            s = replace(s, rehashed=Verdict.PASSED)
        elif act in (Act.MOVE, Act.ATTEMPT) and to is not None:
            s = _entered(s, to, again=act is Act.ATTEMPT)
            path.append(to)
        elif act is Act.HAND_OVER and goes_on and not s.state.ended:
            s = _handed_over(s, to or s.state)
            path += [to] if to else []
        else:
            after = _hit(_gone_on(s, fault), fault) if goes_on else s
            if after == s and late and not s.state.ended:
                after = replace(s, late=True)
            if after == s:
                break
            s = after
    return Course(s.leader, tuple(rules), s.state, tuple(path))


def _hit(s: Situation, fault: Fault) -> Situation:
    """What the fault does to the nodes' health."""
    if fault.dark is None:
        return s
    if fault.dark is not s.leader:
        return s if s.leader_health is Health.FAILED else replace(s, leader_health=Health.FAILED)
    if s.peer_runs is Software.UNKNOWN or (s.peer_health is Health.FAILED and not s.peer_ready):
        return s
    return replace(s, peer_health=Health.FAILED, peer_ready=False)


def _blocks(s: Situation, fault: Fault) -> bool:
    """Whether the checks before the next stage fail: the hand-over wants both BMCs, the wipe that of its target."""
    return fault.dark is not None and (s.state is State.VERIFY_1 or fault.dark is not s.leader)


def _gone_on(s: Situation, fault: Fault) -> Situation:
    """What the nodes come to do while the table waits, as far as the fault lets them."""
    if s.state is State.PROVING and s.leader_health is Health.PENDING:
        s = replace(s, leader_health=Health.SOAKED)
    if fault.gone is s.leader.other or s.state.ended:
        return s
    if s.target_leads or s.state is State.ROLLBACK:
        back = Software.NEW if s.leader is Which.SECOND else Software.OLD
        return replace(s, peer_ready=True, peer_runs=back)
    if s.state in WIPING and s.grant is not Grant.FAILED and not (s.paused and s.grant in (Grant.NONE, Grant.OPEN)):
        if fault.dark is s.leader.other and s.grant in (Grant.NONE, Grant.OPEN):
            return s  # it cannot be power-cycled into its installer
        return replace(s, grant=Grant.WRITTEN, wiped=True, peer_runs=Software.NEW, peer_final=True,
                       peer_health=Health.PENDING, peer_ready=False)  # fmt: skip
    if s.state in TARGET:
        return replace(s, peer_runs=Software.NEW, peer_health=Health.SOAKED, peer_ready=True)
    return s


def _entered(s: Situation, to: State, *, again: bool) -> Situation:
    if again:
        # There may be more attempts than one; they all end alike.
        s = replace(s, grant=Grant.NONE, attempts_left=False, peer_final=False, peer_health=Health.PENDING,
                    peer_ready=False)  # fmt: skip
    elif to is State.INSTALL_2:
        s = replace(s, grant=Grant.NONE, wiped=False, attempts_left=True, proven=True, peer_final=False)
    return replace(s, state=to, late=False, stage_checks=Verdict.PENDING)


def _handed_over(s: Situation, to: State) -> Situation:
    return replace(
        s,
        state=to,
        late=False,
        stage_checks=Verdict.PENDING,
        leader=s.leader.other,
        leader_runs=s.peer_runs,
        leader_final=s.peer_final,
        leader_final_before=s.leader_final_before and s.leader is Which.SECOND,
        leader_health=Health.PENDING,
        peer_runs=s.leader_runs,
        peer_final=s.leader_final,
        peer_health=Health.PENDING,
        peer_ready=False,
    )
