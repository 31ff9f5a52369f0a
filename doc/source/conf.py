"""Configuration of the documentation; the protocol's table and diagram are made from the code."""

from __future__ import annotations

from pathlib import Path

from ovca import __version__
from ovca.remaster.protocol import RULES, State

project = 'ovca'
copyright = 'the ovca developers'
version = release = __version__
extensions = ['cliff.sphinxext', 'oslo_config.sphinxext', 'reno.sphinxext']
html_theme = 'furo'
html_title = f'ovca {release}'
highlight_language = 'none'
autoprogram_cliff_application = 'ovca'
exclude_patterns = ['generated']

GENERATED = Path(__file__).parent / 'generated'


def _table() -> str:
    """The transition table, as the service runs it."""
    lines = ['.. list-table::', '   :header-rows: 1', '   :widths: 14 38 14 14 20', '']
    lines += ['   * - state', '     - when', '     - act', '     - to', '     - rule']
    for state in State:
        for rule in RULES:
            if state in rule.states:
                notes = ' (alarm)' * rule.decision.alarm + ' (commit point)' * rule.decision.commit_point
                to = rule.decision.to.value if rule.decision.to else 'stays'
                lines += [f'   * - {state.value}', f'     - {rule.when}{notes}', f'     - {rule.decision.act.value}']
                lines += [f'     - {to}', f'     - ``{rule.id}``']
    return '\n'.join(lines) + '\n'


GENERATED.mkdir(exist_ok=True)
_target = GENERATED / 'table.txt'
_text = _table()
if not _target.exists() or _target.read_text() != _text:
    _target.write_text(_text)
