"""Trees that are written while their ISO arrives, however it is cut into pieces and whatever lies where in it."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovca.image import Store, verify
from ovca.image.errors import BundleError
from ovca.image.flow import Flow
from ovca.image.iso9660 import SECTOR, Entry, Iso
from ovca.image.isowriter import Node, add_tree, folder_node, write_iso
from ovca.image.limits import WIDEST
from ovca.image.manifest import ListedFile
from ovca.image.plan import Target, runs
from ovca.image.trees import Trees
from tests.conftest import missing_peer

from .conftest import Get

NAMES = st.text('abcdefgh', min_size=1, max_size=3)
FILES = st.dictionaries(st.tuples(NAMES, NAMES), st.binary(max_size=9000), max_size=12)


def made(tree: Path, iso: Path) -> dict[str, ListedFile]:
    """Write the ISO of a tree; return the list of its files."""
    root = folder_node('')
    add_tree(root, 'mgmt_image', tree)
    with iso.open('wb') as stream:
        _, _, nodes = write_iso(root, stream, 'TEST')
    return {node.path: listed(node) for node in nodes}


def listed(node: Node) -> ListedFile:
    return ListedFile(node.path, node.size if node.link is None else 0, node.sha256, node.mode & 0o777, node.link)


def read(iso: Path) -> dict[str, ListedFile]:
    """The list of what an ISO holds."""
    found = {}
    with Iso(iso) as reader:
        for entry in reader.walk():
            if not entry.is_dir:
                digest = '' if entry.link else hashlib.sha256(b''.join(reader.read(entry))).hexdigest()
                found[entry.path] = ListedFile(entry.path, entry.size, digest, entry.mode, entry.link)
    return found


def arrived(iso: Path, files: dict[str, ListedFile], target: Path, piece: int = 256 * 1024) -> tuple[Trees, int]:
    """Let an ISO arrive in pieces; return the trees and how many bytes of them had been written when it was there."""
    flow = Flow()
    target.mkdir(exist_ok=True)
    trees = Trees(flow, iso, iso.stat().st_size, files, lambda top, rest: target / top / rest, 'test', WIDEST)
    data = iso.read_bytes()

    def feed() -> None:
        for at in range(0, len(data), piece):
            trees.pieces.put([data[at : at + piece]], piece)
        trees.pieces.end()

    trees.start()
    flow.start('feed', feed)
    try:
        flow.wait(lambda: None)
    finally:
        flow.close()
    at_once = trees.done
    trees.finish(lambda _: None)
    return trees, at_once


def same(left: Path, right: Path) -> bool:
    return subprocess.run(['diff', '-r', '--no-dereference', left, right], check=False).returncode == 0


def turned(data: bytes) -> bytes:
    """The same ISO with the data of its files before the records of its folders."""
    iso = bytearray(data)
    root = 16 * SECTOR + 156
    first = struct.unpack_from('<I', iso, root + 2)[0]
    records = [root, *_records(iso, *struct.unpack_from('<I4xI', iso, root + 2))]
    files = [at for at in records if not iso[at + 25] & 2 and struct.unpack_from('<I', iso, at + 10)[0]]
    start = min(struct.unpack_from('<I', iso, at + 2)[0] for at in files)
    moved = len(iso) // SECTOR - start
    for at in records:
        _shift(iso, at + 2, moved if iso[at + 25] & 2 else first - start)
        field, end = at + 33 + iso[at + 32] + (1 - iso[at + 32] % 2), at + iso[at]
        while at != root and field + 4 <= end:
            if iso[field : field + 2] == b'CE':
                _shift(iso, field + 4, moved)
            field += iso[field + 2]
    return bytes(iso[: first * SECTOR] + iso[start * SECTOR :] + iso[first * SECTOR : start * SECTOR])


def _records(iso: bytearray, extent: int, size: int) -> Iterator[int]:
    at, end, number = extent * SECTOR, extent * SECTOR + size, 0
    while at < end:
        if not iso[at]:
            at = (at // SECTOR + 1) * SECTOR
            continue
        yield at
        if iso[at + 25] & 2 and number > 1:  # not the folder itself and the one above
            yield from _records(iso, *struct.unpack_from('<I4xI', iso, at + 2))
        at, number = at + iso[at], number + 1


def _shift(iso: bytearray, at: int, sectors: int) -> None:
    extent = struct.unpack_from('<I', iso, at)[0] + sectors
    if extent > 0:
        struct.pack_into('<I', iso, at, extent)
        struct.pack_into('>I', iso, at + 4, extent)


def zipped(iso: Path, path: Path) -> Path:
    """An unsigned bundle of an ISO that others have made."""
    rows = [vars(file) for file in read(iso).values()]
    files = json.dumps({'format': 1, 'files': rows}).encode()
    facts = {'name': iso.name, 'size': iso.stat().st_size, 'sha256': hashlib.sha256(iso.read_bytes()).hexdigest()}
    manifest = {'format': 1, 'version': '1.1.0', 'iso': facts, 'files_digest': hashlib.sha256(files).hexdigest()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('manifest.json', json.dumps(manifest))
        archive.writestr('files.json', files)
        archive.write(iso, iso.name)
    return path


@settings(max_examples=40, deadline=None)
@given(FILES, st.sampled_from((1000, 2048, 5000, 262144)))
def test_any_tree_comes_out_as_it_went_in(files: dict[tuple[str, str], bytes], piece: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        source, iso, target = Path(place, 'in'), Path(place, 'x.iso'), Path(place, 'out')
        source.mkdir()
        for number, ((folder, name), data) in enumerate(files.items()):
            (source / folder).mkdir(exist_ok=True)
            (source / folder / name).write_bytes(data)
            (source / folder / name).chmod(0o700 - number % 2 * 0o100)

        _, at_once = arrived(iso, made(source, iso), target, piece)

        assert at_once == sum(map(len, files.values()))
        found = {p.relative_to(target / 'mgmt_image').parts: p for p in target.rglob('*') if p.is_file()}
        assert {name: path.read_bytes() for name, path in found.items()} == files
        for name, path in found.items():
            assert path.stat().st_mode == (source / Path(*name)).stat().st_mode


def test_an_iso_with_its_data_before_its_folders_is_copied_from_its_file(
    get: Get, store: Store, conf: Any, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tree, tmp_path / 'plain.iso')
    iso = tmp_path / 'turned.iso'
    iso.write_bytes(turned((tmp_path / 'plain.iso').read_bytes()))
    conf.image.require_signature = False
    monkeypatch.setattr('ovca.image.trees.HEAD', 64 * 1024)

    _, at_once = arrived(iso, read(iso), tmp_path / 'out')
    get(zipped(iso, tmp_path / 'turned.zip'))

    assert at_once == 0
    assert same(tmp_path / 'out/mgmt_image', tree)
    assert same(store.tree('1.1.0'), tree)
    assert verify(store, '1.1.0') == []


@pytest.mark.parametrize('limit', [64 * 1024, 16 * 1024 * 1024])
def test_records_that_come_late_are_waited_for_as_long_as_memory_allows(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    made(tree, tmp_path / 'plain.iso')
    iso = tmp_path / 'turned.iso'
    iso.write_bytes(turned((tmp_path / 'plain.iso').read_bytes()))
    monkeypatch.setattr('ovca.image.trees.HEAD', limit)

    trees, at_once = arrived(iso, read(iso), tmp_path / 'out', 10_000)

    assert (at_once > 0) == (limit > iso.stat().st_size)
    assert trees.done == sum(file.size for file in read(iso).values() if file.link is None)
    assert same(tmp_path / 'out/mgmt_image', tree)


@pytest.mark.parametrize(
    'command',
    [
        ['xorriso', '-as', 'mkisofs', '-R', '-J', '-o'],
        ['genisoimage', '-R', '-o'],
        ['genisoimage', '-R', '-J', '-cache-inodes', '-o'],
    ],
    ids=['xorriso', 'genisoimage', 'genisoimage, hard links by one extent'],
)
def test_isos_of_others_are_unpacked_while_they_arrive(command: list[str], tree: Path, tmp_path: Path) -> None:
    if not shutil.which(command[0]):
        missing_peer(f'{command[0]} is not installed')
    (tree / 'again').hardlink_to(tree / 'usr/lib/d3/f59.py')
    (tmp_path / 'top').mkdir()
    tree.rename(tmp_path / 'top/mgmt_image')
    shutil.rmtree(tmp_path / 'top/mgmt_image/deep0')  # how well they are read is asked elsewhere
    (tmp_path / 'top/mgmt_image/etc/long').unlink()
    iso = tmp_path / 'other.iso'
    done = subprocess.run([*command, iso, tmp_path / 'top'], capture_output=True, text=True, check=False)
    if done.returncode:
        missing_peer(f'{command[0]} does not make this ISO: {done.stderr[-200:]}')

    _, at_once = arrived(iso, read(iso), tmp_path / 'out')

    assert at_once > 0.8 * sum(file.size for file in read(iso).values())
    assert same(tmp_path / 'out/mgmt_image', tmp_path / 'top/mgmt_image')


def test_a_file_that_is_not_as_listed_ends_all(tree: Path, tmp_path: Path) -> None:
    files = made(tree, tmp_path / 'x.iso')
    data = bytearray((tmp_path / 'x.iso').read_bytes())
    data[-SECTOR] ^= 1
    (tmp_path / 'x.iso').write_bytes(data)

    with pytest.raises(BundleError, match=r'has another digest than files\.json says'):
        arrived(tmp_path / 'x.iso', files, tmp_path / 'out')


@pytest.mark.parametrize('limit', [0, 16 * 1024 * 1024], ids=['copied', 'cut'])
@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda files: files.pop('mgmt_image/usr/lib/d3/f59.py'), 'does not list'),
        (lambda files: files.update(more=ListedFile('mgmt_image/more', 0, '', 0o644, None)), 'lacks'),
        (lambda files: files.update({'mgmt_image/bin': ListedFile('mgmt_image/bin', 0, '', 0, 'x')}), 'elsewhere'),
    ],
    ids=['not listed', 'missing', 'another link'],
)
def test_a_list_of_something_else_is_refused_before_anything_is_written(
    tree: Path, tmp_path: Path, change: Callable[[dict[str, ListedFile]], object], said: str, limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    files = made(tree, tmp_path / 'x.iso')
    monkeypatch.setattr('ovca.image.trees.HEAD', limit)
    change(files)

    with pytest.raises(BundleError, match=said):
        arrived(tmp_path / 'x.iso', files, tmp_path / 'out')

    assert list((tmp_path / 'out').iterdir()) == []


def target(name: str, *extents: tuple[int, int]) -> Target:
    entry = Entry(name, stat.S_IRUSR, sum(length for _, length in extents), extents, False)
    return Target(entry, ListedFile(name, entry.size, '', 0o400, None), Path(name))


def test_what_lies_one_after_the_other_is_cut_and_what_overlaps_or_is_scattered_is_copied() -> None:
    files = [
        target('b', (40_960, 100)),
        target('a', (20_480, 3000)),
        target('again', (20_480, 3000)),
        target('inside', (22_528, 10)),
        target('two pieces', (61_440, 2048), (63_488, 5)),
        target('scattered', (81_920, 2048), (71_680, 2048)),
        target('empty'),
    ]

    found, late = runs(files)

    assert [run.target.entry.path for run in found] == ['a', 'b', 'two pieces']
    assert {file.entry.path for file in late} == {'again', 'inside', 'scattered', 'empty'}
