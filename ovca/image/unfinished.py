"""The ISO of a download that is under way: what it was unpacked to is kept, in place of what was received.

So a bundle's bytes need no room, and are not written: while all goes well nobody wants them again. What is left of an
interruption is the part with the bundle's first members, up to the head of the ISO's, and the ISO as far as it came.
Both have a note beside them that says what of them can be believed (:class:`~ovca.image.fetch.held.Part`). The next
download reads the ISO from there up to one of the :class:`~ovca.image.restarts.Restarts` that its head tells, and the
source from the place that belongs to it. All of it is hashed anew, so what is wrong there is found like what is wrong
in a bundle.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from ovca.exceptions import ImageError
from ovca.files import drop
from ovca.image.bundle import Bundle, Member, Unpacked
from ovca.image.fetch.base import Fetcher, Gap
from ovca.image.fetch.held import READ, Part, note_of
from ovca.image.limits import Limits
from ovca.image.manifest import FILES_LIMIT, ISO_NAME

FORGOTTEN = 8 * READ
"""After so many bytes the kernel may forget what was read."""
AHEAD = 1024 * 1024
"""Bytes that may wait for the disk: as many as the stages hold wait before them already."""


class Unfinished:
    """One ISO and its note, both below ``path``; opened by :meth:`begin`."""

    def __init__(self, path: Path, source: Fetcher) -> None:
        self.path, self._source = path, source
        self.known = 0
        """Bytes of it that were there before."""
        self._packed = 0
        """Bytes of the member that these come of."""
        self._iso: Part | None = None

    def found(self, part: Path, limits: Limits) -> bool:
        """Look what an earlier download has left; if the ISO can be gone on with, the source is told what to leave out.

        ``part`` holds the bundle's first bytes.
        """
        if not _own(self.path) or not part.exists():
            return False
        with (
            closing(Part(part, self._source.uri_digest)) as first,
            closing(Part(self.path, self._source.uri_digest)) as iso,
        ):
            if not iso.held or iso.validator != first.validator:
                return False
            bundle = Bundle(first.replay(), self._source.shown, limits)
            try:
                member = _iso_of(bundle)
            except ImageError:
                return False  # the part ends too early; it is read like any other
            if member is None or member.restarts is None:
                return False
            self.known, self._packed = member.restarts.before(iso.held)
            if self.known:
                self._source.gap = Gap(bundle.position, bundle.position + self._packed)
            return bool(self.known)

    def suits(self, member: Member) -> bool:
        """Whether this member can be kept as the ISO that it becomes."""
        return bool(self.known) or (member.restarts is not None and self._source.ranges)

    def begin(self) -> None:
        """Keep it so from now on: the source keeps nothing more. :raises StorageFailed: the file cannot be opened."""
        self._iso = Part(self.path, self._source.uri_digest, ahead=AHEAD)
        self._iso.cut(self.known)
        if not self.known:
            self._iso.remember(self._source.validator, None)
        self._source.leave()

    @property
    def unpacked(self) -> Unpacked | None:
        """What is there already."""
        return Unpacked(self._read(), self._packed) if self.known else None

    def _read(self) -> Iterator[bytes]:
        with self.path.open('rb') as stream:
            left = self.known
            while left:
                data = stream.read(min(READ, left))
                if not data:
                    return  # it became shorter: the ISO's length or digest will not be right
                left -= len(data)
                yield data
                if left % FORGOTTEN < READ:
                    os.posix_fadvise(stream.fileno(), 0, stream.tell(), os.POSIX_FADV_DONTNEED)

    def write(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Append what is not there yet of the ISO's bytes. :raises StorageFailed: it cannot be written."""
        iso, behind = self._iso, self.known
        assert iso is not None
        try:
            for data in pieces:
                if behind < len(data):
                    iso.append(data[behind:] if behind else data)
                behind = max(0, behind - len(data))
            iso.flush()
        finally:
            iso.close()

    def link(self, target: Path) -> None:
        """Have the whole ISO under its own name, too, until :meth:`forget`. :raises OSError: it cannot be."""
        self.path.chmod(0o644)
        try:
            target.hardlink_to(self.path)
        except OSError:  # not every file system has more than one name for a file
            self.path.rename(target)

    def forget(self) -> None:
        """Remove what is here of it."""
        for path in (note_of(self.path), self.path):
            drop(path)


def _iso_of(bundle: Bundle) -> Member | None:
    """The member that is the ISO; all before it were read."""
    while (member := bundle.next()) is not None:
        if ISO_NAME.fullmatch(member.name):
            return member
        for _ in bundle.content(FILES_LIMIT):
            pass
    return None


def _own(path: Path) -> bool:
    """Whether it is a file, and nobody else's: one with a second name is that of a published image."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
