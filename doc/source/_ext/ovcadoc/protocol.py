"""The protocol's table, as the service runs it."""

from __future__ import annotations

from ovca.remaster.protocol import RULES, State
from ovcadoc import rst


def transitions() -> str:
    """Return the rules, state by state, in the order in which they are tried."""
    rows = []
    for state in State:
        for rule in RULES:
            if state in rule.states:
                done = rule.decision
                notes = ' (alarm)' * done.alarm + ' (commit point)' * done.commit_point
                to = done.to.value if done.to else 'stays'
                rows.append((state.value, f'{rule.when}{notes}', done.act.value, to, f'``{rule.id}``'))
    return rst.list_table(('state', 'when', 'act', 'to', 'rule'), rows, (14, 38, 14, 14, 20))
