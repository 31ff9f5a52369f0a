"""A hostile or damaged ISO harms nobody, and modes, links and empty folders of an honest one come back."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ovca.image.iso9660 import SECTOR, Entry, Iso, IsoError
from ovca.image.isowriter import Node, add_tree, folder_node, write_iso
from ovca.image.limits import WIDEST, Limits

Contents = dict[str, tuple[int, bytes | str | None]]


def contents(path: Path, limits: Limits = WIDEST) -> Contents:
    """Every entry of an image by path: mode, and content, link target, or None for a folder."""
    found: Contents = {}
    with Iso(path, limits) as iso:
        for entry in iso.walk():
            assert entry.path not in found
            value = entry.link if entry.link is not None else None if entry.is_dir else b''.join(iso.read(entry))
            found[entry.path] = (entry.mode, value)
    return found


def expected(tree: Path, prefix: str = 'top') -> Contents:
    found: Contents = {prefix: (stat.S_IMODE(tree.stat().st_mode), None)}
    for path in tree.rglob('*'):
        name = f'{prefix}/{path.relative_to(tree)}'
        if path.is_symlink():
            found[name] = (0o777, os.readlink(path))  # noqa: PTH115 pathlib would change a/./b
        else:
            found[name] = (stat.S_IMODE(path.stat().st_mode), None if path.is_dir() else path.read_bytes())
    return found


def without_link_modes(found: Contents) -> Contents:
    return {k: (0 if isinstance(v[1], str) else v[0], v[1]) for k, v in found.items()}


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """Write a tree as an image, with bytes of it changed afterwards."""

    def make(tree: Path, change: Callable[[bytearray], None] = lambda _: None) -> Path:
        root = folder_node('')
        add_tree(root, 'top', tree)
        stream = io.BytesIO()
        write_iso(root, stream, 'VOLUME_1')
        data = bytearray(stream.getvalue())
        change(data)
        path = tmp_path / 'image.iso'
        path.write_bytes(data)
        return path

    return make


def record_of(data: bytearray, name: bytes) -> int:
    """Where the record with this Rock Ridge name begins: the name comes after PX, that after the plain name."""
    at = data.index(b'NM' + bytes((len(name) + 5, 1, 0)) + name)
    for identifier, padding in ((8, 1), (11, 0)):
        start = at - 36 - padding - identifier - 33
        if data[start + 32] == identifier and data[start + 2 : start + 6] == data[start + 6 : start + 10][::-1]:
            return start
    raise LookupError(name)


def point(data: bytearray, record: int, extent: int, size: int | None = None) -> None:
    data[record + 2 : record + 10] = struct.pack('<I', extent) + struct.pack('>I', extent)
    if size is not None:
        data[record + 10 : record + 18] = struct.pack('<I', size) + struct.pack('>I', size)


def both(value: int) -> bytes:
    return struct.pack('<I', value) + struct.pack('>I', value)


def extent_of(data: bytearray, record: int) -> tuple[int, int]:
    return struct.unpack_from('<I', data, record + 2)[0], struct.unpack_from('<I', data, record + 10)[0]


def test_a_tree_comes_back_with_modes_links_and_empty_folders(tree: Path, image: Callable[..., Path]) -> None:
    (tree / 'etc/secret').write_text('secret')
    (tree / 'etc/secret').chmod(0o600)
    (tree / 'var/empty/folder').mkdir(parents=True)
    (tree / 'var/empty').chmod(0o700)
    (tree / 'etc/up').symlink_to('../usr/./lib')
    path = image(tree)

    assert without_link_modes(contents(path)) == without_link_modes(expected(tree))
    with Iso(path) as iso:
        assert iso.volume_id == 'VOLUME_1'


def test_many_entries_in_one_folder_cross_sectors(tmp_path: Path, image: Callable[..., Path]) -> None:
    tree = tmp_path / 'many'
    tree.mkdir()
    for number in range(700):
        (tree / f'{number}-{"x" * (number % 240)}').write_bytes(b'%d' % number)

    assert contents(image(tree)) == expected(tree)


def test_another_reader_sees_the_same_tree(tree: Path, image: Callable[..., Path]) -> None:
    pycdlib = pytest.importorskip('pycdlib')
    iso = pycdlib.PyCdlib()
    iso.open(str(image(tree)))
    found: Contents = {}
    todo = ['/']
    while todo:
        folder = todo.pop()
        for child in iso.list_children(rr_path=folder):
            if child is None or child.is_dot() or child.is_dotdot():
                continue
            name = child.rock_ridge.name().decode()
            path = f'{folder.rstrip("/")}/{name}'
            mode = stat.S_IMODE(child.rock_ridge.get_file_mode())
            if child.rock_ridge.is_symlink():
                found[path[1:]] = (mode, child.rock_ridge.symlink_path().decode())
            elif child.is_dir():
                found[path[1:]] = (mode, None)
                todo.append(path)
            else:
                output = io.BytesIO()
                iso.get_file_from_iso_fp(output, rr_path=path)
                found[path[1:]] = (mode, output.getvalue())
    iso.close()

    assert without_link_modes(found) == without_link_modes(expected(tree))


def test_an_image_of_another_writer_is_read(tmp_path: Path) -> None:
    pycdlib = pytest.importorskip('pycdlib')
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge='1.09', vol_ident='OTHER')
    iso.add_directory('/D1', rr_name='folder with spaces')
    long = 'l' * 240
    iso.add_fp(io.BytesIO(b'content'), 7, '/D1/F1.;1', rr_name=long, file_mode=0o100755)
    iso.add_fp(io.BytesIO(b''), 0, '/D1/F2.;1', rr_name='empty')
    iso.add_symlink('/D1/L1.;1', rr_symlink_name='link', rr_path='../a/./b')
    iso.add_symlink('/D1/L2.;1', rr_symlink_name='root', rr_path='/usr/' + 'z' * 200)
    path = tmp_path / 'other.iso'
    iso.write(str(path))
    iso.close()

    found = contents(path)

    assert found[f'folder with spaces/{long}'] == (0o755, b'content')
    assert found['folder with spaces/empty'][1] == b''
    assert found['folder with spaces/link'][1] == '../a/./b'
    assert found['folder with spaces/root'][1] == '/usr/' + 'z' * 200


@pytest.mark.parametrize('name', [b'../..', b'/etc/', b'a\0bcd', b'a\\bcd', b'\xff\xfe\xfd\xfc\xfb'])
def test_a_name_that_leaves_its_folder_is_refused(name: bytes, tmp_path: Path, image: Callable[..., Path]) -> None:
    tree = tmp_path / 'one'
    tree.mkdir()
    (tree / 'harml').write_text('x')

    def change(data: bytearray) -> None:
        at = data.index(b'harml')
        data[at : at + 5] = name

    with pytest.raises(IsoError):
        contents(image(tree, change))


@pytest.mark.parametrize('name', [b'.', b'..'])
def test_a_file_with_the_name_of_a_folder_is_refused(name: bytes, tmp_path: Path, image: Callable[..., Path]) -> None:
    tree = tmp_path / 'one'
    tree.mkdir()
    (tree / ('q' * len(name))).write_text('x')

    def change(data: bytearray) -> None:
        field = b'NM' + bytes((5 + len(name), 1, 0))
        at = data.index(field + b'q' * len(name))
        data[at + 5 : at + 5 + len(name)] = name

    with pytest.raises(IsoError):
        contents(image(tree, change))


def test_two_entries_of_one_name_are_refused(tmp_path: Path, image: Callable[..., Path]) -> None:
    tree = tmp_path / 'two'
    tree.mkdir()
    (tree / 'aaaa').write_text('x')
    (tree / 'bbbb').write_text('y')

    def change(data: bytearray) -> None:
        at = data.index(b'bbbb')
        data[at : at + 4] = b'aaaa'

    with pytest.raises(IsoError, match='twice'):
        contents(image(tree, change))


def test_a_folder_that_contains_itself_is_refused(tmp_path: Path, image: Callable[..., Path]) -> None:
    tree = tmp_path / 'loop'
    (tree / 'outer/inner').mkdir(parents=True)

    def change(data: bytearray) -> None:
        point(data, record_of(data, b'inner'), *extent_of(data, record_of(data, b'outer')))

    with pytest.raises(IsoError, match='contained'):
        contents(image(tree, change))


@pytest.mark.parametrize(('extent', 'size'), [(0xFFFFFFFF, 10), (1_000_000, 10), (0, 0xFFFFFFFF), (300, 0xFFFFFFFF)])
@pytest.mark.parametrize('name', [b'file', b'folder'])
def test_an_extent_outside_the_file_is_refused(
    name: bytes, extent: int, size: int, tmp_path: Path, image: Callable[..., Path]
) -> None:
    tree = tmp_path / 'outside'
    (tree / 'folder').mkdir(parents=True)
    (tree / 'file').write_text('x')

    with pytest.raises(IsoError):
        contents(image(tree, lambda data: point(data, record_of(data, name), extent, size)))


def test_a_deep_tree_is_refused(tmp_path: Path) -> None:
    root = folder_node('')
    node = root
    for number in range(Limits().max_depth + 1):
        path = f'{node.path}/d{number}'.lstrip('/')
        node.children[f'd{number}'] = child = folder_node(path)
        node = child
    path = tmp_path / 'deep.iso'
    with path.open('wb') as stream:
        write_iso(root, stream, 'DEEP')

    with pytest.raises(IsoError, match=r'deeper.*\[image\] max_depth'):
        contents(path, Limits())


def test_continuation_areas_in_circles_are_refused(tmp_path: Path, image: Callable[..., Path]) -> None:
    tree = tmp_path / 'circle'
    tree.mkdir()
    (tree / ('n' * 250)).write_text('x')

    def change(data: bytearray) -> None:
        # The area that holds the long name becomes one that leads to itself.
        at = data.index(b'NM\xff\x01')
        block, offset = divmod(at, SECTOR)
        field = b'CE\x1c\x01'
        for value in (block, offset, 28):
            field += struct.pack('<I', value) + struct.pack('>I', value)
        data[at : at + 28] = field
        first = data.index(b'CE\x1c\x01' + both(block) + both(offset))
        data[first + 20 : first + 28] = both(28)

    with pytest.raises(IsoError, match='circles'):
        contents(image(tree, change))


@pytest.mark.parametrize('kind', [stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_device_is_refused(kind: int, tmp_path: Path) -> None:
    root = folder_node('')
    source = tmp_path / 'x'
    source.write_text('x')
    root.children['null'] = Node('null', kind | 0o666, source, 1)
    path = tmp_path / 'device.iso'
    with path.open('wb') as stream:
        write_iso(root, stream, 'DEVICE')

    with pytest.raises(IsoError, match='device'):
        contents(path)


def test_set_user_id_is_never_taken_from_an_image(tmp_path: Path) -> None:
    root = folder_node('')
    source = tmp_path / 'x'
    source.write_text('x')
    root.children['su'] = Node('su', stat.S_IFREG | 0o6755, source, 1)
    path = tmp_path / 'suid.iso'
    with path.open('wb') as stream:
        write_iso(root, stream, 'SUID')

    assert contents(path)['su'][0] == 0o755


@pytest.mark.parametrize(
    'data',
    [b'', b'x', bytes(40 * SECTOR), random.Random(1).randbytes(40 * SECTOR)],
    ids=['empty', 'short', 'zeros', 'noise'],
)
def test_what_is_no_image_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'none.iso'
    path.write_bytes(data)

    with pytest.raises(IsoError):
        Iso(path)


def test_an_image_that_ends_too_early_is_refused(tree: Path, image: Callable[..., Path]) -> None:
    whole = image(tree)
    size = whole.stat().st_size

    for sectors in range(1, size // SECTOR, 3):
        os.truncate(whole, size - sectors * SECTOR)
        with pytest.raises(IsoError):
            contents(whole)


def test_a_damaged_image_is_read_or_refused_and_never_more(tmp_path: Path, image: Callable[..., Path]) -> None:
    tree = tmp_path / 'damaged'
    (tree / 'folder/inner').mkdir(parents=True)
    (tree / 'folder/link').symlink_to('/'.join(['x' * 180] * 3))
    (tree / ('n' * 255)).write_text('only content')
    path = image(tree)
    data = path.read_bytes()
    # Only where structures are: volume descriptors, path tables, directories, continuation areas.
    end = data.index(b'only content')
    chance = random.Random(11)

    for _ in range(400):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            changed[chance.randrange(16 * SECTOR, end)] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            with Iso(path) as iso:
                for entry in iso.walk():
                    judge(entry)
        except IsoError:
            continue


def judge(entry: Entry) -> None:
    """What the store relies on for every entry that the reader gives."""
    parts = entry.path.split('/')
    assert not {'', '.', '..'} & set(parts)
    assert '\0' not in entry.path
    assert '\0' not in (entry.link or '')
    assert entry.mode & ~0o777 == 0
