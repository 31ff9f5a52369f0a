"""The picture of an update's states holds all that the table holds, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from ovca.remaster.protocol import RULES, Rule, State

ROOT = Path(__file__).parents[3]
SVG = '{http://www.w3.org/2000/svg}'
TABLE = {(state, rule.decision.to) for rule in RULES for state in rule.states if rule.decision.to is not None}


@pytest.fixture(scope='module')
def diagram() -> ModuleType:
    spec = importlib.util.spec_from_file_location('diagram', ROOT / 'doc/source/_ext/ovcadoc/diagram.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules['diagram'] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def drawn(diagram: ModuleType) -> ElementTree.Element:
    return ElementTree.fromstring(diagram.picture())


def lines(drawn: ElementTree.Element) -> dict[tuple[str, str], ElementTree.Element]:
    found = drawn.findall(f'{SVG}g[@data-from]')
    by_ends = {(line.attrib['data-from'], line.attrib['data-to']): line for line in found}
    assert len(by_ends) == len(found), 'no transition is drawn twice'
    return by_ends


def test_each_state_has_a_box_with_its_name(drawn: ElementTree.Element) -> None:
    boxes = drawn.findall(f'{SVG}g[@data-state]')

    assert [box.attrib['data-state'] for box in boxes] == [state.value for state in State]
    assert [box.findtext(f'{SVG}text') for box in boxes] == [state.value for state in State]


def test_each_transition_of_the_table_has_a_line_and_there_is_no_other(drawn: ElementTree.Element) -> None:
    assert set(lines(drawn)) == TABLE
    assert all(line.find(f'{SVG}path') is not None for line in lines(drawn).values())


def test_a_line_tells_all_rules_that_lead_so(drawn: ElementTree.Element) -> None:
    for (source, target), line in lines(drawn).items():
        rules = [rule for rule in RULES if source in rule.states and rule.decision.to == target]

        assert line.attrib['data-rules'].split() == [rule.id for rule in rules]
        assert all(rule.when in str(line.findtext(f'{SVG}title')) for rule in rules)


def test_the_commit_point_is_told_where_it_is(drawn: ElementTree.Element) -> None:
    labels = {ends: line.findtext(f'{SVG}text') for ends, line in lines(drawn).items()}

    assert {ends for ends, label in labels.items() if label == 'commit point'} == {('PROVING', 'INSTALL_2')}
    assert labels['VERIFY_1', 'PROVING'] == 'hand-over'


def test_who_cannot_see_it_is_told_the_same(drawn: ElementTree.Element) -> None:
    title, told = drawn.findtext(f'{SVG}title'), str(drawn.findtext(f'{SVG}desc'))
    ids = [str(drawn.find(f'{SVG}{name}').attrib['id']) for name in ('title', 'desc')]  # type: ignore[union-attr]

    assert (drawn.attrib['role'], drawn.attrib['aria-labelledby'].split()) == ('img', ids)
    assert title == 'The states of an update'
    for source, target in TABLE:
        sentence = next((part for part in told.split('; ') if part.startswith(f'{source} leads to')), '')
        assert source == target or target in sentence


def test_it_has_the_colours_of_the_page(diagram: ModuleType, drawn: ElementTree.Element) -> None:
    colours = {
        element.attrib[name] for element in drawn.iter() for name in ('fill', 'stroke') if name in element.attrib
    }

    assert colours == {'currentColor', 'none'}
    assert 'color:' not in diagram.picture() and '#' not in diagram.picture().replace('url(#', '')


def test_boxes_are_inside_the_picture_and_apart(diagram: ModuleType) -> None:
    width, height = diagram.SIZE
    corners = [diagram.place(state) for state in State]

    for n, (x, y) in enumerate(corners):
        assert x > 0 and x + diagram.WIDTH < width
        assert y > 0 and y + diagram.HEIGHT < height
        for other_x, other_y in corners[:n]:
            assert abs(x - other_x) > diagram.WIDTH or abs(y - other_y) > diagram.HEIGHT


def test_another_table_is_another_picture(diagram: ModuleType) -> None:
    fewer: tuple[Rule, ...] = tuple(rule for rule in RULES if rule.decision.to is not State.ROLLBACK)

    assert set(lines(ElementTree.fromstring(diagram.picture(fewer)))) == {
        (source, target) for source, target in TABLE if target is not State.ROLLBACK
    }
