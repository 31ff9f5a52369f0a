"""The table of failures that were seen elsewhere has all of them, and names the tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / 'doc/source/failures.rst').read_text()
ROWS = dict(re.findall(r'^   \* - F(\d+)\n(.*?)(?=^   \* - F|\Z)', PAGE, re.MULTILINE | re.DOTALL))
FILES = sorted((ROOT / 'tests/failures').glob('test_*.py'))
TESTS = re.findall(r'^def (test_f(\d\d)_\w+)', ''.join(path.read_text() for path in FILES), re.MULTILINE)


def test_all_twenty_five_are_there_in_their_order() -> None:
    assert list(ROWS) == [str(number) for number in range(1, 26)]


def test_each_row_names_the_tests_with_its_number_and_each_has_one() -> None:
    named = {number: re.findall(r'``(test_\w+)``', row) for number, row in ROWS.items()}

    assert [number for number, tests in named.items() if not tests] == []
    assert sorted((test, number) for number, tests in named.items() for test in tests) == sorted(
        (test, str(int(number))) for test, number in TESTS
    )
