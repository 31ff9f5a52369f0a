"""Each line of the threat model names a test that pytest collects."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / 'doc/source/threats.rst').read_text()
HEADINGS = ['threat', 'what stops it', 'what remains', 'test']
NAMED = re.compile(r'``([\w/]+\.py)`` ``(\w+)``')


def tables() -> list[list[list[str]]]:
    """The rows of each table of the page, without its headings; the cells are joined lines."""
    found = []
    for block in PAGE.split('.. list-table::')[1:]:
        rows = []
        for row in re.split(r'^   \* - ', re.split(r'^\S', block, flags=re.MULTILINE)[0], flags=re.MULTILINE)[1:]:
            cells = re.split(r'^     -(?: |$)', row, flags=re.MULTILINE)
            rows.append([' '.join(cell.split()) for cell in cells])
        if rows[0] == HEADINGS:
            found.append(rows[1:])
    return found


ROWS = [row for table in tables() for row in table]


@functools.cache
def collected(file: str) -> dict[str, list[str]]:
    """The tests of a file, with their marks."""
    path = ROOT / 'tests' / file
    assert path.name.startswith('test_')
    tree = ast.parse(path.read_text())
    return {
        node.name: [ast.unparse(mark) for mark in node.decorator_list]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith('test_')
    }


def test_the_tables_are_found() -> None:
    assert len(tables()) == 4
    assert len(ROWS) == len(NAMED.findall(PAGE)) > 40


@pytest.mark.parametrize('row', ROWS, ids=[row[0][:50] for row in ROWS])
def test_each_line_names_what_stops_it_what_remains_and_a_test_that_runs(row: list[str]) -> None:
    threat, stops, remains, test = row
    named = NAMED.fullmatch(test)

    assert threat
    assert stops
    assert remains
    assert named is not None, test
    marks = collected(named[1]).get(named[2])
    assert marks is not None, f'there is no {test}'
    assert [mark for mark in marks if 'skip' in mark or 'long' in mark] == []


def test_no_line_is_there_twice() -> None:
    threats = [row[0] for row in ROWS]

    assert len(threats) == len(set(threats))


def test_what_is_not_defended_is_said() -> None:
    section = PAGE.partition('What is not defended\n')[2]

    assert section.count('\n- ') >= 5
