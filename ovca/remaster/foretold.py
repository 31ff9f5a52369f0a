"""The words of ``update-explain``: what goes on, and what would happen, told with the nodes' names.

They are for somebody who reads them at night, in a hurry: each sentence names nodes, and the state in which it ends.
The keys are an interface of the command.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from ovca.remaster.explain import Course, Outlook, explain
from ovca.remaster.observe import Limits, Observation, step_began
from ovca.remaster.protocol import TARGET, WIPING, Act, Grant, Rule, Situation, State

DOING = {
    State.REQUESTED: 'the checks are repeated before {first} is touched',
    State.INSTALL_1: '{first} is being installed, and has to prove what it runs; {second} serves with {old}',
    State.VERIFY_1: '{first} runs {version} and has to be healthy for its soak; {second} serves with {old}',
    State.PROVING: '{first} serves with {version}, to be healthy as master for its soak; {second} still has {old}',
    State.ROLLBACK: '{second} is waited for, to lead again with {old}; until then {first} serves with {version}',
    State.INSTALL_2: '{second} is being installed, and has to prove what it runs; {first} serves with {version}',
    State.VERIFY_2: '{second} runs {version} and has to be healthy for its soak; {first} serves with {version}',
}
"""What an update does in a state when no rule says more."""
TARGET_LEADS = '{leader} leads, and is itself the node to install; {peer} is waited for, to hand over to it'
STEPS = {
    'requested-paused': 'it is paused before {first} is touched; `ovca update-continue` lets it go on',
    'first-waits': '{first} could take over, and is paused before the hand-over; `ovca update-continue` lets it go on',
    'first-check': 'the checks before the hand-over are run now',
    'first-blocked': '{first} could take over, and a check before the hand-over fails; mended, it goes on by itself',
    'first-hand-over': '{second} hands over to {first} now',
    'first-again': 'a new attempt to install {first} begins',
    'first-paused': 'it is paused, and {first} is not wiped; `ovca update-continue` lets it go on',
    'first-issue': 'the right to wipe {first} is given now',
    'first-drive': '{first} is power-cycled into its installer, and nothing was heard of that yet',
    'first-leads-retry': '{first} leads and is to be installed, so it hands over to {second} now',
    'first-leads-old-unsure': '{first} leads, and compares its own disk with the image of {old}',
    'proving-waits': (
        '{first} has proved itself as master, and the update stays before the point of no return; '
        '`ovca update-continue` lets it go on'
    ),
    'proving-check': 'the checks before {second} is wiped are run now',
    'proving-blocked': (
        '{first} has proved itself as master, and a check before {second} is wiped fails; mended, it goes on by itself'
    ),
    'rollback-hand-over': '{first} hands over to {second} now',
    'second-leads-hand-over': '{second} leads and is to be installed, so it hands over to {first} now',
    'second-unhealthy-again': 'a new attempt to install {second} begins',
    'second-again': 'a new attempt to install {second} begins',
    'second-paused': 'it is paused, and {second} is not wiped; `ovca update-continue` lets it go on',
    'second-issue': 'the right to wipe {second} is given now',
    'second-drive': '{second} is power-cycled into its installer, and nothing was heard of that yet',
    'ended-hand-back': '{leader} hands over to {peer}, which runs {old}',
    'late-waiting': 'its deadline has passed, and it waits for what only a person can bring: {doing}',
}
"""What the rules do that change no state by themselves; of the others their end is told."""
ENDS = {
    State.DONE: 'both nodes run {version}',
    State.ABORTED: '{leader} serves with {old}, and the update can be begun anew',
    State.FAILED_DEGRADED: '{leader} serves alone until the other node is mended and installed',
    State.FAILED_ROLLED_BACK: '{second} serves with {old}, and {first} is quarantined until it is installed anew',
    State.FAILED_FORWARD: '{leader} serves alone until the other node is mended and installed',
}
AGREED = 8
"""Seconds, about, beyond the lease's own time until a node that takes over serves."""


@dataclass(frozen=True)
class Times:
    """The times that the sentences name, in seconds."""

    ttl: float
    self_demote: float


