"""Reads again what was written: a published image, or an installed node's root."""

from __future__ import annotations

import enum
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ovca.files import read_regular
from ovca.image.errors import BundleError
from ovca.image.manifest import FILES_LIMIT, LIMIT, ListedFile, Manifest, parse_files
from ovca.image.reading import Job, Reader, Told, each
from ovca.image.store import COMPONENTS, Store


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


def _problem(path: Path, listed: ListedFile, reader: Reader) -> Problem | None:
    try:
        if listed.link is not None:
            same = path.is_symlink() and os.readlink(path) == listed.link  # noqa: PTH115 pathlib would change a/./b
            return None if same else Problem.DIFFERS if os.path.lexists(path) else Problem.MISSING
        facts = path.lstat()
        same = stat.S_ISREG(facts.st_mode) and facts.st_size == listed.size and facts.st_mode & 0o777 == listed.mode
        return None if same and reader.digest(path) == listed.sha256 else Problem.DIFFERS
    except FileNotFoundError:
        return Problem.MISSING
    except OSError:
        return Problem.DIFFERS


def _job(place: Path, listed: ListedFile) -> Job[Problem | None]:
    return Job(listed.size, lambda reader: _problem(place, listed, reader))


def verify_root(root: Path, files_json: Path, prefix: str = 'mgmt_image/') -> list[str]:
    """Return the paths of the list that an installed root does not hold as listed; site files are not judged here."""
    listed = parse_files(files_json.read_bytes(), str(files_json))
    pairs = [(root / path[len(prefix) :], f) for path, f in sorted(listed.items()) if path.startswith(prefix)]
    problems = each([_job(place, file) for place, file in pairs])
    return [file.path for (_, file), problem in zip(pairs, problems, strict=True) if problem is not None]


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
        raw = read_regular(folder / 'manifest.json', LIMIT)
        data = read_regular(store.files_json(version), FILES_LIMIT)
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
    iso = folder / manifest.iso.name
    size, wanted = manifest.iso.size, digest or manifest.iso.sha256
    jobs = [Job(size, lambda reader: _iso_problem(iso, size, wanted, reader))]
    problems = each([*jobs, *(_job(place, file) for place, file in pairs)], told)
    places = [iso, *(place for place, _ in pairs)]
    bad += [(place, problem) for place, problem in zip(places, problems, strict=True) if problem is not None]
    if usable:
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


def _iso_problem(path: Path, size: int, digest: str, reader: Reader) -> Problem | None:
    try:
        facts = path.lstat()
        same = stat.S_ISREG(facts.st_mode) and facts.st_size == size
        return None if same and reader.digest(path) == digest else Problem.DIFFERS
    except FileNotFoundError:
        return Problem.MISSING
    except OSError:
        return Problem.DIFFERS


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
