"""Reads again what was written: a published image, or an installed node's root."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
from pathlib import Path

from ovca.image.errors import BundleError
from ovca.image.manifest import ListedFile, Manifest, parse_files
from ovca.image.store import COMPONENTS, Store

WORKERS = 4


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def _differs(path: Path, listed: ListedFile) -> bool:
    try:
        if listed.link is not None:
            return not path.is_symlink() or str(path.readlink()) != listed.link
        facts = path.lstat()
        if path.is_symlink() or facts.st_size != listed.size:
            return True
        return facts.st_mode & 0o777 != listed.mode or digest_of(path) != listed.sha256
    except OSError:
        return True


def _compare(pairs: list[tuple[Path, ListedFile]]) -> list[str]:
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        bad = pool.map(lambda pair: _differs(*pair), pairs, chunksize=64)
        return [listed.path for (_, listed), differs in zip(pairs, bad, strict=True) if differs]


def verify_root(root: Path, files_json: Path, prefix: str = 'mgmt_image/') -> list[str]:
    """Return the paths of the list that an installed root does not hold as listed; site files are not judged here."""
    listed = parse_files(files_json.read_bytes(), str(files_json))
    pairs = [(root / path[len(prefix) :], f) for path, f in sorted(listed.items()) if path.startswith(prefix)]
    return _compare(pairs)


def verify(store: Store, version: str) -> list[str]:
    """Return what differs in a published image: the ISO, the list, each file of the trees, and files too many.

    :raises BundleError: its manifest or list cannot be read.
    """
    folder = store.mgmt(version)
    try:
        raw = (folder / 'manifest.json').read_bytes()
        data = store.files_json(version).read_bytes()
    except OSError as exc:
        raise BundleError(str(folder), f'it cannot be read ({exc.strerror})') from exc
    manifest = Manifest.parse(raw, str(folder))
    bad = []
    iso = folder / manifest.iso.name
    if not iso.is_file() or digest_of(iso) != manifest.iso.sha256:
        bad.append(manifest.iso.name)
    if hashlib.sha256(data).hexdigest() != manifest.files_digest:
        return [*bad, 'files.json']
    pairs = []
    for path, listed in sorted(parse_files(data, str(folder)).items()):
        top, _, rest = path.partition('/')
        place = tree_path(store, version, top, rest)
        if place is not None:
            pairs.append((place, listed))
    wanted = {place for place, _ in pairs}
    tops = [store.mgmt(version) / 'tree', store.mgmt(version) / 'boot']
    tops += [store.folder(component, version) for component in COMPONENTS if component != 'mgmt']
    extra = [
        str(Path(folder, name).relative_to(store.root))
        for top in tops
        for folder, folders, names in os.walk(top)
        for name in [*names, *(f for f in folders if Path(folder, f).is_symlink())]
        if Path(folder, name) not in wanted
    ]
    return bad + _compare(pairs) + sorted(extra)


def tree_path(store: Store, version: str, top: str, rest: str) -> Path | None:
    """Where a path of the ISO lies on the shared storage; None for what is not unpacked."""
    if top == 'boot':
        return store.mgmt(version) / 'boot' / rest
    component = top.removesuffix('_image')
    if component not in COMPONENTS or not top.endswith('_image'):
        return None
    folder = store.folder(component, version)
    return folder / 'tree' / rest if component == 'mgmt' else folder / rest
