"""The ISO reader believes nothing; the writer gives the same bytes for the same tree."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import pycdlib
import pytest

from ovca.image.build import build, keygen
from ovca.image.iso9660 import SECTOR, Iso, IsoError
from ovca.image.isowriter import add_tree, folder_node, write_iso

from .conftest import Get


def make(tree: Path, path: Path) -> Path:
    root = folder_node('')
    add_tree(root, 'mgmt_image', tree)
    with path.open('wb') as stream:
        write_iso(root, stream, 'TEST')
    return path


def content(path: Path) -> dict[str, tuple[int, str | None, bytes | None]]:
    with Iso(path) as iso:
        return {e.path: (e.mode, e.link, None if e.is_dir or e.link else b''.join(iso.read(e))) for e in iso.walk()}


def test_what_is_written_is_read(tree: Path, tmp_path: Path) -> None:
    found = content(make(tree, tmp_path / 'a.iso'))
    expected = {
        f'mgmt_image/{path.relative_to(tree)}': (
            None if path.is_symlink() or path.is_dir() else path.read_bytes(),
            str(path.readlink()) if path.is_symlink() else None,
        )
        for path in tree.rglob('*')
    }
    assert {path: (data, link) for path, (_, link, data) in found.items() if path != 'mgmt_image'} == expected


def test_the_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    first, second = make(tree, tmp_path / 'a.iso'), make(tree, tmp_path / 'b.iso')
    assert first.read_bytes() == second.read_bytes()


def test_another_reader_reads_what_is_written(tree: Path, tmp_path: Path) -> None:
    other = pycdlib.PyCdlib()
    other.open(str(make(tree, tmp_path / 'a.iso')))
    stream = io.BytesIO()
    other.get_file_from_iso_fp(stream, rr_path='/mgmt_image/usr/lib/d5/f33.py')
    names = [c.rock_ridge.name().decode() for c in other.list_children(rr_path='/mgmt_image')]
    other.close()
    assert stream.getvalue() == (tree / 'usr/lib/d5/f33.py').read_bytes()
    assert set(names) - {'', '.', '..'} == {p.name for p in tree.iterdir()}


LINKS = ['usr/', 'usr//bin', '//usr', '/', '//', './', '../x/./', 'x/' * 200, 'y' * 500 + '/', '/' * 300]


def links(folder: Path) -> list[str]:
    return [os.readlink(folder / str(number)) for number in range(len(LINKS))]  # noqa: PTH115 pathlib would change them


def test_slashes_that_a_link_has_too_many_stay(tmp_path: Path, get: Get) -> None:
    source = tmp_path / 'source'
    (source / 'deep').mkdir(parents=True)
    for number, link in enumerate(LINKS):
        (source / 'deep' / str(number)).symlink_to(link)
    keygen(tmp_path / 'keys', 'vendor')
    build(tmp_path / 'x.zip', version='1.1.0', mgmt=source, secret_key=tmp_path / 'keys/vendor.key')

    get(tmp_path / 'x.zip')

    folder = tmp_path / 'shared/mgmt_image/1.1.0'
    assert links(folder / 'tree/deep') == LINKS


def test_what_another_writer_wrote_is_read(tmp_path: Path) -> None:
    other = pycdlib.PyCdlib()
    other.new(rock_ridge='1.09', vol_ident='VENDOR-3.0.2')
    other.add_directory('/DIR', rr_name='A folder')
    data = b'x' * 5000
    other.add_fp(io.BytesIO(data), len(data), '/DIR/FILE.;1', rr_name='n' * 200)
    other.add_symlink('/DIR/LINK.;1', 'a link', '../else/where')
    other.write(str(tmp_path / 'a.iso'))
    other.close()
    found = content(tmp_path / 'a.iso')
    assert found['A folder/' + 'n' * 200][2] == data
    assert found['A folder/a link'][1] == '../else/where'
    with Iso(tmp_path / 'a.iso') as iso:
        assert iso.volume_id == 'VENDOR-3.0.2'


def test_no_byte_of_the_folders_can_make_it_leave_its_bounds(tmp_path: Path) -> None:
    tree = tmp_path / 'tree'
    (tree / 'sub').mkdir(parents=True)
    (tree / 'sub/file').write_bytes(b'content')
    (tree / 'link').symlink_to('sub/file')
    data = make(tree, tmp_path / 'a.iso').read_bytes()
    target = tmp_path / 'b.iso'
    for position in range(18 * SECTOR, len(data), 1):
        if not data[position]:
            continue
        for value in (0, 0x2F, 0xFF):
            target.write_bytes(data[:position] + bytes([value]) + data[position + 1 :])
            try:
                for path in content(target):
                    assert not path.startswith('/') and '..' not in path.split('/')
            except IsoError:
                continue


def test_hostile_names_extents_and_loops_are_refused(tmp_path: Path) -> None:
    tree = tmp_path / 'tree'
    (tree / 'xy').mkdir(parents=True)
    (tree / 'file').write_bytes(b'content')
    data = make(tree, tmp_path / 'a.iso').read_bytes()
    target = tmp_path / 'b.iso'
    for old, new in ((b'NM\x07\x01\x00xy', b'NM\x07\x01\x00..'), (b'NM\x07\x01\x00xy', b'NM\x07\x01\x00/y')):
        assert data.count(old) == 1
        target.write_bytes(data.replace(old, new))
        with pytest.raises(IsoError, match='not a name'):
            content(target)
    size = struct.pack('<I', 7) + struct.pack('>I', 7)
    assert data.count(size) == 1
    target.write_bytes(data.replace(size, struct.pack('<I', 2**31) + struct.pack('>I', 2**31)))
    with pytest.raises(IsoError, match='outside'):
        content(target)
    record = data.index(b'NM\x07\x01\x00xy') - 36 - 8 - 34 + 1
    own = struct.unpack_from('<I', data, data.index(b'CD001') - 1 + 158)[0]
    start = next(p for p in range(record - 4, record + 5) if data[p + 32] == 8 and data[p + 25] == 2)
    target.write_bytes(data[: start + 2] + struct.pack('<I', own) + struct.pack('>I', own) + data[start + 10 :])
    with pytest.raises(IsoError, match='contained in itself'):
        content(target)


def test_what_is_no_iso_is_refused(tmp_path: Path) -> None:
    for data in (b'', b'text', bytes(100 * SECTOR)):
        (tmp_path / 'a.iso').write_bytes(data)
        with pytest.raises(IsoError):
            Iso(tmp_path / 'a.iso')


def test_the_reader_needs_nothing_but_the_standard_library() -> None:
    code = 'import sys; import ovca.image.iso9660; print([m for m in sys.modules if m in ("requests", "minisign")])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'
