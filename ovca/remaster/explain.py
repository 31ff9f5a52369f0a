"""What an update does, why, and what would happen if something failed now: worked out from the protocol's table.

Nothing here knows the protocol a second time. A failure is a change of the :class:`Situation`; what follows is asked of
:func:`rule_for` and :func:`may_claim`, again and again, until the table waits for something.
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

FAR = 6
"""More moves than this never follow one another without something to wait for."""


@dataclass(frozen=True)
class Course:
    """What follows by itself: the rules that apply one after the other, and where the update stands then."""

    leader: Which | None
    """Who leads; None: nobody can, until the failed one is back."""
    rules: tuple[Rule, ...]
    state: State

    @property
    def waits(self) -> Rule | None:
        """The rule that it stands at."""
        return self.rules[-1] if self.rules else None


@dataclass(frozen=True)
class Outlook:
    """What happens if one thing fails now."""

    now: Course
    in_the_end: Course | None = None
    """When what failed does not come back and all attempts and deadlines have passed; None: it stays as it is."""
    once_proved: Course | None = None
    """Nobody can lead, unless the node that is just being installed comes to prove what it runs; then this."""


@dataclass(frozen=True)
class Explanation:
    """What is going on, and what could."""

    rule: Rule
    abort: Landing
    pause: Effect
    leader_fails: Outlook
    peer_fails: Outlook
    power_fails: Outlook
    """The BMC of the node that does not lead answers no more."""


def explain(s: Situation) -> Explanation:
    """Work out what is going on and what would follow from a failure."""
    return Explanation(
        rule_for(s),
        abort_landing(s.state, wiped=s.wiped),
        pause_effect(s.state),
        leader_fails(s),
        peer_fails(s),
        power_fails(s),
    )


def leader_fails(s: Situation) -> Outlook:
    """The acting master loses its power, and stays away."""
    final = s.peer_final or (s.proven and s.leader is Which.SECOND and s.peer_runs is Software.NEW)
    open_now = not s.state.ended or s.peer_runs is not Software.UNKNOWN
    if not may_claim(s.peer_runs, final, update_open=open_now, runs_known=s.peer_runs is not Software.UNKNOWN):
        installed = s.state in TARGET and not s.target_leads and (s.wiped or s.peer_runs is Software.NEW)
        proved = _led_by_peer(replace(s, peer_runs=Software.NEW), final=True) if installed else None
        return Outlook(Course(None, (), s.state), None, None if proved is None else _course(proved))
    return _alone(_led_by_peer(s, final=final))


def _led_by_peer(s: Situation, *, final: bool) -> Situation:
    led = replace(
        s,
        leader=s.leader.other,
        leader_runs=s.peer_runs,
        leader_final=final,
        leader_final_before=final,
        leader_health=Health.PENDING,
        grant=s.grant if s.grant in (Grant.CONSUMED, Grant.WRITTEN, Grant.FAILED) else Grant.NONE,
        checks=Verdict.FAILED,  # they are run anew, and one of them wants both nodes
        late=False,
    )
    return _gone(led, final=s.leader_final)


def peer_fails(s: Situation) -> Outlook:
    """The node that does not lead loses its power, and stays away."""
    return _alone(_gone(s, final=s.peer_final and s.state not in WIPING))


def power_fails(s: Situation) -> Outlook:
    """Orders to the other node's BMC are not carried out any more; the node itself goes on."""
    if s.state not in WIPING or s.target_leads or s.grant not in (Grant.NONE, Grant.OPEN):
        return Outlook(_course(s))
    stuck = replace(s, grant=Grant.OPEN)
    return Outlook(_course(stuck), _in_the_end(stuck))


def _gone(s: Situation, *, final: bool) -> Situation:
    """The situation in which the node that does not lead is not heard of any more."""
    return replace(
        s, peer_runs=Software.UNKNOWN, peer_final=final, peer_health=Health.PENDING, peer_ready=False, late=False
    )


def _alone(s: Situation) -> Outlook:
    now = _course(s)
    last = _in_the_end(replace(s, state=now.state))
    return Outlook(now, last if last.state is not now.state else None)


def _course(s: Situation) -> Course:
    """Apply the table until it waits."""
    rules: list[Rule] = []
    while len(rules) < FAR:
        rule = rule_for(s)
        rules.append(rule)
        if rule.decision.act in (Act.REHASH, Act.CHECK):
            s = replace(s, rehashed=Verdict.PASSED, stage_checks=Verdict.PASSED)
            continue
        if rule.decision.act is not Act.MOVE or rule.decision.to is None:
            break
        s = _entered(s, rule.decision.to)
    return Course(s.leader, tuple(rules), s.state)


def _in_the_end(s: Situation) -> Course:
    """What is left when nothing comes back: each deadline passes, and each attempt is used up."""
    rules: list[Rule] = []
    s = replace(s, late=True, attempts_left=False, paused=False, stage_checks=Verdict.PASSED)
    while len(rules) < FAR:
        rule = rule_for(s)
        rules.append(rule)
        if rule.decision.to is None or rule.decision.act not in (Act.MOVE, Act.ATTEMPT):
            break
        health = s.leader_health if rule.decision.to is not State.INSTALL_2 else Health.SOAKED
        s = replace(_entered(s, rule.decision.to), late=True, attempts_left=False, leader_health=health)
        if s.state.ended:
            break
    return Course(s.leader, tuple(rules), s.state)


def _entered(s: Situation, to: State) -> Situation:
    if to is State.INSTALL_2:
        s = replace(s, grant=Grant.NONE, wiped=False, attempts_left=True, proven=True)
    return replace(s, state=to, late=False)
