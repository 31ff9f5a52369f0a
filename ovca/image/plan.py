"""What is to be made of an ISO's records, and from where: decided before anything is written. No input or output."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ovca.image.errors import BundleError
from ovca.image.iso9660 import Entry
from ovca.image.manifest import ListedFile

Place = Callable[[str, str], Path | None]
"""Where a path of the ISO belongs, by its first part and the rest; None for what is not unpacked."""


@dataclass(frozen=True)
class Target:
    """A file of the ISO, what the list says of it, and where it is written."""

    entry: Entry
    listed: ListedFile
    path: Path

    def check(self, digest: str, source: str) -> None:
        """:raises BundleError: the file has another digest than the list says."""
        if digest != self.listed.sha256:
            raise BundleError(source, f'{self.entry.path} has another digest than files.json says')


@dataclass(frozen=True)
class Plan:
    """What is to be made: folders before what is in them, then files, then links."""

    folders: list[Path] = field(default_factory=list)
    files: list[Target] = field(default_factory=list)
    links: list[tuple[Path, str]] = field(default_factory=list)


def plan(entries: Iterable[Entry], listed: dict[str, ListedFile], place: Place, source: str) -> Plan:
    """Compare what the ISO holds with the list, before any of it is written.

    The reader gives folders before what is in them and no path twice, and links are made last, so nothing can lie
    below a link.

    :raises BundleError: they differ.
    """
    made, seen = Plan(), set()
    for entry in entries:
        top, _, rest = entry.path.partition('/')
        path = place(top, rest)
        if path is None:
            continue
        if entry.is_dir:
            made.folders.append(path)
            continue
        if not rest:
            raise BundleError(
                source, f'the ISO holds {top}, which is not the folder that it must be', id='bundle-unsafe'
            )
        file = listed.get(entry.path)
        if file is None:
            raise BundleError(source, f'the ISO holds {entry.path}, which files.json does not list')
        seen.add(entry.path)
        if entry.link is not None or file.link is not None:
            made.links.append((path, _link(entry, file, source)))
            continue
        if entry.size != file.size:
            raise BundleError(source, f'{entry.path} has {entry.size} bytes, files.json says {file.size}')
        made.files.append(Target(entry, file, path))
    missing = sorted(p for p in set(listed) - seen if place(*p.partition('/')[::2]) is not None)
    if missing:
        raise BundleError(source, f'the ISO lacks {missing[0]}, which files.json lists')
    return made


def _link(entry: Entry, listed: ListedFile, source: str) -> str:
    if entry.link != listed.link or entry.link is None:
        raise BundleError(source, f'{entry.path} points elsewhere than files.json says')
    inside = Path('/', *Path(entry.path).parent.parts[1:])
    if not entry.link.startswith('/') and '..' in Path(entry.link).parts:
        depth = len(inside.parts) - 1
        if sum(1 for part in Path(entry.link).parts if part == '..') > depth:
            raise BundleError(source, f'{entry.path} points outside its tree', id='bundle-unsafe')
    return entry.link


@dataclass(frozen=True)
class Run:
    """Where bytes of a file lie in the ISO."""

    offset: int
    length: int
    target: Target
    first: bool
    last: bool

    @property
    def end(self) -> int:
        return self.offset + self.length


def runs(files: Iterable[Target]) -> tuple[list[Run], list[Target]]:
    """Return what can be cut from the stream, one file after the other, and the files that cannot.

    The latter lie where another one lies, too, or in several places that do not follow each other.
    """
    whole, late = [], []
    for target in files:
        extents = target.entry.extents
        if not extents:
            late.append(target)
        elif all(a + n == b for (a, n), (b, _) in itertools.pairwise(extents)):
            whole.append((extents[0][0], sum(length for _, length in extents), target))
        else:
            late.append(target)
    found: list[Run] = []
    for offset, length, target in sorted(whole, key=lambda item: item[:2]):
        if found and offset < found[-1].end:
            late.append(target)
        else:
            found.append(Run(offset, length, target, True, True))
    return found, late
