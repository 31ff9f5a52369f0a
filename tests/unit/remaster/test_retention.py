from __future__ import annotations

import re
from typing import Any

import pytest

from ovca.remaster.protocol import State
from ovca.remaster.retention import ImageKept, Pins, check, keepers, surplus
from tests.operated import Operated

IMAGES = {'1.0.0': 'a', '1.1.0': 'b', '1.2.0': 'c'}
BOTH = {'mn1': 'b', 'mn2': 'b'}


def update(state: str, digest: str = 'b', old: str | None = 'a', id: int = 1) -> Pins:
    return Pins(id, State(state), digest, old)


@pytest.mark.parametrize(
    ('facts', 'kept'),
    [
        ({'running': {}, 'updates': []}, {}),
        ({'running': {'mn1': None, 'mn2': 'z'}, 'updates': []}, {}),
        ({'running': {'mn1': 'b', 'mn2': 'a'}, 'updates': []}, {'1.0.0': 'mn2 runs it', '1.1.0': 'mn1 runs it'}),
        ({'running': BOTH, 'updates': []}, {'1.1.0': 'mn1 and mn2 run it'}),
        ({'running': BOTH, 'updates': [update('DONE')]}, {'1.0.0': 'go back to', '1.1.0': 'run it'}),
        # What was installed without an image here has nothing to keep.
        ({'running': BOTH, 'updates': [update('DONE', old=None)]}, {'1.1.0': 'run it'}),
        (
            {'running': BOTH, 'updates': [update('INSTALL_1', 'c', 'b')]},
            {'1.1.0': 'mn1 and mn2 run it', '1.2.0': 'update 1 is open and installs it'},
        ),
        (
            {'running': {'mn1': 'c', 'mn2': 'c'}, 'updates': [update('VERIFY_2', 'c', 'b')]},
            {'1.1.0': 'update 1 is open and may go back to it', '1.2.0': 'run it'},
        ),
        # An update that was aborted changed nothing: the one before it still says what to go back to.
        (
            {'running': BOTH, 'updates': [update('ABORTED', 'c', 'b', 2), update('DONE')]},
            {'1.0.0': 'go back to', '1.1.0': 'run it'},
        ),
        # The next one that was carried out supersedes it.
        (
            {'running': {'mn1': 'c', 'mn2': 'c'}, 'updates': [update('DONE', 'c', 'b', 2), update('DONE')]},
            {'1.1.0': 'go back to', '1.2.0': 'run it'},
        ),
        (
            {'running': BOTH, 'updates': [update('FAILED_DEGRADED', 'c', 'b', 2), update('DONE')]},
            {'1.1.0': 'run it', '1.2.0': 'its repair installs it; finish that update'},
        ),
        (
            {'running': {'mn2': 'c'}, 'updates': [update('FAILED_FORWARD', 'c', 'b')]},
            {'1.1.0': 'may go back to it', '1.2.0': 'mn2 runs it'},
        ),
        ({'running': {}, 'updates': [], 'downloads': ['1.2.0', '7']}, {'1.2.0': 'being downloaded'}),
        ({'running': {}, 'updates': [], 'wanted': ['1.2.0', '7']}, {'1.2.0': 'its installation is asked for'}),
    ],
)
def test_what_stays_and_why(facts: dict[str, Any], kept: dict[str, str]) -> None:
    found = keepers(IMAGES, **facts)

    assert set(found) == set(kept)
    for version, words in kept.items():
        assert words in found[version]


def test_each_reason_says_what_makes_the_deletion_possible() -> None:
    found = keepers(IMAGES, running=BOTH, updates=[update('INSTALL_1', 'c', 'a')], downloads=[])

    assert [reason.partition('; ')[2] for reason in found.values()] == [
        'update them to another image first',
        'wait for the end of the update, or abort it with `ovca update-abort`',
        'wait for the end of the update, or abort it with `ovca update-abort`',
    ]


@pytest.mark.parametrize(
    ('newest_first', 'keep', 'kept', 'gone'),
    [
        ('', 3, '', ''),
        ('cba', 3, '', ''),
        ('dcba', 3, '', 'a'),
        ('edcba', 3, '', 'ab'),
        ('edcba', 3, 'a', 'b'),
        ('edcba', 3, 'ab', ''),
        # What was published last stays, although the two that are needed are as many as may stay.
        ('cba', 2, 'ab', ''),
        ('dcba', 2, 'ab', ''),
        ('edcba', 2, 'ab', 'c'),
    ],
)
def test_the_oldest_beyond_the_newest_go_unless_they_are_needed(
    newest_first: str, keep: int, kept: str, gone: str
) -> None:
    assert surplus(list(newest_first), keep=keep, kept=set(kept)) == list(gone)


def test_all_images_that_stay_are_named_at_once(operated: Operated) -> None:
    operated.started().image('1.0.0', 'a' * 64).image()
    operated.update('INSTALL_1')

    with operated.database.read() as session, pytest.raises(ImageKept) as caught:
        check(session, ['1.0.0', '1.1.0'])

    assert 'image 1.0.0 stays: mn1 and mn2 run it' in str(caught.value)
    assert re.search('image 1.1.0 stays: update 1, which otto began at .*Z, is open and installs it', str(caught.value))
    assert (caught.value.id, caught.value.exit_code) == ('image-kept', 6)
