"""The whole story of an update, told from its events: what happened, when, where, by whom, and how long it took.

:func:`read` takes the rows, :func:`tell` is pure. All durations are seconds.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

from sqlalchemy.orm import Session

from ovca.cluster.lease import AGAIN, CLAIMED, RENEWED
from ovca.db.engine import now as database_now
from ovca.db.models import Update
from ovca.remaster import plan, reading
from ovca.remaster.directives import Kind
from ovca.remaster.views import DirectiveView, EntryView, EventView, UpdateView

FORMAT = 1
"""The form of a story as data; it grows by keys, and this number grows when one changes its meaning."""
REPORT: Final = 'report'
"""The kind of the event that names the report file of an update."""


@dataclass(frozen=True)
class Stage:
    """One stay in a state. An attempt that begins anew is a stage of its own."""

    state: str
    since: dt.datetime
    until: dt.datetime | None
    seconds: float | None


@dataclass(frozen=True)
class Step:
    """One part of an installation: ``boot`` until the wipe, ``install``, and ``proof`` until the entry is final."""

    node: str
    attempt: int
    step: str
    since: dt.datetime
    until: dt.datetime | None
    seconds: float | None
    ended: str | None
    """The kind of the event that ended it."""


@dataclass(frozen=True)
class Gap:
    """A time in which nobody acted as master."""

    since: dt.datetime
    until: dt.datetime | None
    seconds: float | None


@dataclass(frozen=True)
class Pause:
    """A pause, or a hold before the commit point, that an operator asked for."""

    kind: str
    since: dt.datetime
    by: str
    reason: str
    until: dt.datetime | None
    continued_by: str | None
    seconds: float | None


@dataclass(frozen=True)
class Acceptance:
    """A check's warning that an operator accepted."""

    check: str
    by: str
    at: dt.datetime
    detail: str


@dataclass(frozen=True)
class Story:
    """An update from its beginning to its end, or as far as it is."""

    update: UpdateView
    seconds: float
    next_step: str
    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    entries: tuple[EntryView, ...]
    accepted: tuple[Acceptance, ...]
    pauses: tuple[Pause, ...]
    gaps: tuple[Gap, ...]
    events: tuple[EventView, ...]
    report: str | None
    """The event's sentence that names the report file and its digest."""

    @property
    def leaderless(self) -> float:
        """Seconds in which nobody acted, as far as the journal knows when it began and ended."""
        return sum((gap.seconds or 0.0 for gap in self.gaps), 0.0)

    @property
    def resets(self) -> dict[str, int]:
        """How often each node was power-cycled or powered on for this update."""
        found: dict[str, int] = {}
        for event in self.events:
            if event.kind == 'power' and event.node:
                found[event.node] = found.get(event.node, 0) + 1
        return found

    def as_dict(self) -> dict[str, Any]:
        """The story as data; its keys are documented and stay."""
        begin = self.update.created_at
        following = [e.at for e in self.events[1:]]
        return {
            'format': FORMAT,
            **asdict(self.update),
            'seconds': self.seconds,
            'next_step': self.next_step,
            'stages': [asdict(each) for each in self.stages],
            'steps': [asdict(each) for each in self.steps],
            'entries': [asdict(each) for each in self.entries],
            'accepted': [asdict(each) for each in self.accepted],
            'pauses': [asdict(each) for each in self.pauses],
            'leaderless_seconds': self.leaderless,
            'leaderless': [asdict(each) for each in self.gaps],
            'resets': self.resets,
            'events': [
                {
                    **asdict(event),
                    'after_seconds': _between(begin, event.at),
                    'seconds': _between(event.at, following[i]) if i < len(following) else None,
                }
                for i, event in enumerate(self.events)
            ],
            'report': self.report,
        }


def read(session: Session, update_id: int) -> Story:
    """Return the story as the rows tell it."""
    update = reading.update(session.get_one(Update, update_id))
    events = reading.events(session, update_id)
    until = events[-1].id if events and update.state.ended else None
    return tell(
        update,
        entries=reading.entries(session, update),
        events=events,
        lease=reading.lease_events(session, events[0].id, until) if events else (),
        directives=reading.directives(session, update_id),
        now=database_now(session),
    )


def tell(
    update: UpdateView,
    *,
    entries: Sequence[EntryView],
    events: Sequence[EventView],
    lease: Sequence[EventView],
    directives: Sequence[DirectiveView],
    now: dt.datetime,
) -> Story:
    """Return the story. ``lease`` are the events of the lease in the time of the update, in order."""
    end = update.finished_at or now
    return Story(
        update=update,
        seconds=_between(update.created_at, end),
        next_step=plan.halted(update, directives) or plan.next_step(update),
        stages=tuple(stages(events)),
        steps=tuple(_steps(events)),
        entries=tuple(entries),
        accepted=tuple(
            Acceptance(d.subject, d.created_by, d.created_at, d.detail) for d in directives if d.kind == Kind.ACCEPT
        ),
        pauses=tuple(_pause(d, update) for d in directives if d.kind in (Kind.PAUSE, Kind.HOLD)),
        gaps=tuple(gaps(lease)),
        events=tuple(sorted((*events, *lease), key=lambda e: e.id)),
        report=next((e.detail for e in reversed(events) if e.kind == REPORT), None),
    )


