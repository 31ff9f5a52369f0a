"""What setup.cfg promises of other packages is what the matrix tries."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
EXTRAS = ('postgresql', 'redfish', 'ipmi', 'lab')
"""For users; the others are tools of developers, of which only the newest are tried."""


def requirements() -> list[Requirement]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    texts = [parser['options']['install_requires'], *(parser['options.extras_require'][extra] for extra in EXTRAS)]
    return [Requirement(line) for line in '\n'.join(texts).splitlines() if line]


def pins(name: str) -> dict[str, Version]:
    lines = [line.split('#')[0].strip() for line in (ROOT / name).read_text().splitlines()]
    pairs = (line.split(';')[0].split('==') for line in lines if line)
    return {canonicalize_name(package): Version(version) for package, version in pairs}


@pytest.mark.parametrize('requirement', requirements(), ids=str)
def test_the_lowest_version_that_is_promised_is_the_lowest_that_is_tried(requirement: Requirement) -> None:
    (specifier,) = requirement.specifier

    assert specifier.operator == '>='
    assert pins('constraints-lowest.txt')[canonicalize_name(requirement.name)] == Version(specifier.version)


@pytest.mark.parametrize('requirement', requirements(), ids=str)
def test_the_newest_version_that_is_tried_is_one_that_is_promised(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins('constraints.txt')[canonicalize_name(requirement.name)])


def test_the_tests_are_run_by_the_same_tools_with_the_lowest_as_with_the_newest() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    promised = {canonicalize_name(requirement.name) for requirement in requirements()}
    lines = parser['options.extras_require']['test'].splitlines()
    tools = {canonicalize_name(Requirement(line).name) for line in lines if line} - promised
    lowest, newest = pins('constraints-lowest.txt'), pins('constraints.txt')
    pinned = tools & lowest.keys()

    assert 'pytest' in pinned
    assert {tool: lowest[tool] for tool in pinned} == {tool: newest[tool] for tool in pinned}
