"""Going back: only with the word of the manifest that runs, and of the operator."""

from __future__ import annotations

from typing import Any

import pytest

from ovca import conf
from ovca.db.models import Image, Node
from ovca.remaster import checks
from ovca.remaster.checks import CheckContext, Result
from ovca.remaster.checks.image import VersionPath
from tests.operated import NEW, OLD, Operated


@pytest.fixture
def newer(operated: Operated) -> Operated:
    """Both nodes run 1.1.0, and 1.0.0 is published too."""
    operated.started().image('1.0.0', OLD).image('1.1.0', NEW)
    with operated.database.write() as session:
        for name in ('mn1', 'mn2'):
            node = session.get_one(Node, name)
            node.running_version, node.running_digest = '1.1.0', NEW
    return operated


def allow(operated: Operated, lowest: str, version: str = '1.1.0') -> None:
    """The manifest of an image allows to downgrade it."""
    with operated.database.write() as session:
        row = session.get_one(Image, version)
        row.manifest = {**row.manifest, 'downgrade_to': lowest}


def check(operated: Operated, **facts: Any) -> checks.CheckResult:
    context = CheckContext(conf.load(str(operated.config_file)), operated.database, '1.0.0', **facts)
    return VersionPath(context).check()


@pytest.mark.parametrize(
    ('lowest', 'asked', 'result', 'words'),
    [
        (None, False, Result.FAILED, 'does not allow'),
        (None, True, Result.FAILED, 'does not allow'),
        ('1.0.0', False, Result.FAILED, 'was not asked for'),
        ('1.0.0', True, Result.WARNING, '1.1.0 will be downgraded to 1.0.0'),
    ],
)
def test_the_check_says_whose_word_is_missing(
    newer: Operated, lowest: str | None, asked: bool, result: Result, words: str
) -> None:
    if lowest is not None:
        allow(newer, lowest)

    found = check(newer, allow_downgrade=asked)

    assert (found.result, words in found.detail) == (result, True), found


def test_the_older_image_cannot_allow_it(newer: Operated) -> None:
    allow(newer, '0.1', version='1.0.0')

    assert check(newer, allow_downgrade=True).result is Result.FAILED


def test_the_older_image_can_forbid_it(newer: Operated) -> None:
    allow(newer, '1.0.0')
    with newer.database.write() as session:
        row = session.get_one(Image, '1.0.0')
        row.manifest = {**row.manifest, 'accept_downgrade': False}

    found = check(newer, allow_downgrade=True)

    assert (found.result, 'its own manifest does not let it' in found.detail) == (Result.FAILED, True), found


def test_without_the_image_that_runs_it_is_refused(newer: Operated) -> None:
    with newer.database.write() as session:
        session.delete(session.get_one(Image, '1.1.0'))

    assert 'its image is not here' in check(newer, allow_downgrade=True).detail


def test_the_plan_says_that_it_goes_back(newer: Operated) -> None:
    lines = newer.service().plan('1.0.0').lines()

    assert lines[0].startswith('Downgrade from 1.1.0 to 1.0.0: 6 steps')
    assert '  1.0.0 is older than 1.1.0: both nodes go back to it.' in lines


def test_the_plan_of_an_update_says_no_such_thing(operated: Operated) -> None:
    operated.started().image()

    assert not any('older' in line or 'owngrade' in line for line in operated.service().plan('1.1.0').lines())
