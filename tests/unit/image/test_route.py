"""From which version to which: what is refused and why, and the way through stepping stones."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovca.image.route import Terms, explain, path, problem
from ovca.image.version import ImageVersion


def image(version: str, update_from: str | None = None, *stones: str, downgrade_to: str | None = None) -> Terms:
    return Terms(version, update_from, stones, downgrade_to)


@pytest.mark.parametrize(
    ('new', 'running', 'words'),
    [
        (image('1.1.0'), None, None),
        (image('1.1.0'), '1.0.0', None),
        (image('1.1.0', '1.0.0'), '1.0.0', None),
        (image('1.1.0', '1.0.5'), '1.0.0', '1.1.0 needs 1.0.5 or newer, but 1.0.0 runs'),
        (image('2.0.0', '1.0.0', '1.1.0'), '1.0.0', '2.0.0 needs 1.1.0 or newer, but 1.0.0 runs'),
        (image('2.0.0', '1.0.0', '1.1.0', '1.5.0'), '1.2.0', '2.0.0 needs 1.5.0 or newer, but 1.2.0 runs'),
        (image('2.0.0', '1.0.0', '1.1.0'), '1.1.0', None),
        (image('2.0.0', '1.0.0', '1.1.0'), '1.2.0', None),
        # A stone that is not older says nothing about what is older.
        (image('2.0.0', None, '2.0.0', '3.0.0'), '1.0.0', None),
        # An image that may be installed over newer ones only cannot be installed at all.
        (image('2.0.0', '3.0.0'), '1.0.0', '2.0.0 needs 3.0.0 or newer'),
        (image('1.0.0'), '1.0.0', '1.0.0 is installed already'),
    ],
)
def test_which_update_is_possible(new: Terms, running: str | None, words: str | None) -> None:
    found = problem(new, running)

    assert found is None if words is None else found is not None and words in found[0]


@pytest.mark.parametrize(
    ('lowest', 'asked', 'words'),
    [
        (None, False, 'the manifest of 1.1.0 does not allow to downgrade it'),
        (None, True, 'the manifest of 1.1.0 does not allow to downgrade it'),
        ('1.0.5', True, 'the manifest of 1.1.0 does not allow to downgrade it below 1.0.5'),
        ('1.0.0', False, 'allows this downgrade, but it was not asked for'),
        ('1.0.0', True, None),
        ('0.9', True, None),
    ],
)
def test_a_downgrade_needs_the_manifest_and_the_operator(lowest: str | None, asked: bool, words: str | None) -> None:
    found = problem(image('1.0.0'), '1.1.0', present=image('1.1.0', downgrade_to=lowest), downgrade=asked)

    assert found is None if words is None else found is not None and words in found[0]
    if found is not None and lowest == '1.0.0':
        assert '--allow-downgrade' in found[1]


@pytest.mark.parametrize('asked', [False, True])
def test_an_older_image_may_refuse_to_be_installed_over_a_newer_one(asked: bool) -> None:
    older = Terms.of({'version': '1.0.0', 'accept_downgrade': False})

    found = problem(older, '1.1.0', present=image('1.1.0', downgrade_to='0.9'), downgrade=asked)

    assert found is not None
    assert found[0].endswith('and its own manifest does not let it be installed over a newer version')
    assert problem(older, '0.9') is None, 'as an update it is as good as any'


def test_what_an_older_image_says_for_itself_is_not_enough() -> None:
    older = Terms.of({'version': '1.0.0', 'accept_downgrade': True})

    found = problem(older, '1.1.0', present=image('1.1.0'), downgrade=True)

    assert found is not None
    assert 'the manifest of 1.1.0 does not allow' in found[0]


def test_what_the_older_image_says_of_itself_allows_no_downgrade() -> None:
    found = problem(image('1.0.0', downgrade_to='0.1'), '1.1.0', present=image('1.1.0'), downgrade=True)

    assert found is not None


def test_without_the_image_that_runs_nobody_knows_whether_it_may_be_downgraded() -> None:
    found = problem(image('1.0.0'), '1.1.0', downgrade=True)

    assert found is not None
    assert 'its image is not here' in found[0]


CHANNEL = [
    image('1.0.0'),
    image('1.1.0', '1.0.0'),
    image('1.2.0', '1.0.0'),
    image('2.0.0', '1.1.0'),
    image('3.0.0', '1.0.0', '2.0.0'),
]


@pytest.mark.parametrize(
    ('running', 'images', 'to', 'way'),
    [
        ('1.0.0', CHANNEL, None, ['1.2.0', '2.0.0', '3.0.0']),
        ('1.1.0', CHANNEL, None, ['2.0.0', '3.0.0']),
        ('2.0.0', CHANNEL, None, ['3.0.0']),
        ('3.0.0', CHANNEL, None, []),
        ('4.0.0', CHANNEL, None, []),
        ('1.0.0', CHANNEL, '1.1.0', ['1.1.0']),
        ('1.0.0', CHANNEL, '2.0.0', ['1.2.0', '2.0.0']),
        ('1.0.0', CHANNEL, '1.0.0', []),
        ('1.0.0', CHANNEL, '9.9', []),
        ('0.9', [image('2.0.0', '1.1.0')], None, []),
        ('1.0.0', [], None, []),
        # What cannot be reached is not aimed at.
        ('1.0.0', [image('1.1.0', '1.0.0'), image('9.0.0', '8.0.0')], None, ['1.1.0']),
        ('1.0.0', [image('1.1.0', '1.0.0'), image('9.0.0', '8.0.0')], '9.0.0', []),
        ('2.4.4-el7', [image('2.4.5-el7', '2.4.4-el7')], None, ['2.4.5-el7']),
    ],
)
def test_the_way_is_the_shortest_to_the_newest(
    running: str, images: list[Terms], to: str | None, way: list[str]
) -> None:
    assert path(running, images, to) == way
    assert path(running, list(reversed(images)), to) == way


VERSIONS = [f'{number}.0' for number in range(1, 7)]
IMAGES = st.lists(
    st.builds(
        Terms,
        st.sampled_from(VERSIONS),
        st.none() | st.sampled_from(VERSIONS),
        st.lists(st.sampled_from(VERSIONS), max_size=2).map(tuple),
    ),
    max_size=5,
    unique_by=lambda terms: terms.version,
)


@given(running=st.sampled_from(VERSIONS), images=IMAGES)
def test_no_other_way_is_shorter_or_leads_further(running: str, images: list[Terms]) -> None:
    ways = [
        [i.version for i in chain]
        for length in range(1, len(images) + 1)
        for chain in itertools.permutations(images, length)
        if all(b.follows(a) for a, b in zip([running, *(i.version for i in chain)], chain, strict=False))
    ]

    found = path(running, images)

    best = max(ways, key=lambda way: (ImageVersion(way[-1]), -len(way)), default=[])
    assert (found[-1:], len(found)) == (best[-1:], len(best))
    assert not found or found in ways


def test_that_there_is_no_way_is_explained() -> None:
    assert explain('3.0.0', CHANNEL) == 'it has nothing newer than 3.0.0'
    assert explain('0.9', [image('2.0.0', '1.1.0'), image('3.0.0', '2.0.0')]) == (
        '0.9 is too old for all that it has: 2.0.0 needs 1.1.0 or newer'
    )
