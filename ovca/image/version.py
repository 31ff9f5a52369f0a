"""Versions of images, as vendors write them: ``1.1.0``, ``3.0.2-b852928``, ``2.4.4-el7``."""

from __future__ import annotations

import functools
import re

from ovca.exceptions import ImageError

FORM = re.compile(r'[0-9A-Za-z][0-9A-Za-z._+~-]{0,127}')

EARLY = ('alpha', 'beta', 'dev', 'pre', 'rc')
PART = re.compile(rf'\d+|[a-z]+|~|[-_+](?!(?:{"|".join(EARLY)})(?![a-z]))', re.IGNORECASE)


def is_version(text: str) -> bool:
    """Whether a text is a version, and so may be the name of an image's folder."""
    return FORM.fullmatch(text) is not None and '..' not in text


@functools.total_ordering
class ImageVersion:
    """A version with a total order: numbers by value, a suffix after its bare version, ``~``, rc, beta … before it.

    :raises ImageError: the text is no version (it becomes a folder's name, so it is bounded).
    """

    def __init__(self, text: str) -> None:
        if not is_version(text):
            raise ImageError(f'{text!r} is not a version; use letters, digits and . _ + ~ -', id='bad-version')
        self.text = text
        # The end of a version sorts after "~" and "rc", before a suffix, letters and numbers.
        self._key = [_part(p) for p in PART.findall(text)] + [(1, 0, '')]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f'ImageVersion({self.text!r})'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageVersion) and self._key == other._key

    def __hash__(self) -> int:
        return hash(tuple(self._key))

    def __lt__(self, other: ImageVersion) -> bool:
        return self._key < other._key


def _part(text: str) -> tuple[int, int, str]:
    if text == '~':
        return 0, 0, ''
    if text.lower() in EARLY:
        return 0, 1, text.lower()
    if text in '-_+':
        return 2, 0, ''
    return (4, int(text), '') if text.isdigit() else (3, 0, text.lower())
