"""The states of an update and what leads from one to another, drawn from the table that the service runs.

The picture is SVG that stands in the page itself, so it has the page's colours, in light and in dark, and needs no
program to be drawn. Where a state stands is chosen here; what is drawn is the table's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from ovca.remaster.protocol import RULES, Act, Rule, State

PLACES: dict[State, tuple[int, float]] = {
    State.REQUESTED: (0, 0),
    State.INSTALL_1: (0, 1),
    State.VERIFY_1: (0, 2),
    State.PROVING: (0, 3),
    State.INSTALL_2: (0, 4),
    State.VERIFY_2: (0, 5),
    State.DONE: (0, 6),
    State.ROLLBACK: (1, 3),
    State.ABORTED: (2, 0.5),
    State.FAILED_DEGRADED: (2, 1.8),
    State.FAILED_ROLLED_BACK: (2, 3),
    State.FAILED_FORWARD: (2, 4.5),
}
"""Column and row of each state. The first column is the way of an update that meets no trouble."""
LEFTS = (130, 345, 590)
"""Where the boxes of each column begin; what goes back, or leaves something out, is drawn left of the first."""
WIDTH, HEIGHT, PITCH, TOP = 170, 40, 86, 20
SIZE = (LEFTS[-1] + WIDTH + 10, int(TOP + 6 * PITCH + HEIGHT + 20))


@dataclass(frozen=True)
class Transition:
    """From one state to another, or to a new attempt in the same one."""

    source: State
    target: State
    rules: tuple[Rule, ...]
    """The rows that lead so, in the order in which they are tried."""

    @property
    def back(self) -> bool:
        """Whether it is drawn left of the first column."""
        (column, row), (to_column, to_row) = PLACES[self.source], PLACES[self.target]
        return column == to_column and to_row != row + 1

    @property
    def commits(self) -> bool:
        return any(rule.decision.commit_point for rule in self.rules)

    @property
    def label(self) -> str:
        """What is written beside it."""
        if self.commits:
            return 'commit point'
        return 'hand-over' if any(rule.decision.act is Act.HAND_OVER for rule in self.rules) else ''


def transitions(rules: Iterable[Rule] = RULES) -> list[Transition]:
    """What leads from one state to another, or begins a new attempt, in the order of the table."""
    found: dict[tuple[State, State], list[Rule]] = {}
    for state in State:
        for rule in rules:
            if state in rule.states and rule.decision.to is not None:
                found.setdefault((state, rule.decision.to), []).append(rule)
    return [Transition(source, target, tuple(rows)) for (source, target), rows in found.items()]


def description(found: Iterable[Transition]) -> str:
    """The same in words, for who cannot see the picture."""
    told = []
    for state in State:
        targets = [each.target.value for each in found if each.source is state and each.target is not state]
        if targets:
            last = f'{", ".join(targets[:-1])} or {targets[-1]}' if len(targets) > 1 else targets[0]
            told.append(f'{state.value} leads to {last}')
    ended = ', '.join(state.value for state in State if state.ended)
    return f'{"; ".join(told)}. The update is over in {ended}.'


def picture(rules: Iterable[Rule] = RULES) -> str:
    """The states and transitions as SVG."""
    found = transitions(rules)
    ports = _ports(found)
    width, height = SIZE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="ovca-states-title ovca-states-text" class="ovca-states" font-family="sans-serif" '
        f'font-size="13" style="width: 100%; max-width: {width}px; height: auto" fill="none" stroke="currentColor">',
        '<title id="ovca-states-title">The states of an update</title>',
        f'<desc id="ovca-states-text">{escape(description(found))}</desc>',
        '<defs><marker id="ovca-states-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 8 4 0 8z" fill="currentColor" stroke="none"/>'
        '</marker></defs>',
        *(_line(each, ports) for each in found),
        *(_box(state) for state in State),
        '</svg>',
    ]
    return '\n'.join(parts) + '\n'


def place(state: State) -> tuple[float, float]:
    """The upper left corner of a state's box."""
    column, row = PLACES[state]
    return LEFTS[column], TOP + row * PITCH


def _box(state: State) -> str:
    x, y = place(state)
    round_, thick = (HEIGHT // 2, 2) if state.ended else (6, 1)
    return (
        f'<g data-state="{state.value}"><rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="{round_}" '
        f'stroke-width="{thick}"/><text x="{x + WIDTH / 2:g}" y="{y + HEIGHT / 2 + 5:g}" text-anchor="middle" '
        f'fill="currentColor" stroke="none">{state.value}</text></g>'
    )


Ports = dict[tuple[State, State, bool], float]


def _side(each: Transition, outgoing: bool) -> str:
    """The side of the box at which it begins or ends."""
    if each.back:
        return 'left'
    if PLACES[each.source][0] == PLACES[each.target][0]:
        return 'below' if outgoing else 'above'
    return 'right' if outgoing else 'left'


def _ports(found: list[Transition]) -> Ports:
    """How far below the upper edge of its box each line begins and ends, so that no two meet there."""
    ends: dict[tuple[State, str], list[tuple[float, Transition, bool]]] = {}
    for each in found:
        for outgoing in (True, False):
            state, other = (each.source, each.target) if outgoing else (each.target, each.source)
            ends.setdefault((state, _side(each, outgoing)), []).append((PLACES[other][1], each, outgoing))
    ports: Ports = {}
    for there in ends.values():
        there.sort(key=lambda end: (end[0], not end[2]))
        for n, (_, each, outgoing) in enumerate(there, 1):
            ports[each.source, each.target, outgoing] = HEIGHT * n / (len(there) + 1)
    return ports


def _line(each: Transition, ports: Ports) -> str:
    (x, y), (to_x, to_y) = place(each.source), place(each.target)
    begin, end = (ports[each.source, each.target, outgoing] for outgoing in (True, False))
    if each.back:
        far = 34 + 22 * abs(PLACES[each.source][1] - PLACES[each.target][1])
        y, to_y = y + begin, to_y + end
        way = f'M{x:g} {y:g}C{x - far:g} {y:g} {to_x - far:g} {to_y:g} {to_x:g} {to_y:g}'
        label_at = (x - far, (y + to_y) / 2)
    elif x == to_x:
        middle = x + WIDTH / 2
        way = f'M{middle:g} {y + HEIGHT:g}V{to_y:g}'
        label_at = (middle + 8, (y + HEIGHT + to_y) / 2 + 4)
    else:
        x, y, to_y = x + WIDTH, y + begin, to_y + end
        half = (to_x - x) / 2
        way = f'M{x:g} {y:g}C{x + half:g} {y:g} {to_x - half:g} {to_y:g} {to_x:g} {to_y:g}'
        label_at = (x + half, (y + to_y) / 2)
    plain = x == to_x and not each.back
    style = ' stroke-width="3"' if each.commits else ' stroke-width="1.5"' if plain else ' stroke-dasharray="5 3"'
    why = escape('; '.join(dict.fromkeys(rule.when for rule in each.rules)))
    label = (
        f'<text x="{label_at[0]:g}" y="{label_at[1]:g}" fill="currentColor" stroke="none">{each.label}</text>'
        if each.label and plain
        else ''
    )
    names = ' '.join(rule.id for rule in each.rules)
    return (
        f'<g data-from="{each.source.value}" data-to="{each.target.value}" data-rules="{names}">'
        f'<title>{each.source.value} to {each.target.value}: {why}</title>'
        f'<path d="{way}"{style} marker-end="url(#ovca-states-tip)"/>{label}</g>'
    )