def upto_end(story: Story) -> Story:
    """The story without what came after the update's end: a report of it is always the same."""
    end = next((i for i, e in enumerate(story.events) if e.to_state == story.update.state.value), None)
    if end is None:
        return story
    told = story.events[: end + 1]
    lease = [event for event in told if event.kind == 'lease']
    return replace(story, events=told, gaps=tuple(gaps(lease)), report=None)


def stages(events: Iterable[EventView]) -> list[Stage]:
    """The stays in each state, in order; the last one of an update that goes on has no end."""
    found: list[Stage] = []
    for event in events:
        if not event.to_state:
            continue
        if found:
            last = found[-1]
            found[-1] = Stage(last.state, last.since, event.at, _between(last.since, event.at))
        found.append(Stage(event.to_state, event.at, None, None))
    return found


STEPS = {
    'power': ('boot', {'grant-consumed'}),
    'grant-consumed': ('install', {'written', 'install-failed'}),
    'written': ('proof', {'final'}),
}
"""The events that begin a step of an installation: its name, and what ends it well or badly."""
ATTEMPT = re.compile(r'\battempt (\d+)')


def _steps(events: Iterable[EventView]) -> list[Step]:
    found: list[Step] = []
    open_: dict[str, tuple[int, set[str]]] = {}
    attempts: dict[str, int] = {}
    for event in events:
        node = event.node
        if node is None:
            continue
        if node in open_ and event.kind in open_[node][1]:
            index, _ = open_.pop(node)
            found[index] = _closed(found[index], event)
        if event.kind in ('grant-issued', 'grant-consumed') and (told := ATTEMPT.search(event.detail)):
            attempts[node] = int(told[1])
        if event.kind not in STEPS or (
            event.kind == 'power' and node in open_ and found[open_[node][0]].step == 'boot'
        ):
            continue  # a repeated power cycle is the same wait for the wipe
        if node in open_:
            index, _ = open_.pop(node)
            found[index] = _closed(found[index], event)
        name, ends = STEPS[event.kind]
        open_[node] = (len(found), ends)
        found.append(Step(node, attempts.get(node, 1), name, event.at, None, None, None))
    return found


def _closed(step: Step, event: EventView) -> Step:
    return Step(step.node, step.attempt, step.step, step.since, event.at, _between(step.since, event.at), event.kind)


class LeaseEvent(Protocol):
    """What the journal tells of the lease."""

    @property
    def at(self) -> dt.datetime: ...

    @property
    def detail(self) -> str: ...


_SECONDS = r'(\d+\.\d)'
_AGAIN = re.compile(AGAIN.format(0.0).replace('0.0', _SECONDS))
_RENEWED = re.compile(RENEWED.format(0.0).replace('0.0', _SECONDS))


def gaps(lease: Iterable[LeaseEvent]) -> list[Gap]:
    """From "stopped acting", or the last renewal before a claim, until somebody acts.

    A master that dies leaves no word of when; it renewed the lease, so it was alive. One that stopped and serves again
    says for how long.
    """
    found: list[Gap] = []
    since: dt.datetime | None = None
    for event in lease:
        if again := _AGAIN.search(event.detail):
            began = event.at - dt.timedelta(seconds=float(again[1]))
            found.append(Gap(began, event.at, _between(began, event.at)))
        elif ' acts as master' in event.detail:
            if since is not None:
                found.append(Gap(since, event.at, _between(since, event.at)))
            since = None
        elif since is None and f' {CLAIMED}' in event.detail:
            age = _RENEWED.search(event.detail)
            since = event.at - dt.timedelta(seconds=float(age[1]) if age else 0.0)
        elif since is None and ' stopped acting' in event.detail:
            since = event.at
    if since is not None:
        found.append(Gap(since, None, None))
    return found


def _pause(row: DirectiveView, update: UpdateView) -> Pause:
    until = row.lifted_at or update.finished_at
    return Pause(
        kind=row.kind,
        since=row.created_at,
        by=row.created_by,
        reason=row.detail,
        until=until,
        continued_by=row.lifted_by,
        seconds=None if until is None else _between(row.created_at, until),
    )


def _between(since: dt.datetime, until: dt.datetime) -> float:
    return round(max(0.0, (until - since).total_seconds()), 3)
