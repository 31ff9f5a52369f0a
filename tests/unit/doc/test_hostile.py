"""The table of what is refused names sentences that the program says, ids that have a page, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ovca import pages

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / 'doc/source/hostile.rst').read_text()
ROWS = re.findall(r'   \* - (.+)\n     - \*(.+)\* :doc:`([a-z-]+) <errors/\3>`\n     - ``(\w+)``\n', PAGE)
CODE = re.sub(r"'\n\s+f?'", '', ''.join(path.read_text() for path in sorted((ROOT / 'ovca/image').glob('*.py'))))
TESTS = set(
    re.findall(r'^def (test_\w+)', ''.join(p.read_text() for p in (ROOT / 'tests/unit/image').glob('*.py')), re.M)
)


def test_the_table_is_found() -> None:
    assert len(ROWS) == PAGE.count('     - ``test_') > 50


@pytest.mark.parametrize(('what', 'sentence', 'id', 'test'), ROWS, ids=[f'{r[2]}-{r[3][5:60]}' for r in ROWS])
def test_a_row_of_the_table_is_true(what: str, sentence: str, id: str, test: str) -> None:
    parts = [part.strip() for part in sentence.split('…')]

    assert [part for part in parts if part not in CODE] == []
    assert pages.page(id) is not None
    assert test in TESTS
