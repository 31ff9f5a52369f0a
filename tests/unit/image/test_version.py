"""Versions, as vendors write them."""

from __future__ import annotations

import itertools

import pytest

from ovca.exceptions import ImageError
from ovca.image.version import ImageVersion

ORDERED = ['1.0~rc1', '1.0-rc1', '1.0', '1.0-el7', '1.0-1', '1.0.1', '1.2', '1.10', '2.4.4-el7', '3.0.2', '3.0.2-b99',
           '3.0.2-b852928']  # fmt: skip


def test_versions_are_ordered_as_people_mean_it() -> None:
    for (i, left), (j, right) in itertools.product(enumerate(ORDERED), repeat=2):
        assert (ImageVersion(left) < ImageVersion(right)) == (i < j), (left, right)
        assert (ImageVersion(left) == ImageVersion(right)) == (i == j)


@pytest.mark.parametrize('text', ['', '..', '../1', '1/2', '.1', '-1', '1 2', '1..2', 'x' * 200, '1\n'])
def test_what_could_not_be_a_folder_is_no_version(text: str) -> None:
    with pytest.raises(ImageError):
        ImageVersion(text)
