"""The manifest: what an image says of itself, vouched for by its signature."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from ovca.exceptions import ImageError
from ovca.image.errors import BundleError
from ovca.image.limits import WIDEST, Limits
from ovca.image.names import MAX_PATH, flaw, link_flaw
from ovca.image.strictjson import LARGEST, UNREADABLE, harmless, loads, number, reason, typed
from ovca.image.version import ImageVersion

FORMAT = 1
LIMIT = 1024 * 1024
"""Bytes of a manifest."""
FILES_LIMIT = 256 * 1024 * 1024
"""Bytes of ``files.json``."""
SHA256 = re.compile(r'[0-9a-f]{64}')
ISO_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._+-]{0,200}\.iso')
COMPONENT = re.compile(r'[a-z][a-z0-9_-]{0,62}')
CHECK_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,62}')
MAX_CHECKS = 16
# A path in which no name can be wrong or too long; what it does not know is looked at name by name.
HARMLESS = re.compile(r'(?:(?!\.{1,2}(?:/|$))[^/\x00-\x1f\x7f-\x9f\\\u2028\u2029\ud800-\udfff]{1,63}(?:/(?!$)|$))+')


@dataclass(frozen=True)
class IsoFacts:
    """The ISO: its file name, size in bytes, and digest."""

    name: str
    size: int
    sha256: str
    outside: str | None = None
    """The digest of what lies outside of the files that are unpacked (:func:`ovca.image.trees.digest_outside`)."""


@dataclass(frozen=True)
class Manifest:
    """An image's identity and conditions."""

    format: int
    version: str
    iso: IsoFacts
    files_digest: str | None
    update_from: str | None = None
    """The oldest version that may be updated to this one."""
    downgrade_to: str | None = None
    """The oldest version that this one may be downgraded to; None forbids it. It stands in the manifest of the newer
    version: only that one's makers know what it does to data that the older one has to read."""
    accept_downgrade: bool = True
    """Whether this version may be installed over a newer one that allows it: the older version's own word."""
    stepping_stones: tuple[str, ...] = ()
    notes: str = ''
    checks: tuple[str, ...] = ()
    """Programs below the tree of the management nodes that are run before an update to this version begins."""
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    """What a newer ovca, or the vendor's own tools, have put in as well."""

    def as_dict(self) -> dict[str, Any]:
        """The manifest as JSON data."""
        fields = asdict(self)
        return json.loads(json.dumps(fields.pop('other') | fields))  # type: ignore[no-any-return]

    @classmethod
    def parse(cls, data: bytes, source: str) -> Manifest:
        """Return the manifest. :raises BundleError: it is not one, or lies outside what is allowed."""
        try:
            raw = loads(data)
            if raw['format'] != FORMAT or type(raw['format']) is not int:
                raise BundleError(
                    source,
                    f'the manifest has format {repr(raw["format"])[:40]}, this ovca reads {FORMAT}',
                    id='bundle-too-new',
                )
            harmless(raw)
            iso = typed(raw, 'iso', dict)
            known = {each for each in cls.__dataclass_fields__ if each != 'other'}
            manifest = cls(
                format=FORMAT,
                version=typed(raw, 'version', str),
                iso=IsoFacts(
                    typed(iso, 'name', str),
                    number(iso, 'size'),
                    typed(iso, 'sha256', str),
                    typed(iso, 'outside', str, None),
                ),
                files_digest=typed(raw, 'files_digest', str),
                update_from=typed(raw, 'update_from', str, None),
                downgrade_to=typed(raw, 'downgrade_to', str, None),
                accept_downgrade=typed(raw, 'accept_downgrade', bool, True),
                stepping_stones=tuple(typed(raw, 'stepping_stones', list, [])),
                notes=typed(raw, 'notes', str, ''),
                checks=check_paths(typed(raw, 'checks', list, [])),
                components=typed(raw, 'components', dict, {}),
                other={key: value for key, value in raw.items() if key not in known},
            )
            for version in (manifest.version, manifest.update_from, manifest.downgrade_to, *manifest.stepping_stones):
                if version is not None:
                    ImageVersion(_text(version))
            for name, facts in manifest.components.items():
                _component(name, facts)
        except BundleError:
            raise
        except (*UNREADABLE, ImageError) as exc:
            raise BundleError(source, f'the manifest cannot be read: {reason(exc)}', id='not-a-bundle') from exc
        digests = [manifest.iso.sha256, manifest.files_digest or '', manifest.iso.outside or manifest.iso.sha256]
        if not all(map(SHA256.fullmatch, digests)):
            raise BundleError(source, 'the manifest holds a digest that is not SHA-256 in hex', id='not-a-bundle')
        if not ISO_NAME.fullmatch(manifest.iso.name) or not 0 < manifest.iso.size <= LARGEST:
            raise BundleError(source, 'the manifest names no usable ISO', id='not-a-bundle')
        return manifest


@dataclass(frozen=True)
class ListedFile:
    """One file of the trees, as ``files.json`` lists it."""

    path: str
    size: int
    sha256: str
    mode: int
    link: str | None


