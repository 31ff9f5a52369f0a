"""Readers find the same things in the same places of each page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ovca import pages

SOURCES = Path(__file__).parents[3] / 'doc/source'
TASKS = sorted([*(SOURCES / 'tasks').glob('*.rst'), *(SOURCES / 'admin').glob('*.rst')])


def headings(text: str) -> list[tuple[str, str]]:
    return re.findall(r'^(\S.*)\n([=~-])\2{2,}$', text, re.MULTILINE)


@pytest.mark.parametrize('path', TASKS, ids=lambda path: path.stem)
def test_a_page_on_a_task_ends_with_what_can_go_wrong_and_where_to_go_on(path: Path) -> None:
    titles = [title for title, _ in headings(path.read_text())]

    assert titles[-2:] == ['What can go wrong', 'Where to go on']


@pytest.mark.parametrize('path', TASKS, ids=lambda path: path.stem)
def test_a_page_on_a_task_is_in_the_table_of_contents(path: Path) -> None:
    assert f'   {path.parent.name}/{path.stem}\n' in (SOURCES / 'index.rst').read_text()


@pytest.mark.parametrize('path', TASKS, ids=lambda path: path.stem)
def test_the_errors_that_a_page_names_have_pages(path: Path) -> None:
    named = set(re.findall(r':error:`([^`]+)`', path.read_text()))

    assert named - {*pages.ids()} == set()
    assert named
