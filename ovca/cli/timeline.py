"""The story of an update as a person reads it: a line for each thing, with how long it took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ovca.cli import live

if TYPE_CHECKING:
    from ovca.remaster.story import Story


def readable(story: Story) -> dict[str, str]:
    """The parts of :meth:`~ovca.remaster.story.Story.as_dict` that hold more than a word, as text."""
    told = story.as_dict()
    return {
        'seconds': took(story.seconds),
        'stages': _lines(f'{s.state}: {took(s.seconds)}' for s in story.stages if s.state != story.update.state.value),
        'steps': _lines(
            f'{s.node}, attempt {s.attempt}: {s.step} {took(s.seconds)}'
            + (' (failed)' if s.ended == 'install-failed' else '')
            for s in story.steps
        ),
        'entries': _lines(f'{e.node}: {live.step_text(e)}' for e in story.entries),
        'accepted': _lines(f'{a.check}, by {a.by or "an operator"}: {a.detail}' for a in story.accepted),
        'pauses': _lines(
            f'{p.kind} by {p.by or "an operator"} '
            + (f'since {p.since:%H:%M:%SZ}' if p.seconds is None else f'for {took(p.seconds)}')
            + (f', continued by {p.continued_by}' if p.continued_by else '')
            + (f': {p.reason}' if p.reason else '')
            for p in story.pauses
        ),
        'leaderless_seconds': took(story.leaderless),
        'leaderless': _lines(f'{g.since:%H:%M:%SZ}: {took(g.seconds)}' for g in story.gaps),
        'resets': _lines(f'{node}: {count}' for node, count in story.resets.items()),
        'events': _lines(
            f'{live.event_line(event)} [+{live.duration(facts["after_seconds"])}{_until_next(facts["seconds"])}]'
            for event, facts in zip(story.events, told['events'], strict=True)
        ),
    }


def took(seconds: float | None) -> str:
    """A duration; short ones with a digit more."""
    if seconds is None:
        return 'not over'
    return f'{seconds:.1f} s' if seconds < 60 else live.duration(seconds)


def _until_next(seconds: float | None) -> str:
    return '' if seconds is None else f', {took(seconds)}'


def _lines(lines: Iterable[str]) -> str:
    return '\n'.join(lines)
