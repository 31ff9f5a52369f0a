"""Text of the code as reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r'([\\*_|])')


def escaped(text: str) -> str:
    """Return a text of the code, where only what stands in backticks has a meaning: it is typed, or is a name."""
    parts = re.split(r'(`+[^`]+`+)', text)
    return ''.join(f'``{part.strip("`")}``' if part.startswith('`') else SPECIAL.sub(r'\\\1', part) for part in parts)


def indented(text: str, by: int = 3) -> str:
    """Return the lines moved to the right; empty ones stay empty."""
    return '\n'.join(' ' * by + line if line.strip() else '' for line in text.splitlines())


def heading(text: str, mark: str) -> str:
    """Return a heading of the level that has this mark."""
    return f'{text}\n{mark * len(text)}\n'


def block(text: str, language: str = 'console') -> str:
    """Return a literal block."""
    return f'.. code-block:: {language}\n\n{indented(text)}\n'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a list of terms, each with its explanation; both are reStructuredText already."""
    return '\n'.join(f'{term}\n{indented(text)}\n' for term, text in pairs)


def list_table(headings: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> str:
    """Return a table; its cells are reStructuredText already."""
    lines = ['.. list-table::', '   :header-rows: 1', f'   :widths: {" ".join(map(str, widths))}', '']
    for row in (headings, *rows):
        for index, cell in enumerate(row):
            first, *more = cell.splitlines() or ['']
            lines.append(f'   {"* -" if index == 0 else "  -"} {first}'.rstrip())
            lines += [f'       {line}'.rstrip() for line in more]
    return '\n'.join(lines) + '\n'
