"""A signed image whose ISO is vouched for by two digests: those of its files, and that of what lies outside of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ovca.exceptions import ImageError
from ovca.image import Progress, Store, verify
from ovca.image.errors import BundleError
from ovca.image.iso9660 import SECTOR, Iso
from ovca.image.signing import MANIFEST, SIGNATURE, sign_bundle, sign_manifest
from ovca.image.trees import digest_outside

from .conftest import Get
from .test_trees import made, read, turned

Change = Callable[[dict[str, bytes]], None]
ISO = 'ovca-1.1.0.iso'
OUTSIDE = 'differs outside of its files'


@pytest.fixture
def changed(bundle: Path, tmp_path: Path, secret_key: Path) -> Callable[..., Path]:
    """Makes a bundle with other members; ``signed`` anew, or with the old signature."""

    def make(change: Change, *, signed: bool = False) -> Path:
        with zipfile.ZipFile(bundle) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        if signed:
            members[SIGNATURE] = sign_manifest(members[MANIFEST], 'test', secret_key)
        path = tmp_path / 'www/changed.zip'
        with zipfile.ZipFile(path, 'w') as archive:
            for name, data in members.items():
                archive.writestr(name, data, zipfile.ZIP_DEFLATED, 1)
        return path

    return make


def flipped(at: int) -> Change:
    def change(members: dict[str, bytes]) -> None:
        data = members[ISO]
        members[ISO] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return change


def says(**facts: Any) -> Change:
    """The manifest says something else of its ISO; None: nothing."""

    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        manifest['iso'] = {k: v for k, v in {**manifest['iso'], **facts}.items() if v is not None}
        members[MANIFEST] = json.dumps(manifest).encode()

    return change


@pytest.fixture
def places(bundle: Path, tmp_path: Path) -> dict[str, int]:
    """Where in the ISO something of each kind lies."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extract(ISO, tmp_path)
    with Iso(tmp_path / ISO) as iso:
        files = sorted((e for e in iso.walk() if e.size and e.link is None), key=lambda e: e.extents[0])
    first, last = files[0].extents[0], files[-1].extents[-1]
    padded = next(e.extents[-1] for e in files if e.extents[-1][1] % SECTOR)
    return {
        'before the volume': 100,
        'the volume': 16 * SECTOR + 200,
        'the records': first[0] - SECTOR + 60,
        'the first file': first[0],
        'the last file': sum(last) - 1,
        'what fills a block behind a file': sum(padded),
        'the last byte': (tmp_path / ISO).stat().st_size - 1,
    }


def test_the_manifest_that_is_made_tells_what_lies_outside_of_the_files(bundle: Path, get: Get, store: Store) -> None:
    image = get(bundle)

    assert len(image.manifest['iso']['outside']) == 64
    assert verify(store, '1.1.0') == []


@pytest.mark.parametrize('late', [False, True], ids=['', 'records that come too late'])
def test_whatever_byte_of_the_iso_is_another_one_the_image_is_refused(
    get: Get,
    store: Store,
    places: dict[str, int],
    changed: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    late: bool,
) -> None:
    if late:
        monkeypatch.setattr('ovca.image.trees.HEAD', 0)
    rng = Random(5)
    anywhere = {f'byte {at}': at for at in (rng.randrange(places['the last byte']) for _ in range(20))}

    for where, at in {**places, **anywhere}.items():
        with pytest.raises(ImageError) as caught:
            get(changed(flipped(at)))
        assert caught.value.id in ('bundle-damaged', 'iso-damaged', 'iso-unsafe', 'iso-unsupported'), (
            where,
            caught.value,
        )
        if where.startswith(('before', 'what fills', 'the last byte')):
            assert ('another digest' if late else OUTSIDE) in str(caught.value), (where, str(caught.value))

    assert not store.mgmt('1.1.0').exists()


def test_an_iso_that_is_read_again_shows_how_far_that_is(
    get: Get, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovca.image.trees.HEAD', 0)
    told: list[Progress] = []

    get(bundle, progress=told.append)

    read = [progress for progress in told if progress.stage == 'verify']
    assert [(progress.done, progress.text) for progress in read] == [(read[0].total, ISO)]


def test_an_image_without_that_digest_is_judged_by_the_one_of_the_whole(
    get: Get, places: dict[str, int], changed: Callable[..., Path], store: Store
) -> None:
    def both(members: dict[str, bytes]) -> None:
        flipped(places['the last byte'])(members)
        says(outside=None)(members)

    with pytest.raises(BundleError, match='another digest than the manifest says'):
        get(changed(both, signed=True))

    get(changed(says(outside=None), signed=True))
    assert verify(store, '1.1.0') == []


def test_who_has_not_signed_is_not_believed_about_the_digest_of_the_whole(
    get: Get, conf: Any, changed: Callable[..., Path]
) -> None:
    def unsigned(members: dict[str, bytes]) -> None:
        says(sha256='0' * 64)(members)
        del members[SIGNATURE]

    conf.image.require_signature = False

    with pytest.raises(BundleError, match='another digest than the manifest says'):
        get(changed(unsigned))


def test_who_signs_a_wrong_digest_of_the_whole_is_found_out_by_the_next_look(
    get: Get, store: Store, changed: Callable[..., Path]
) -> None:
    get(changed(says(sha256='0' * 64), signed=True))

    assert verify(store, '1.1.0') == [f'mgmt_image/1.1.0/{ISO}']


def test_an_iso_whose_records_lie_behind_files_has_no_such_digest(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / 'plain.iso')
    plain = (tmp_path / 'plain.iso').read_bytes()
    files = read(tmp_path / 'plain.iso')

    def told(data: bytes) -> str | None:
        return digest_outside(iter([data]), len(data), files, lambda top, rest: Path(top, rest), 'test')

    assert len(told(plain) or '') == 64
    assert told(turned(plain)) is None


@pytest.mark.parametrize('outside', ['0' * 64, 'x', 7], ids=['wrong', 'no digest', 'no text'])
def test_what_is_said_of_it_must_be_right(get: Get, changed: Callable[..., Path], outside: object) -> None:
    words = OUTSIDE if outside == '0' * 64 else 'manifest'

    with pytest.raises((BundleError, ImageError), match=words):
        get(changed(says(outside=outside), signed=outside == '0' * 64))


def test_a_bundle_that_lies_of_it_is_not_signed(changed: Callable[..., Path], secret_key: Path, tmp_path: Path) -> None:
    lying = changed(says(outside='0' * 64))

    with pytest.raises(BundleError, match=OUTSIDE):
        sign_bundle(lying, tmp_path / 'out.zip', secret_key)

    assert not (tmp_path / 'out.zip').exists()
