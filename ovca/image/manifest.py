"""The manifest: what an image says of itself, vouched for by its signature."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from ovca.image.errors import BundleError
from ovca.image.version import ImageVersion

FORMAT = 1
LIMIT = 1024 * 1024
# A number like 1e999 and brackets without end raise errors of their own, before any signature is checked.
UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
SHA256 = re.compile(r'[0-9a-f]{64}')
ISO_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._+-]{0,200}\.iso')


@dataclass(frozen=True)
class IsoFacts:
    """The ISO: its file name, size in bytes, and digest."""

    name: str
    size: int
    sha256: str


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
    stepping_stones: tuple[str, ...] = ()
    notes: str = ''
    components: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The manifest as JSON data."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def parse(cls, data: bytes, source: str) -> Manifest:
        """Return the manifest. :raises BundleError: it is not one, or lies outside what is allowed."""
        try:
            raw = json.loads(data)
            if raw['format'] != FORMAT:
                raise BundleError(
                    source, f'the manifest has format {raw["format"]!r}, this ovca reads {FORMAT}', id='bundle-too-new'
                )
            iso = IsoFacts(str(raw['iso']['name']), int(raw['iso']['size']), str(raw['iso']['sha256']))
            manifest = cls(
                format=FORMAT,
                version=str(ImageVersion(str(raw['version']))),
                iso=iso,
                files_digest=str(raw['files_digest']),
                update_from=raw.get('update_from'),
                downgrade_to=raw.get('downgrade_to'),
                stepping_stones=tuple(map(str, raw.get('stepping_stones', ()))),
                notes=str(raw.get('notes', '')),
                components=dict(raw.get('components', {})),
            )
        except (*UNREADABLE, AttributeError) as exc:
            raise BundleError(
                source, f'the manifest cannot be read: {type(exc).__name__}: {exc}', id='not-a-bundle'
            ) from exc
        if not SHA256.fullmatch(iso.sha256) or not SHA256.fullmatch(manifest.files_digest or ''):
            raise BundleError(source, 'the manifest holds a digest that is not SHA-256 in hex', id='not-a-bundle')
        if not ISO_NAME.fullmatch(iso.name) or iso.size <= 0:
            raise BundleError(source, 'the manifest names no usable ISO', id='not-a-bundle')
        for named in (manifest.update_from, manifest.downgrade_to, *manifest.stepping_stones):
            if named is not None:
                ImageVersion(str(named))
        return manifest


@dataclass(frozen=True)
class ListedFile:
    """One file of the trees, as ``files.json`` lists it."""

    path: str
    size: int
    sha256: str
    mode: int
    link: str | None


def parse_files(data: bytes, source: str) -> dict[str, ListedFile]:
    """Return the listed files by path. :raises BundleError: the list is damaged or hostile."""
    try:
        rows = json.loads(data)['files']
        listed = {
            str(r['path']): ListedFile(
                str(r['path']),
                int(r.get('size', 0)),
                str(r.get('sha256', '')),
                int(r.get('mode', 0o644)) & 0o777,
                r.get('link'),
            )
            for r in rows
        }
    except UNREADABLE as exc:
        raise BundleError(source, f'files.json cannot be read: {type(exc).__name__}: {exc}', id='not-a-bundle') from exc
    if len(listed) != len(rows):
        raise BundleError(source, 'files.json lists a file twice', id='not-a-bundle')
    for path in listed:
        if path.startswith('/') or '\\' in path or '\0' in path or set(path.split('/')) & {'', '.', '..'}:
            raise BundleError(source, f'files.json lists {path!r}, which leaves its folder', id='bundle-unsafe')
    return listed