def told(
    seen: Observation,
    limits: Limits,
    times: Times,
    *,
    peer_proven: bool = False,
    silent: str | None = None,
    alarm: str | None = None,
    paused: str | None = None,
) -> dict[str, Any]:
    """Everything that ``update-explain`` shows, in its order.

    ``peer_proven`` says that the node that does not lead has proved what it runs; ``silent`` why nobody decides at this
    moment; ``alarm`` is the last one of the present step; ``paused`` who has stopped the update, or will have.
    """
    s, update = seen.situation, seen.update
    retry = update.retry_of is not None or update.proven_at is not None
    what = explain(s, peer_proven=peer_proven, retry=retry)
    words = _Words(seen)
    now = words.step(what.rule, s.state, words.leader) + (f'; the last alarm: {alarm}' if alarm else '')
    return {
        'update_id': update.id,
        'version': update.version,
        'state': s.state.value,
        'since': update.state_since,
        'master': words.leader,
        'other_node': words.peer,
        'rule': what.rule.id,
        'now': now if silent is None else f'{silent}; as soon as a node leads: {now}',
        'paused': paused,
        **_deadlines(seen, limits),
        'abort': what.abort.sentence,
        'abort_lands_in': what.abort.lands_in.value if what.abort.lands_in else None,
        'pause': what.pause.sentence,
        'if_master_fails': words.master_fails(what.leader_fails, times),
        'if_other_node_fails': words.stays(what.peer_fails),
        'if_bmc_of_other_node_fails': words.peer_bmc_fails(s, what.peer_bmc_fails, limits),
        'if_bmc_of_master_fails': words.leader_bmc_fails(s, what.leader_bmc_fails, limits),
        'if_database_fails': words.database_fails(s, times),
    }


def _deadlines(seen: Observation, limits: Limits) -> dict[str, dt.datetime | None]:
    """When the step is told to be slow, and when it is decided upon; neither while a person lets it wait."""
    s = seen.situation
    waits = s.state.ended or (s.paused and s.state is not State.ROLLBACK) or (s.held and s.state is State.PROVING)
    began = step_began(seen.update, seen.entry)
    return {
        'alarm_at': None if waits else began + dt.timedelta(seconds=limits.soft_limit(s.state)),
        'deadline_at': None if waits else began + dt.timedelta(seconds=limits.deadline(s.state)),
    }


