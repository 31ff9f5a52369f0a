"""What comes next in an update, in plain words, and how long it is likely to take.

The words follow the protocol's table: each state's good way on. Failures are told when they happen.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db.models import Image, Update
from ovca.remaster import plan, reading, story
from ovca.remaster.protocol import State, abort_landing
from ovca.remaster.views import EventView, Snapshot, UpdateView

S = State
WAYS: Mapping[State, tuple[State, str]] = {
    S.REQUESTED: (S.INSTALL_1, 'the checks are repeated; when they pass, {first} is wiped and installed'),
    S.INSTALL_1: (S.VERIFY_1, '{first} is installed, reboots, and proves that it runs {version}'),
    S.VERIFY_1: (S.PROVING, '{first} stays healthy for its soak; then {second} hands over to it and reboots'),
    S.PROVING: (
        S.INSTALL_2,
        '{first} stays healthy as master for its soak; from then on there is no way back, and {second} is wiped and '
        'installed',
    ),
    S.ROLLBACK: (S.FAILED_ROLLED_BACK, '{second} takes over again with {old}'),
    S.INSTALL_2: (S.VERIFY_2, '{second} is installed, reboots, and proves that it runs {version}'),
    S.VERIFY_2: (S.DONE, '{second} stays healthy for its soak; then the update is done'),
}
"""From each state of an open update the state that follows when all is well, and what has to happen for that."""
PATH = (S.REQUESTED, S.INSTALL_1, S.VERIFY_1, S.PROVING, S.INSTALL_2, S.VERIFY_2)
"""The states of an update that goes well, in order."""
SECOND_ONLY = (S.REQUESTED, S.INSTALL_2, S.VERIFY_2)
"""The same for a run that finds the first node proven: a retry, or the installation of one node alone."""
LOOK_BACK, ENOUGH = 20, 5
"""Earlier updates that are looked at, and those of them, which went well, that are measured."""
MANIFEST_KEY = 'expected_seconds'
"""A vendor's estimate for a whole update, in the manifest."""


def halted(seen: Snapshot) -> str | None:
    """Who has stopped the update, since when, and how it goes on; None when nobody has."""
    return plan.halted(seen.update, seen.directives)


def next_step(seen: Snapshot) -> str:
    """What happens next, or what an operator does now."""
    update = seen.update
    if update.state.ended:
        return plan.next_step(update)
    stopped = halted(seen)
    if stopped is not None:
        return stopped
    if update.abort_requested_at is not None:
        # Whether the disk was given away is not known here; the state tells as much as is needed.
        landing = abort_landing(update.state, wiped=_wiped(seen))
        return f'the abort is carried out: {landing.sentence}'
    state = update.state
    if state is State.REQUESTED and update.proven_at is not None:
        return f'the checks are repeated; when they pass, {update.second} is wiped and installed'
    words = WAYS[state][1].format(
        first=update.first, second=update.second, version=update.version, old=update.old_version or 'the old software'
    )
    stop = plan.to_stop(update, seen.directives)
    return words if stop is None else f'{words}; {stop}'


def safe_to_close(seen: Snapshot) -> str:
    """Why the terminal may be closed: what follows an update only looks."""
    if seen.update.state.ended:
        return ''
    return f'safe to close this terminal: `ovca update-watch {seen.update.id}` goes on from either node'


def position(update: UpdateView) -> str:
    """How far the state is on the way, as ``2 of 6``; empty off the way."""
    way = _way(update)
    return f'{way.index(update.state) + 1} of {len(way)}' if update.state in way else ''


def _way(update: UpdateView) -> tuple[State, ...]:
    """The states that an update goes through when all is well."""
    proven = update.proven_at is not None and update.proven_at <= update.created_at
    return SECOND_ONLY if proven else PATH


def _wiped(seen: Snapshot) -> bool:
    entry = seen.entry(seen.update.first)
    return entry is not None and entry.step in ('installing', 'written', 'final', 'failed')


@dataclass(frozen=True)
class Expectation:
    """How long an update of this appliance takes, in seconds; nothing is known when it is empty."""

    states: Mapping[str, float] = field(default_factory=dict)
    """The median of the stays in each state, all attempts of one update together."""
    total: float | None = None
    source: str = ''
    """Where this comes from, in words."""

    def of(self, state: State) -> float | None:
        """How long the update stays in a state."""
        return self.states.get(state.value)

    def left(self, update: UpdateView, now: dt.datetime) -> float | None:
        """Seconds to the end if all goes well; None when that is not known."""
        way = _way(update)
        if update.state not in way:
            return None
        if not self.states:
            spent = (now - update.created_at).total_seconds()
            return None if self.total is None else max(0.0, self.total - spent)
        here = way.index(update.state)
        if any(state.value not in self.states for state in way[here:]):
            return None
        spent = (now - update.state_since).total_seconds()
        return max(0.0, self.states[update.state.value] - spent) + sum(self.states[s.value] for s in way[here + 1 :])


def expectation(session: Session, update: Update) -> Expectation:
    """What earlier updates of this appliance took, or what the image's manifest says."""
    before = select(Update.id, Update.state).where(Update.id < update.id).order_by(Update.id.desc()).limit(LOOK_BACK)
    good = [id for id, state in session.execute(before) if state == State.DONE.value][:ENOUGH]
    if good:
        return measured([reading.changes(session, id) for id in good], _way(reading.update(update)))
    image = session.get(Image, update.version)
    told = image.manifest.get(MANIFEST_KEY) if image is not None else None
    if isinstance(told, int | float) and not isinstance(told, bool) and told > 0:
        return Expectation(total=float(told), source="the image's manifest")
    return Expectation()


def measured(journals: Sequence[Iterable[EventView]], way: Iterable[State] = PATH) -> Expectation:
    """What these updates took, from their changes of state; in all what the states on the ``way`` take."""
    stays: dict[str, list[float]] = {}
    for journal in journals:
        sums: dict[str, float] = {}
        for stage in story.stages(journal):
            if stage.seconds is not None:
                sums[stage.state] = sums.get(stage.state, 0.0) + stage.seconds
        for state, seconds in sums.items():
            stays.setdefault(state, []).append(seconds)
    medians = {state: statistics.median(found) for state, found in stays.items()}
    if not all(state.value in medians for state in way):
        return Expectation(medians)
    many = f'the last {len(journals)} updates' if len(journals) > 1 else 'the last update'
    return Expectation(medians, sum(medians[state.value] for state in way), many)
