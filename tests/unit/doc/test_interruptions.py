"""The table of interruptions names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / 'doc/source/interruptions.rst'


def test_each_row_names_tests_that_exist() -> None:
    rows = re.split(r'^   \* - ', PAGE.read_text(), flags=re.MULTILINE)[2:]
    missing = []
    for row in rows:
        file, named = None, 0
        for word in re.findall(r'``([\w/.]+)``', row.rpartition('\n     - ')[2]):
            if word.endswith('.py'):
                file = (ROOT / 'tests/unit/image' / word).read_text()
            else:
                named += 1
                if file is None or f'\ndef {word}(' not in file:
                    missing.append(word)
        if not named:
            missing.append(row)

    assert len(rows) > 20
    assert missing == []
