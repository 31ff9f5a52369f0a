"""Reads again what was written: a published image, or an installed node's root."""

from __future__ import annotations

import concurrent.futures
import enum
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovca.image.errors import BundleError
from ovca.image.manifest import ListedFile, Manifest, parse_files
from ovca.image.store import COMPONENTS, Store

WORKERS = 4
BLOCK = 4 * 1024 * 1024
Told = Callable[[int, int], None]
"""Gets how many bytes were read, and how many there are to read."""


class Problem(enum.StrEnum):
    """What is wrong with a file."""

    MISSING = 'missing'
    DIFFERS = 'differs'
    NOT_LISTED = 'not listed'


@dataclass(frozen=True)
class Difference:
    """A file, by its path below the shared storage, that is not as the image has it."""

    path: str
    problem: Problem


@dataclass(frozen=True)
class Findings:
    """What reading an image again has shown."""

    files: int
    """How many files should be there, the ISO and the two lists included."""
    differences: tuple[Difference, ...]


def digest_of(path: Path, told: Callable[[int], None] | None = None) -> str:
    """The SHA-256 of a file, in hex; ``told`` gets how much was read, again and again."""
    with path.open('rb') as stream:
        if told is None:
            return hashlib.file_digest(stream, 'sha256').hexdigest()
        digest = hashlib.sha256()
        while data := stream.read(BLOCK):
            digest.update(data)
            told(len(data))
    return digest.hexdigest()


def _problem(path: Path, listed: ListedFile) -> Problem | None:
    try:
        if listed.link is not None:
            same = path.is_symlink() and str(path.readlink()) == listed.link
            return None if same else Problem.DIFFERS if os.path.lexists(path) else Problem.MISSING
        facts = path.lstat()
        same = not path.is_symlink() and facts.st_size == listed.size and facts.st_mode & 0o777 == listed.mode
        return None if same and digest_of(path) == listed.sha256 else Problem.DIFFERS
    except FileNotFoundError:
        return Problem.MISSING
    except OSError:
        return Problem.DIFFERS


def _compare(
    pairs: list[tuple[Path, ListedFile]], told: Callable[[int], None] | None = None
) -> list[tuple[Path, ListedFile, Problem]]:
    bad = []
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda pair: _problem(*pair), pairs)
        try:
            for (place, listed), problem in zip(pairs, found, strict=True):
                if told is not None:
                    told(listed.size)
                if problem is not None:
                    bad.append((place, listed, problem))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for the rest of the image
            raise
    return bad


def verify_root(root: Path, files_json: Path, prefix: str = 'mgmt_image/') -> list[str]:
    """Return the paths of the list that an installed root does not hold as listed; site files are not judged here."""
    listed = parse_files(files_json.read_bytes(), str(files_json))
    pairs = [(root / path[len(prefix) :], f) for path, f in sorted(listed.items()) if path.startswith(prefix)]
    return [file.path for _, file, _ in _compare(pairs)]


def verify(store: Store, version: str) -> list[str]:
    """Return the paths, below the shared storage, of what differs in a published image.

    :raises BundleError: its manifest or list cannot be read.
    """
    return [difference.path for difference in examine(store, version).differences]


def examine(
    store: Store, version: str, *, digest: str | None = None, files_digest: str | None = None, told: Told | None = None
) -> Findings:
    """Read all of a published image again: the ISO, the lists, each file of the trees, and look for files too many.

    ``digest`` and ``files_digest`` are what the database remembers; without them the manifest is believed.

    :raises BundleError: its manifest or list cannot be read.
    """
    folder = store.mgmt(version)
    try:
        raw = (folder / 'manifest.json').read_bytes()
        data = store.files_json(version).read_bytes()
    except OSError as exc:
        raise BundleError(str(folder), f'it cannot be read ({exc.strerror})', id='image-unreadable') from exc
    manifest = Manifest.parse(raw, str(folder))
    bad: list[tuple[Path, Problem]] = []
    if digest not in (None, manifest.iso.sha256) or files_digest not in (None, manifest.files_digest):
        bad.append((folder / 'manifest.json', Problem.DIFFERS))
    usable = hashlib.sha256(data).hexdigest() == manifest.files_digest
    if not usable:
        bad.append((store.files_json(version), Problem.DIFFERS))
    pairs = _places(store, version, parse_files(data, str(folder))) if usable else []
    meter = _meter(manifest.iso.size + sum(listed.size for _, listed in pairs), told)
    iso = folder / manifest.iso.name
    if (problem := _iso_problem(iso, digest or manifest.iso.sha256, meter)) is not None:
        bad.append((iso, problem))
    if usable:
        bad += [(place, problem) for place, _, problem in _compare(pairs, meter)]
        bad += [(place, Problem.NOT_LISTED) for place in _unlisted(store, version, {place for place, _ in pairs})]
    differences = tuple(Difference(str(place.relative_to(store.root)), problem) for place, problem in bad)
    return Findings(3 + len(pairs), differences)


def _places(store: Store, version: str, listed: dict[str, ListedFile]) -> list[tuple[Path, ListedFile]]:
    pairs = []
    for path, file in sorted(listed.items()):
        top, _, rest = path.partition('/')
        place = tree_path(store, version, top, rest)
        if place is not None:
            pairs.append((place, file))
    return pairs


def _iso_problem(path: Path, digest: str, told: Callable[[int], None] | None) -> Problem | None:
    try:
        return None if digest_of(path, told) == digest else Problem.DIFFERS
    except FileNotFoundError:
        return Problem.MISSING
    except OSError:
        return Problem.DIFFERS


def _meter(total: int, told: Told | None) -> Callable[[int], None] | None:
    if told is None:
        return None
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        told(done, total)

    return count


def _unlisted(store: Store, version: str, wanted: set[Path]) -> list[Path]:
    tops = [store.mgmt(version) / 'tree', store.mgmt(version) / 'boot']
    tops += [store.folder(component, version) for component in COMPONENTS if component != 'mgmt']
    return sorted(
        Path(folder, name)
        for top in tops
        for folder, folders, names in os.walk(top)
        for name in [*names, *(f for f in folders if Path(folder, f).is_symlink())]
        if Path(folder, name) not in wanted
    )


def tree_path(store: Store, version: str, top: str, rest: str) -> Path | None:
    """Where a path of the ISO lies on the shared storage; None for what is not unpacked."""
    if top == 'boot':
        return store.mgmt(version) / 'boot' / rest
    component = top.removesuffix('_image')
    if component not in COMPONENTS or not top.endswith('_image'):
        return None
    folder = store.folder(component, version)
    return folder / 'tree' / rest if component == 'mgmt' else folder / rest
