"""A signed bundle with a hostile ISO in it is refused with the id of what is wrong, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ovca.exceptions import ImageError
from ovca.image.signing import sign_manifest
from ovca.image.store import Store
from tests import isomaker
from tests.isomaker import FOLDER, ROOT, file, folder, further, listing, mode, named

CONTENT = b'content'
DATA = 40


def bundled(path: Path, iso: bytes, secret_key: Path, files: list[str], **changes: Any) -> Path:
    """A bundle whose signature, digests and sizes are all right."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    rows = [{'path': name, 'size': len(CONTENT), 'sha256': digest} for name in files]
    listed = json.dumps({'format': 1, 'files': rows}).encode()
    manifest = json.dumps(
        {
            'format': 1,
            'version': '1.1.0',
            'iso': {'name': 'a.iso', 'size': len(iso), 'sha256': hashlib.sha256(iso).hexdigest()},
            'files_digest': hashlib.sha256(listed).hexdigest(),
            **changes,
        }
    ).encode()
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('manifest.json', manifest)
        archive.writestr('manifest.json.minisig', sign_manifest(manifest, 'a manifest', secret_key))
        archive.writestr('files.json', listed)
        archive.writestr('a.iso', iso)
    return path


def image(*records: bytes, others: dict[int, bytes] | None = None) -> bytes:
    """An image whose folder mgmt_image, at sector 30, holds the records."""
    sectors = {30: listing(30, ROOT, *records), DATA: CONTENT.ljust(2048, b'.'), **(others or {})}
    return isomaker.image([folder(b'mgmt_image', 30)], sectors)


def remains(store: Store) -> set[str]:
    """What lies below the shared storage, other than the lock and empty folders."""
    paths = {path for path in store.root.rglob('*') if not path.is_dir() and not path.name.startswith('lock')}
    return {str(path.relative_to(store.root)) for path in paths}


HOSTILE = {
    'device': (image(isomaker.record(b'A;1', 0, 0, 0, named(b'a') + mode(stat.S_IFCHR | 0o666))), 'iso-unsafe'),
    'way-out': (image(file(b'../../../a', DATA, 7)), 'iso-unsafe'),
    'escape-sequence': (image(file(b'a\x1b[2J', DATA, 7)), 'iso-unsafe'),
    'overlap': (image(file(b'a', 30, 7)), 'iso-unsafe'),
    'folder-in-itself': (image(file(b'a', DATA, 7), folder(b'b', 30)), 'iso-unsafe'),
    'circles': (image(file(b'a', DATA, 7, further(50, 0, 28)), others={50: further(50, 0, 28)}), 'iso-unsafe'),
    'two-kinds': (image(isomaker.record(b'A;1', DATA, 7, 0, named(b'a') + FOLDER)), 'iso-damaged'),
    'outside': (image(file(b'a', 1_000_000, 7)), 'iso-damaged'),
    'cut-off': (image(file(b'a', DATA, 7))[:-2048], 'iso-damaged'),
    'a-zip': (b'PK\x03\x04' + os.urandom(200_000), 'iso-damaged'),
}


def test_an_honest_image_made_by_hand_is_published(get: Any, store: Store, secret_key: Path, tmp_path: Path) -> None:
    path = bundled(tmp_path / 'good.zip', image(file(b'a', DATA, 7)), secret_key, ['mgmt_image/a'])

    get(path)

    assert (store.mgmt('1.1.0') / 'tree/a').read_bytes() == CONTENT


@pytest.mark.parametrize('name', HOSTILE)
def test_a_signed_bundle_with_a_hostile_image_is_refused_and_leaves_nothing(
    name: str, get: Any, store: Store, secret_key: Path, tmp_path: Path
) -> None:
    iso, id = HOSTILE[name]
    path = bundled(tmp_path / 'bad.zip', iso, secret_key, ['mgmt_image/a'])
    before = {each for each in tmp_path.rglob('*') if store.root not in each.parents}

    with pytest.raises(ImageError, match='its ISO is refused') as error:
        get(path)

    assert error.value.id == id
    assert remains(store) == set()
    assert {each for each in tmp_path.rglob('*') if store.root not in each.parents} == before


def test_what_the_operator_allows_is_what_counts(
    get: Any, conf: Any, store: Store, secret_key: Path, tmp_path: Path
) -> None:
    names = [f'f{number}' for number in range(101)]
    iso = image(*(file(name.encode(), DATA, 7) for name in names[:10]))
    path = bundled(tmp_path / 'many.zip', iso, secret_key, [f'mgmt_image/{name}' for name in names[:10]])
    conf.image.max_files = 9

    with pytest.raises(ImageError, match=r'more than 9 files \(\[image\] max_files\)') as error:
        get(path)
    assert error.value.id == 'image-limit'

    conf.image.max_files = 100
    get(path)
    assert (store.mgmt('1.1.0') / 'tree/f9').read_bytes() == CONTENT


def test_components_that_count_otherwise_are_refused(get: Any, store: Store, secret_key: Path, tmp_path: Path) -> None:
    wrong = {'mgmt': {'path': 'mgmt_image/', 'files': 2, 'size': 7}}
    path = bundled(tmp_path / 'a.zip', image(file(b'a', DATA, 7)), secret_key, ['mgmt_image/a'], components=wrong)

    with pytest.raises(ImageError, match=r'the manifest says files 2 of mgmt, files.json says 1'):
        get(path)
    assert remains(store) == set()
