"""The picture of an update on a terminal: both nodes side by side, the times, and what comes next."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ovca.cli import base, live
from ovca.remaster import outlook

if TYPE_CHECKING:
    from ovca.remaster.outlook import Expectation
    from ovca.remaster.views import EventView, NodeView, Snapshot

halted = outlook.halted
LABEL = 10
"""Columns for the names of the lines."""
WIDEST = 48
"""Columns for one node at most: a picture that is wider than needed is hard to read."""
BAR = 20


def draw(
    seen: Snapshot,
    *,
    passed: float = 0.0,
    expected: Expectation | None = None,
    last: EventView | None = None,
    width: int = 80,
    plain: bool = False,
) -> Group:
    """Return the picture; ``passed`` are the seconds since the snapshot, ``plain`` draws with ASCII only."""
    update = seen.update
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=LABEL, no_wrap=True)
    room = max(12, min(WIDEST, (width - LABEL - 2 * 3) // 2))
    names = (update.first, update.second)
    for _ in names:
        table.add_column(width=room, overflow='fold')
    nodes = {node.name: node for node in seen.nodes}
    table.add_row(
        '', *(_text(f'{name} ({place})', 'bold') for name, place in zip(names, ('first', 'second'), strict=True))
    )
    for label, cells in (
        ('role', [_role(nodes.get(name)) for name in names]),
        ('version', [(nodes[name].version if name in nodes else None) or '-' for name in names]),
        ('health', [_health(nodes.get(name)) for name in names]),
        ('step', [live.step_text(seen.entry(name)) for name in names]),
    ):
        table.add_row(label, *(_text(cell) for cell in cells))
    if not update.state.ended:
        table.add_row('', *(_text(_bar(seen, name, passed, expected, plain)) for name in names))
    below = Table.grid(padding=(0, 2, 0, 0))
    below.add_column(min_width=LABEL, no_wrap=True)
    below.add_column(overflow='fold')
    for label, text in _times(seen, passed, expected):
        below.add_row(label, _text(text))
    if last is not None:
        below.add_row('last', _text(_short(live.event_line(last), width)))
    below.add_row('next', _text(_short(outlook.next_step(seen), width), 'bold' if halted(seen) else ''))
    lines: list[RenderableType] = [_text(_title(seen), 'bold'), table, below]
    if safe := outlook.safe_to_close(seen):
        lines.append(_text(safe, 'dim'))
    return Group(*lines)


def _text(text: str, style: str = '') -> Text:
    return Text(base.shown(text), style=style)  # as text: what stands in [brackets] is no style


def _short(text: str, width: int) -> str:
    """Three lines of a sentence at most: a long one, as of an error, would push all else from the screen."""
    room = 3 * max(20, width - LABEL - 4)
    return text if len(text) <= room else f'{text[: room - 3]}...'


def _title(seen: Snapshot) -> str:
    update = seen.update
    position = outlook.position(update)
    told = f' (told by {seen.told_by})' if seen.told_by else ''
    return f'update {update.id} to {update.version}: {update.state}{f", {position}" if position else ""}{told}'


def _role(node: NodeView | None) -> str:
    return '-' if node is None else node.role


def _health(node: NodeView | None) -> str:
    if node is None:
        return '-'
    problems = '; '.join(node.problems.values())
    return f'{node.health} ({problems})' if problems and node.health == 'unhealthy' else node.health


def _bar(seen: Snapshot, name: str, passed: float, expected: Expectation | None, plain: bool) -> str:
    """How far the node's own part is: what its installer says, or else the time it is likely to take."""
    entry = seen.entry(name)
    if entry is None or entry.step in ('waiting', 'failed'):
        return ''
    done = 1.0
    if entry.final_at is None:
        if entry.percent is not None and entry.step == 'installing':
            done = entry.percent / 100
        else:
            usual = expected.of(seen.update.state) if expected is not None else None
            if usual is None:
                return ''
            done = min(0.99, ((seen.now - seen.update.state_since).total_seconds() + passed) / max(usual, 0.1))
    full = int(done * BAR)
    on, off = ('#', '-') if plain else ('\u2588', '\u2591')
    return f'{on * full}{off * (BAR - full)} {int(done * 100):3} %'


def _times(seen: Snapshot, passed: float, expected: Expectation | None) -> list[tuple[str, str]]:
    """The time so far, and what is to be expected; a time that stands still does so here, too."""
    update = seen.update
    if update.finished_at is not None:
        return [('time', f'{live.duration((update.finished_at - update.created_at).total_seconds())} in all')]
    here = live.duration((seen.now - update.state_since).total_seconds() + passed)
    total = live.duration((seen.now - update.created_at).total_seconds() + passed)
    usual = expected.of(update.state) if expected is not None else None
    told = '' if usual is None else f' (usually {live.duration(usual)})'
    lines = [('time', f'{here} in this state{told}, {total} in all')]
    goes_well = bool(outlook.position(update)) and halted(seen) is None
    if expected is not None and expected.total is not None and goes_well:
        left = expected.left(update, seen.now + dt.timedelta(seconds=passed))
        told = '' if left is None else f', about {live.duration(left)} left'
        lines.append(('expected', f'{live.duration(expected.total)} in all{told} (from {expected.source})'))
    return lines