class _Words:
    """Sentences with the names of one update."""

    def __init__(self, seen: Observation) -> None:
        update, leads = seen.update, seen.situation.leader
        s = seen.situation
        self.name, self.waits = seen.name, s.paused or (s.held and s.state is State.PROVING)
        self.ordered = seen.entry is not None and seen.entry.power_ordered_at is not None
        self.leader, self.peer = seen.name(leads), seen.name(leads.other)
        self._names = {
            'first': update.first,
            'second': update.second,
            'version': update.version,
            'old': update.old_version or 'what it ran before',
        }

    def master_fails(self, outlook: Outlook, times: Times) -> str:
        """The acting master is gone."""
        if outlook.now.leader is not None:
            other = self.name(outlook.now.leader)
            takes = f'{other} sees that {self.leader} is off, and is master in about {times.ttl + AGREED:.0f} s'
            return f'{takes}; {self._course(outlook.now, self.leader)}{self._end(outlook, self.leader)}'
        text = f'nobody serves until {self.leader} is back; then the update goes on where it stood'
        there = outlook.once_there
        if there is not None:
            comes = 'comes to prove before that what it was installed with' if outlook.proves else 'boots before that'
            text += (
                f'. If {self.peer} {comes}, it is master by itself; {self._course(there.now, self.leader)}'
                f'{self._end(there, self.leader)}'
            )
        return text

    def stays(self, outlook: Outlook) -> str:
        """The other node is gone."""
        return f'{self.leader} goes on serving; {self._course(outlook.now, self.peer)}{self._end(outlook, self.peer)}'

    def peer_bmc_fails(self, s: Situation, outlook: Outlook, limits: Limits) -> str:
        """The other node's BMC answers no more, so the master cannot switch that node's power."""
        if s.state in WIPING and not s.target_leads and s.grant in (Grant.NONE, Grant.OPEN):
            ordered = f'unless {self.peer} boots its installer from the last power cycle, ' if self.ordered else ''
            return (
                f'{ordered}{self.peer} cannot be power-cycled into its installer, so nothing is wiped; it is tried '
                f'until the deadline{self._unmended(outlook)}'
            )
        return self._ill(s, outlook, self.leader, self.peer, limits)

    def leader_bmc_fails(self, s: Situation, outlook: Outlook, limits: Limits) -> str:
        """The master's BMC answers no more, so the other node cannot fence it."""
        return (
            f'{self._ill(s, outlook, self.peer, self.leader, limits)}. Should {self.leader} die as well, {self.peer} '
            f'cannot see that it is off and does not take over, until somebody who knows that it is off says so on '
            f'{self.peer}: `ovca master-claim --force`'
        )

    def database_fails(self, s: Situation, times: Times) -> str:
        """No node reaches the database."""
        begun = s.state in WIPING and s.grant in (Grant.CONSUMED, Grant.WRITTEN)
        return (
            f'nothing is decided and nothing {"more " if begun else ""}is wiped; after {times.self_demote:.0f} s '
            f'{self.leader} stops serving. When the database is back {self.leader} serves again and the update goes on '
            f'where it stood; the time that it was away counts towards the deadlines'
        )

    def _ill(self, s: Situation, outlook: Outlook, watcher: str, whose: str, limits: Limits) -> str:
        """A BMC answers no more, and the node that should be able to fence by it counts as unhealthy."""
        if s.state is State.REQUESTED:
            return f'the check of the BMCs fails{self._unmended(outlook)}'
        since = f', and has failed after {limits.unhealthy_limit:.0f} s of that' if outlook.now.state.ended else ''
        return f'{watcher} is not healthy as long as it cannot ask the BMC of {whose}{since}{self._unmended(outlook)}'

    def _unmended(self, outlook: Outlook) -> str:
        """What it comes to when a BMC is not mended."""
        course = outlook.last
        leader = self.name(course.leader) if course.leader is not None else self.leader
        if not course.state.ended and course.waits is not None:
            return f'; the update stays in {course.state}: {self.step(course.waits, course.state, leader)}'
        if outlook.in_the_end is None:
            return f'; if it is not mended, {self._reached(course.state, leader)}'
        return self._end(outlook, None)

    def step(self, rule: Rule, state: State, leader: str) -> str:
        """What a rule does, where the update stands at it."""
        target = TARGET.get(state)
        leads = target is not None and self.name(target) == leader
        doing = self._fill(TARGET_LEADS if leads else DOING.get(state, ''), leader)
        if rule.id in STEPS:
            return self._fill(STEPS[rule.id], leader, doing=doing)
        if rule.decision.act is Act.MOVE and rule.decision.to is not None:
            return f'{rule.when}: {self._reached(rule.decision.to, leader)}'
        return doing or rule.when

    def _course(self, course: Course, gone: str) -> str:
        """Where it comes to by itself; ``gone`` is the node that failed."""
        leader = self.name(course.leader) if course.leader is not None else gone
        if course.state.ended or course.waits is None:
            return self._reached(course.state, leader)
        return f'the update stays in {course.state}: {self.step(course.waits, course.state, leader)}'

    def _end(self, outlook: Outlook, gone: str | None) -> str:
        if outlook.in_the_end is None:
            return ''
        leader = self.name(outlook.in_the_end.leader) if outlook.in_the_end.leader is not None else self.leader
        back = ('once it is continued, ' if self.waits else '') + (
            f'if {gone} is not back' if gone else 'if it is so still'
        )
        reached = self._reached(outlook.in_the_end.state, leader)
        return f'; {back} when all deadlines and attempts have passed, {reached}'

    def _reached(self, state: State, leader: str) -> str:
        if state in ENDS:
            return f'the update ends as {state}: {self._fill(ENDS[state], leader)}'
        return f'the update goes on to {state}: {self._fill(DOING[state], leader)}'

    def _fill(self, text: str, leader: str, doing: str = '') -> str:
        peer = self._names['second'] if leader == self._names['first'] else self._names['first']
        return text.format(**self._names, leader=leader, peer=peer, doing=doing)