def parse_files(data: bytes, source: str, limits: Limits = WIDEST) -> dict[str, ListedFile]:
    """Return the listed files by path. :raises BundleError: the list is damaged or hostile."""
    try:
        raw = loads(data)
        if 'format' in raw and (raw['format'] != FORMAT or type(raw['format']) is not int):
            raise ValueError(f'it has format {repr(raw["format"])[:40]}, this ovca reads {FORMAT}')
        rows = typed(raw, 'files', list)
        if len(rows) > limits.max_files:
            what = f'files.json lists more than {limits.max_files} files ([image] max_files)'
            raise BundleError(source, what, id='image-limit')
        listed = {row.path: row for row in map(_row, rows)}
    except UNREADABLE as exc:
        raise BundleError(source, f'files.json cannot be read: {reason(exc)}', id='not-a-bundle') from exc
    if len(listed) != len(rows):
        raise BundleError(source, 'files.json lists a file twice', id='not-a-bundle')
    for file in listed.values():
        _judge(file, source, limits)
    folders: set[str] = set()
    for path in listed:
        folder = path.rpartition('/')[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition('/')[0]
    if both := folders & listed.keys():
        raise BundleError(source, f'files.json lists {min(both)[:200]!r} as a file and as a folder', id='bundle-unsafe')
    return listed


def agree(manifest: Manifest, files: dict[str, ListedFile], source: str) -> None:
    """Check what the manifest says of its components. :raises BundleError: ``files.json`` says something else."""
    for name, facts in manifest.components.items():
        start = str(facts.get('path', f'{name}_image/'))
        mine = [file for path, file in files.items() if path.startswith(start)]
        for key, found in (('files', len(mine)), ('size', sum(file.size for file in mine))):
            if facts.get(key, found) != found:
                raise BundleError(
                    source,
                    f'the manifest says {key} {facts[key]} of {name}, files.json says {found}',
                    id='not-a-bundle',
                )
    for path in manifest.checks:
        file = files.get(f'mgmt_image/{path}')
        if file is None or file.link is not None or not file.mode & 0o100:
            raise BundleError(
                source, f'the check {path!r} of the manifest is no program in files.json', id='not-a-bundle'
            )


# One file of the list.


def _row(row: dict[str, Any]) -> ListedFile:
    if type(row) is not dict:
        raise TypeError('a file of the list is no object')
    path, link = typed(row, 'path', str), typed(row, 'link', str, None)
    size, digest, mode = number(row, 'size', 0), typed(row, 'sha256', str, ''), number(row, 'mode', 0o644)
    if link is None and not SHA256.fullmatch(digest):
        raise ValueError(f'{path!r} has no SHA-256 in hex')
    if link is not None and (size or digest):
        raise ValueError(f'{path!r} is a link and a file at once')
    if mode > 0o7777:
        raise ValueError(f'{path!r} has a mode that no file has')
    return ListedFile(path, size, digest, mode & 0o777, link)


def _judge(file: ListedFile, source: str, limits: Limits) -> None:
    path = file.path
    if file.link is not None and (what := link_flaw(file.link)) is not None:
        raise BundleError(source, f'files.json lists {path[:200]!r}, which {what}', id='bundle-unsafe')
    if path.count('/') > limits.max_depth:
        what = f'lies deeper than {limits.max_depth} folders ([image] max_depth)'
        raise BundleError(source, f'files.json lists {path[:80]!r}, which {what}', id='image-limit')
    if limits.max_name >= 4 * 63 and len(path) < MAX_PATH // 4 and HARMLESS.fullmatch(path):
        return
    for name in path.split('/'):
        if (what := flaw(name)) is not None:
            raise BundleError(
                source, f'files.json lists {path[:200]!r}, which leaves its folder or {what}', id='bundle-unsafe'
            )
        if len(name.encode()) > limits.max_name:
            what = f'is a name longer than {limits.max_name} bytes ([image] max_name)'
            raise BundleError(source, f'files.json lists {name[:80]!r}, which {what}', id='image-limit')
    if len(path.encode()) > MAX_PATH:
        raise BundleError(source, f'files.json lists {path[:80]!r}, which is too long', id='bundle-unsafe')


def check_paths(paths: list[Any]) -> tuple[str, ...]:
    """Return the programs that an image brings as checks; the last part of a path is the name of its check.

    :raises ValueError: they are too many, lie outside the tree, or two have one name.
    """
    if len(paths) > MAX_CHECKS:
        raise ValueError(f'it names more than {MAX_CHECKS} checks')
    seen: set[str] = set()
    for path in paths:
        parts = path.split('/') if type(path) is str and len(path) <= MAX_PATH else ['']
        if any(flaw(part) for part in parts) or not CHECK_NAME.fullmatch(parts[-1]):
            raise ValueError(f'the check {str(path)[:200]!r} is no path of a program below the tree')
        if parts[-1] in seen:
            raise ValueError(f'two checks are called {parts[-1]!r}')
        seen.add(parts[-1])
    return tuple(paths)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError('a version is no text')
    return value


def _component(name: str, facts: Any) -> None:
    if not COMPONENT.fullmatch(name) or type(facts) is not dict:
        raise ValueError(f'{name!r} is no component')
    for key in ('files', 'size'):
        number(facts, key, 0)
    for key in ('path', 'install', 'verify'):
        typed(facts, key, str, '')
