"""From which version an appliance may go to which: the rules, and the way through them. Nothing here reads anything.

An image names the oldest version that may be updated to it, and its stepping stones: versions that older ones have to
reach first. So there is one oldest version from which it may be installed, the newest of all these, and every version
between may be updated to it as well. That makes the way simple: always the newest image that may be installed now.

Going back is different. What the newer software has done to the data is known to its makers only, so it is the image
that *runs* that names the oldest version it may be downgraded to. The older image may refuse to be installed over a
newer one, and allows nothing by itself; and the operator has to ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ovca.image.version import ImageVersion


@dataclass(frozen=True)
class Terms:
    """What an image says of its place among the versions."""

    version: str
    update_from: str | None = None
    stepping_stones: tuple[str, ...] = ()
    downgrade_to: str | None = None
    accept_downgrade: bool = True

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Terms:
        """Out of a manifest as the table of images holds it."""
        return cls(
            str(manifest.get('version')),
            manifest.get('update_from'),
            tuple(map(str, manifest.get('stepping_stones') or ())),
            manifest.get('downgrade_to'),
            manifest.get('accept_downgrade') is not False,
        )

    @property
    def oldest(self) -> str | None:
        """The oldest version that this one may be installed over; None: any."""
        stones = [stone for stone in self.stepping_stones if ImageVersion(stone) < ImageVersion(self.version)]
        return max([*filter(None, [self.update_from]), *stones], key=ImageVersion, default=None)

    def follows(self, running: str) -> bool:
        """Whether it may be installed as an update of ``running``."""
        now = ImageVersion(running)
        return now < ImageVersion(self.version) and (self.oldest is None or ImageVersion(self.oldest) <= now)


def problem(
    new: Terms, running: str | None, *, present: Terms | None = None, downgrade: bool = False
) -> tuple[str, str] | None:
    """Return what is wrong with going from ``running`` to the image, and the remedy; or None.

    ``present`` is what the image says that runs, and ``downgrade`` whether the operator asked for going back.
    """
    if running is None or new.follows(running):
        return None
    if ImageVersion(new.version) == ImageVersion(running):
        return f'{new.version} is installed already', 'there is nothing to do'
    if ImageVersion(new.version) < ImageVersion(running):
        return _back(new, running, present, downgrade)
    return (
        f'{new.version} needs {new.oldest} or newer, but {running} runs',
        f'update to {new.oldest} or a version between first',
    )


def _back(new: Terms, running: str, present: Terms | None, asked: bool) -> tuple[str, str] | None:
    version = new.version
    older = f'{version} is older than the installed {running}'
    if present is None:
        return (
            f'{older}, and whether that may be downgraded is not known: its image is not here',
            f'choose a newer image, or take up that of {running} first if it lies on the shared storage, with `ovca '
            f'image-adopt {running}`',
        )
    lowest = present.downgrade_to
    if lowest is None or ImageVersion(version) < ImageVersion(lowest):
        below = f' below {lowest}' if lowest else ''
        return (
            f'{older}, and the manifest of {running} does not allow to downgrade it{below}',
            'choose a newer image; only those who made it can allow a downgrade',
        )
    if not new.accept_downgrade:
        return (
            f'{older}, and its own manifest does not let it be installed over a newer version',
            'choose another version; only those who made it can make one that allows it',
        )
    if not asked:
        return (
            f'{older}; the manifest of {running} allows this downgrade, but it was not asked for',
            'repeat the command with --allow-downgrade if an older version is what you want',
        )
    return None


def path(running: str, images: Iterable[Terms], to: str | None = None) -> list[str]:
    """Return the versions to install one after the other: to ``to``, or else to the newest that can be reached.

    It is the shortest way, through the newest stepping stones; empty when there is none.
    """
    goal = None if to is None else ImageVersion(to)
    known = [image for image in images if goal is None or ImageVersion(image.version) <= goal]
    way: list[str] = []
    while ahead := [image.version for image in known if image.follows(way[-1] if way else running)]:
        way.append(max(ahead, key=ImageVersion))
    if goal is not None and (not way or ImageVersion(way[-1]) != goal):
        return []
    return way


def explain(running: str, images: Iterable[Terms]) -> str:
    """Say why there is no way to anything newer, when :func:`path` finds none."""
    newer = [image for image in images if ImageVersion(running) < ImageVersion(image.version)]
    if not newer:
        return f'it has nothing newer than {running}'
    nearest = min(newer, key=lambda image: (ImageVersion(image.oldest or image.version), ImageVersion(image.version)))
    return f'{running} is too old for all that it has: {nearest.version} needs {nearest.oldest} or newer'
