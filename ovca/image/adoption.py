"""Taking up an image that lies on the shared storage, and that the database does not know.

Whoever may write to the storage may have put it there. So it is judged as if a download had just brought it: by the
keys that are trusted now, within the limits that are set now, and each byte of it is read. What its note says is shown
only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ovca.exceptions import ImageError, UsageError
from ovca.files import read_regular
from ovca.image import note
from ovca.image.errors import BundleError, StorageFailed
from ovca.image.fetch import redacted
from ovca.image.iso9660 import Iso, IsoError
from ovca.image.judged import FILES, MANIFEST, SIGNATURE, SIGNATURE_LIMIT, Judged, need_size, weigh
from ovca.image.limits import Limits
from ovca.image.manifest import FILES_LIMIT, LIMIT, ListedFile, Manifest, agree, parse_files
from ovca.image.pipeline import PublishedImage
from ovca.image.plan import plan
from ovca.image.reading import Told
from ovca.image.store import COMPONENTS, Store
from ovca.image.verification import examine, tree_path

if TYPE_CHECKING:
    from oslo_config import cfg

ANOTHER_DAY = ('image-limit', 'bundle-too-new')
"""What is wrong with an image that another configuration, or another software, takes."""
LONGEST = 4096
"""Characters of an address that is believed to be one."""
SHOWN = 3
"""How many files that are wrong are named."""


class ImageDamaged(ImageError):
    """An image that is to be taken up is not what its manifest says."""

    id = 'image-differs'

    def __init__(self, folder: Path, what: str) -> None:
        version = folder.name
        super().__init__(
            f'{folder}: {what}; image {version} is not taken up. Delete it with `ovca image-delete {version}`, and '
            f'download it again'
        )


def read_again(
    store: Store, version: str, conf: cfg.ConfigOpts, *, accept: Callable[[Manifest], None], told: Told | None = None
) -> PublishedImage:
    """Judge the image in the folders of a version, and read all of it; return what its row is to hold.

    ``accept`` may refuse the manifest early. Nothing is changed. The caller holds the lock of the images.

    :raises UsageError: there is no such folder. :raises ImageError: a download of this image would be refused, or it is
        not whole.
    """
    folder = store.mgmt(version)
    need_folder(store, version)
    for place in (*(store.folder(name, version) for name in COMPONENTS), store.tree(version), folder / 'boot'):
        if os.path.lexists(place) and not stat.S_ISDIR(place.lstat().st_mode):
            raise ImageDamaged(folder, f'{place} is no folder')
    found, files = _judged(folder, conf)
    need_size(found.manifest, conf, str(folder))
    accept(found.manifest)
    _need_whole(store, found.manifest, told)
    _need_same(store, found, files, conf)
    manifest = found.manifest
    return PublishedImage(
        version=version,
        digest=manifest.iso.sha256,
        iso=str((folder / manifest.iso.name).relative_to(store.root)),
        size=manifest.iso.size,
        files_digest=manifest.files_digest,
        manifest=manifest.as_dict(),
        signed_by=found.signed_by,
        source=_source(folder),
    )


def _source(folder: Path) -> str:
    """Where it came from once, as its note tells; else where it lies. It is shown, and nothing rests on it."""
    told = note.read(folder)
    with contextlib.suppress(ValueError):  # it is no address
        if told is not None and told.source and len(told.source) <= LONGEST:
            return redacted(told.source)
    return str(folder)


def need_folder(store: Store, version: str) -> None:
    """:raises UsageError: there is no folder of this version on the shared storage."""
    folder = store.mgmt(version)
    if not folder.is_dir():
        raise UsageError(
            f'image {version!r} is not here: the database does not know it, and there is no folder {folder}; '
            f'`ovca image-list` shows what is known, `ovca download` fetches an image',
            id='no-image',
        )


def _judged(folder: Path, conf: cfg.ConfigOpts) -> tuple[Judged, dict[str, ListedFile]]:
    """The manifest, who vouches for it, and the files that it names."""
    source, version = str(folder), folder.name
    raw = _content(folder / MANIFEST, LIMIT)
    try:
        manifest = Manifest.parse(raw, source)
        if manifest.version != version:
            raise ImageDamaged(folder, f'its manifest is that of version {manifest.version}')
        signed = folder / SIGNATURE
        found = weigh(
            manifest, raw, _content(signed, SIGNATURE_LIMIT) if os.path.lexists(signed) else None, conf, source
        )
        data = _content(folder / FILES, FILES_LIMIT)
        if hashlib.sha256(data).hexdigest() != manifest.files_digest:
            raise ImageDamaged(folder, f'{FILES} is not the one that the manifest names')
        files = parse_files(data, source, Limits.from_conf(conf))
        agree(manifest, files, source)
    except BundleError as exc:
        raise _damage(folder, exc) from exc
    return found, files


def _damage(folder: Path, exc: BundleError) -> ImageError:
    return exc if exc.id in ANOTHER_DAY else ImageDamaged(folder, exc.what)


def _content(path: Path, limit: int) -> bytes:
    try:
        return read_regular(path, limit)
    except OSError as exc:
        raise ImageDamaged(path.parent, f'{path.name} cannot be read ({exc.strerror or exc})') from exc


def _need_whole(store: Store, manifest: Manifest, told: Told | None) -> None:
    """Read each file. :raises ImageDamaged: one is missing, another one, or too many."""
    found = examine(
        store, manifest.version, digest=manifest.iso.sha256, files_digest=manifest.files_digest, told=told
    ).differences
    if found:
        first = ', '.join(f'{each.path} ({each.problem})' for each in found[:SHOWN])
        more = f', and {len(found) - SHOWN} more' if len(found) > SHOWN else ''
        many = f'{len(found)} files are' if len(found) > 1 else '1 file is'
        raise ImageDamaged(store.mgmt(manifest.version), f'{many} wrong: {first}{more}')


def _need_same(store: Store, found: Judged, files: dict[str, ListedFile], conf: cfg.ConfigOpts) -> None:
    """Compare what is inside of the ISO with the list, as a download does that unpacks it.

    Who signed both has vouched for what is in the files; where nobody has, they are read once more.

    :raises ImageError: it holds something else, or is none that is allowed.
    """
    folder, facts = store.mgmt(found.manifest.version), found.manifest.iso
    try:
        with Iso(folder / facts.name, Limits.from_conf(conf)) as reader:
            made = plan(reader.walk(), files, partial(tree_path, store, found.manifest.version), str(folder))
            for target in made.files if found.signed_by is None else ():
                target.check(_digest(reader.read(target.entry)), str(folder))
    except BundleError as exc:
        raise _damage(folder, exc) from exc
    except IsoError as exc:
        raise _damage(folder, BundleError(str(folder), f'its ISO is refused: {exc}', id=exc.id)) from exc
    except OSError as exc:
        raise StorageFailed(store.root, exc, what='read') from exc


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
