"""The words of ``update-explain``: what goes on, and what would happen, told with the nodes' names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ovca.remaster.explain import Course, Explanation, Outlook, explain
from ovca.remaster.observe import Limits, Observation
from ovca.remaster.protocol import Act, Decision, Rule, State, Which

ACTS = {
    Act.WAIT: 'it waits',
    Act.ISSUE: 'a grant to wipe the node is issued',
    Act.DRIVE: 'the node is power-cycled into its installer',
    Act.ATTEMPT: 'a new attempt begins',
    Act.HAND_OVER: 'the lease is handed over',
    Act.CHECK: 'the checks before the next stage are run',
    Act.REHASH: "the master's own system is compared with the old image",
}
WAITS = {
    State.REQUESTED: 'the checks have to pass',
    State.INSTALL_1: 'the first node has to be installed, and to prove what it runs',
    State.VERIFY_1: 'the first node has to be healthy for its soak, and ready',
    State.PROVING: 'the new software has to be healthy as master for its soak',
    State.ROLLBACK: 'the old node has to get ready to lead',
    State.INSTALL_2: 'the second node has to be installed, and to prove what it runs',
    State.VERIFY_2: 'the second node has to be healthy for its soak, and ready',
}
"""What an update waits for where no rule of its own says it."""
AGREED = 8
"""Seconds, about, beyond the lease's own time until a node that takes over serves."""


@dataclass(frozen=True)
class Times:
    """The times that the sentences name, in seconds."""

    ttl: float
    self_demote: float


def told(seen: Observation, limits: Limits, times: Times) -> dict[str, Any]:
    """Everything that ``update-explain`` shows, in its order."""
    s = seen.situation
    what = explain(s)
    leader, peer = seen.name(s.leader), seen.name(s.leader.other)
    deadline = limits.deadline(s.state)
    return {
        'update_id': seen.update.id,
        'version': seen.update.version,
        'state': s.state.value,
        'since': seen.update.state_since,
        'rule': what.rule.id,
        'now': _step(what.rule, s.state),
        'deadline': None
        if s.state.ended
        else f'{deadline:.0f} s for this step, alarm after '
        f'{limits.alarm_percent / 100 * deadline:.0f} s' + ('; it has passed' if s.overdue else ''),
        'abort': what.abort.sentence,
        'pause': what.pause.sentence,
        **_failures(what, seen.name, leader, peer, times),
    }


def _failures(what: Explanation, name: Callable[[Which], str], leader: str, peer: str, times: Times) -> dict[str, str]:
    return {
        'if_master_fails': f'{leader}: {_master_fails(what.leader_fails, name, leader, times)}',
        'if_other_node_fails': f'{peer}: {_stays(what.peer_fails, name)}',
        'if_bmc_of_other_node_fails': f'{peer}: {_stays(what.power_fails, name)}; and {leader} can power nothing off, '
        f'but takes nothing over either: it leads already',
        'if_bmc_of_master_fails': f'{leader}: the update goes on; should {leader} itself die then, {peer} cannot prove '
        f'that it is off: `ovca master-claim` tells what a person can do',
        'if_database_fails': f'nothing is decided and nothing is wiped; after {times.self_demote:.0f} s {leader} stops '
        f'serving until the database is back, and then goes on where it stood',
    }


def _master_fails(outlook: Outlook, name: Callable[[Which], str], leader: str, times: Times) -> str:
    if outlook.now.leader is None:
        text = f'nobody can take over; when {leader} is back it goes on where it stood'
        if outlook.once_proved is not None and outlook.once_proved.leader is not None:
            other = name(outlook.once_proved.leader)
            text += (
                f'; unless {other}, which is being installed, proves what it runs first: {_course(outlook.once_proved)}'
            )
        return text
    other = name(outlook.now.leader)
    return f'{other} powers it off, and is master in about {times.ttl + AGREED:.0f} s: {_course(outlook.now)}' + _end(
        outlook
    )


def _stays(outlook: Outlook, name: Callable[[Which], str]) -> str:
    leader = outlook.now.leader
    head = f'{name(leader)} goes on serving: ' if leader is not None else ''
    return f'{head}{_course(outlook.now)}{_end(outlook)}'


def _end(outlook: Outlook) -> str:
    if outlook.in_the_end is None:
        return ''
    return f'; if it stays so beyond all deadlines and attempts, the update ends in {outlook.in_the_end.state}'


def _course(course: Course) -> str:
    """The rules of a course, as one sentence."""
    parts = [_step(rule, course.state) for rule in course.rules]
    if course.state.ended and parts and course.rules[-1].decision.act is Act.WAIT:
        parts.pop()
    return ', then '.join(parts) or f'the update stays in {course.state}'


def _step(rule: Rule, state: State) -> str:
    if rule.id in ('waiting', 'late-waiting'):
        return WAITS.get(state, rule.when)
    if rule.decision.to is not None and rule.decision.act is Act.MOVE:
        return f'{rule.when}: {rule.decision.to}'
    return f'{rule.when}: {act(rule.decision)}'


def act(decision: Decision) -> str:
    """What a decision does, in words."""
    if decision.act is Act.MOVE:
        return f'the update goes on to {decision.to}'
    return ACTS[decision.act]
