"""Images and zips that other programs wrote are read as those programs' own readers read them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovca.exceptions import UsageError
from ovca.image.bundle import Bundle
from ovca.image.errors import BundleError
from ovca.image.iso9660 import SECTOR, Iso, IsoError
from ovca.image.isowriter import add_tree, folder_node, write_iso
from ovca.image.limits import Limits
from ovca.image.store import Store
from tests.conftest import missing_peer

Found = dict[str, tuple[int | None, int | None, str | None]]
"""By path: permissions, size and digest of a file, or the target of a link; a folder has permissions only."""
PACKAGES = {
    'bsdtar': 'libarchive-tools',
    'genisoimage': 'genisoimage',
    'xorriso': 'xorriso',
    'zip': 'zip',
    '7zz': '7zip',
}
SHIPPED = {
    'grub-rescue-pc': '/usr/lib/grub-rescue/grub-rescue-cdrom.iso',
    'ipxe': '/usr/lib/ipxe/ipxe.iso',
    'memtest86+': '/usr/lib/memtest86+/memtest86+x64.iso',
}
MKISOFS = {
    'rock-ridge': ['-R'],
    'rationalised': ['-r'],
    'rock-ridge-and-joliet': ['-R', '-J', '-joliet-long'],
    'level-3': ['-R', '-iso-level', '3'],
    'level-4': ['-R', '-iso-level', '4'],
    'boot': ['-R', '-b', 'boot.img', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table', '-c', 'boot.cat'],
}
GENISOIMAGE = {
    'udf-bridge': ['-R', '-J', '-joliet-long', '-udf'],
    'udf-and-limited-size': ['-R', '-udf', '-allow-limited-size'],
    'deep-folders-in-place': ['-R', '-D'],
    'hidden-rr-moved': ['-R', '-hide-rr-moved'],
    'shared-extents': ['-R', '-cache-inodes'],
    'no-shared-extents': ['-R', '-no-cache-inodes'],
    'not-padded': ['-R', '-no-pad'],
    'sorted-otherwise': ['-R', '-l', '-U', '-allow-multidot'],
}
XORRISO = {
    'hfs-plus': ['-R', '-hfsplus'],
    'system-area-and-partition': ['-R', '-G', '{image}.mbr', '-append_partition', '2', '0xef', '{image}.mbr'],
    'second-volume-descriptor': ['-R', '-partition_offset', '16'],
    'hard-links': ['-R', '--hardlinks'],
}
WITH_NAMES = [
    *[('genisoimage', name, words) for name, words in (MKISOFS | GENISOIMAGE).items()],
    *[('xorriso', name, words) for name, words in (MKISOFS | XORRISO).items()],
]


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        missing_peer(f'{name} is not installed: apt-get install {PACKAGES[name]}')
    return found


def run(*words: object, folder: Path | None = None, **options: Any) -> bytes:
    """Run a program; return what it writes."""
    environment = os.environ | {'LC_ALL': 'C.UTF-8', 'TZ': 'UTC'}
    done = subprocess.run(
        [program(str(words[0])), *map(str, words[1:])], cwd=folder, env=environment, capture_output=True, **options
    )
    assert done.returncode == 0, done.stderr.decode(errors='replace')[-2000:]
    return done.stdout


def write(writer: str, words: list[str], tree: Path, image: Path) -> Path:
    image.with_name(image.name + '.mbr').write_bytes(os.urandom(8 * 512))
    given = [word.format(image=image) for word in words]
    first = [writer, '-quiet'] if writer == 'genisoimage' else [writer, '-as', 'mkisofs', '-quiet']
    run(*first, '-V', 'OF_OTHERS', *given, '-o', image, tree)
    return image


def read(image: Path) -> Found:
    found: Found = {}
    with Iso(image, Limits()) as iso:
        for entry in iso.walk():
            if entry.link is not None:
                found[entry.path] = (None, None, entry.link)
            elif entry.is_dir:
                found[entry.path] = (entry.mode, None, None)
            else:
                digest = hashlib.sha256(b''.join(iso.read(entry))).hexdigest()
                found[entry.path] = (entry.mode, entry.size, digest)
    return found


def on_disk(folder: Path) -> Found:
    found: Found = {}
    for path in folder.rglob('*'):
        facts, name = path.lstat(), str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = (None, None, os.readlink(path))  # noqa: PTH115 pathlib would change a/./b
        elif path.is_dir():
            found[name] = (stat.S_IMODE(facts.st_mode), None, None)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = (stat.S_IMODE(facts.st_mode), facts.st_size, digest)
    return found


def by_bsdtar(image: Path, folder: Path) -> Found:
    folder.mkdir()
    run('bsdtar', '-xpf', image, '-C', folder)
    return on_disk(folder)


def by_xorriso(image: Path, folder: Path) -> Found:
    run('xorriso', '-osirrox', 'on', '-indev', image, '-extract', '/', folder)
    return on_disk(folder)


def without_modes(found: Found) -> Found:
    return {path: (None, *rest) for path, (_, *rest) in found.items()}  # type: ignore[misc]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A tree that every kind of image can hold."""
    root = tmp_path / 'plain'
    (root / 'usr/lib').mkdir(parents=True)
    (root / 'usr/lib/data.bin').write_bytes(os.urandom(70_001))
    (root / 'usr/readme.txt').write_text('text\n')
    (root / 'empty').touch()
    (root / 'boot.img').write_bytes(os.urandom(4096))
    (root / 'folder').mkdir()
    return root


@pytest.fixture
def hard(plain: Path) -> Path:
    """A tree with what Linux trees hold: links, modes, odd names, two names for one file, depth."""
    lib = plain / 'usr/lib'
    (lib / 'data.bin').chmod(0o640)
    (lib / 'hard').hardlink_to(lib / 'data.bin')
    (lib / ('n' * 240)).write_text('a long name')
    (lib / 'system-x\\x2dy.slice').touch()
    (lib / 'xt_DSCP.ko').write_text('these two differ')
    (lib / 'xt_dscp.ko').write_text('by case only')
    (plain / 'Größe und Maß').write_text('not ASCII')
    (plain / 'lib').symlink_to('usr/./lib')
    (plain / 'absolute').symlink_to('/usr/lib/os-release')
    (plain / 'root').symlink_to('/')
    (plain / 'long').symlink_to('/'.join(['x' * 20] * 10))
    deep = plain.joinpath(*(f'd{number}' for number in range(12)))
    deep.mkdir(parents=True)
    (deep / 'up').symlink_to('../../.')
    (deep / 'file').write_text('down here')
    (deep / 'run').write_text('#!/bin/sh\n')
    (deep / 'run').chmod(0o755)
    plain.joinpath('d0/d1').chmod(0o700)
    return plain


@pytest.mark.parametrize(('writer', 'name', 'words'), WITH_NAMES, ids=[f'{w}-{n}' for w, n, _ in WITH_NAMES])
def test_an_image_of_another_writer_is_read_as_bsdtar_reads_it(
    writer: str, name: str, words: list[str], hard: Path, tmp_path: Path
) -> None:
    image = write(writer, words, hard, tmp_path / 'image.iso')

    found = read(image)

    assert found == by_bsdtar(image, tmp_path / 'out')
    patched = {'boot.img', 'boot.cat'} if name == 'boot' else set()
    expected = {path: facts for path, facts in on_disk(hard).items() if path not in patched}
    assert without_modes({p: f for p, f in found.items() if p not in patched}) == without_modes(expected)


@pytest.mark.parametrize('writer', ['genisoimage', 'xorriso'])
def test_modes_links_and_contents_are_as_xorriso_extracts_them(writer: str, hard: Path, tmp_path: Path) -> None:
    image = write(writer, ['-R', '-J', '-joliet-long'], hard, tmp_path / 'image.iso')

    found = read(image)

    extracted = by_xorriso(image, tmp_path / 'out')
    extracted.pop('rr_moved', None)  # where genisoimage puts deep folders; bsdtar hides it, and so do we
    assert found == extracted == on_disk(hard)


def test_links_with_slashes_too_many_lead_to_the_same_place_for_xorriso(tmp_path: Path) -> None:
    links = ['usr/', 'usr/lib/', './', '../x/./', '/', 'usr//lib', '//usr', 'x/' * 200]
    source = tmp_path / 'source'
    source.mkdir()
    for number, link in enumerate(links):
        (source / str(number)).symlink_to(link)
    root = folder_node('')
    add_tree(root, 'tree', source)
    image = tmp_path / 'image.iso'
    with image.open('wb') as stream:
        write_iso(root, stream, 'TEST')

    found = by_xorriso(image, tmp_path / 'out')

    assert [found[f'tree/{number}'][2] for number in range(len(links))] == [re.sub('/+', '/', link) for link in links]


def test_folders_that_xorriso_relocates_are_where_they_belong(hard: Path, tmp_path: Path) -> None:
    # bsdtar cannot read these ("Invalid Rockridge RE"), xorriso itself can.
    image = write('xorriso', ['-R', '-iso-level', '1', '-rr_reloc_dir', 'elsewhere'], hard, tmp_path / 'image.iso')

    assert read(image) == by_xorriso(image, tmp_path / 'out') == on_disk(hard)


@pytest.mark.parametrize(('writer', 'words'), [('genisoimage', ['-J']), ('xorriso', ['--norock', '-J'])])
def test_without_rock_ridge_the_names_are_those_of_joliet(
    writer: str, words: list[str], plain: Path, tmp_path: Path
) -> None:
    (plain / 'Größe und Maß.Text').write_text('not ASCII')

    image = write(writer, words, plain, tmp_path / 'image.iso')

    assert Iso(image).names == 'Joliet'
    assert without_modes(read(image)) == without_modes(on_disk(plain))
    assert without_modes(read(image)) == without_modes(by_bsdtar(image, tmp_path / 'out'))


@pytest.mark.parametrize(('writer', 'words'), [('genisoimage', []), ('xorriso', ['--norock'])])
def test_without_any_other_names_the_plain_ones_are_read_as_linux_shows_them(
    writer: str, words: list[str], plain: Path, tmp_path: Path
) -> None:
    image = write(writer, words, plain, tmp_path / 'image.iso')

    assert Iso(image).names == 'plain'
    assert without_modes(read(image)) == without_modes(on_disk(plain))
    assert {path.upper() for path in read(image)} == set(map(str.upper, by_bsdtar(image, tmp_path / 'out')))


def test_an_image_of_several_sessions_is_read_by_its_last(plain: Path, tmp_path: Path) -> None:
    image = tmp_path / 'image.iso'
    run('xorriso', '-outdev', image, '-map', plain, '/', '-commit')
    (tmp_path / 'later').write_text('in the second session')

    run('xorriso', '-dev', image, '-map', tmp_path / 'later', '/later', '-commit')

    assert 'later' in read(image)
    assert read(image) == by_bsdtar(image, tmp_path / 'out')


def test_a_link_that_genisoimage_writes_wrongly_is_refused(plain: Path, tmp_path: Path) -> None:
    # Its pieces are longer than the fields that hold them; every reader makes something else of it.
    (plain / 'long').symlink_to('/'.join(['x' * 200] * 6))

    image = write('genisoimage', ['-R'], plain, tmp_path / 'image.iso')

    with pytest.raises(IsoError, match='the target of a link is damaged'):
        read(image)


def test_files_that_are_compressed_within_the_image_are_refused(plain: Path, tmp_path: Path) -> None:
    (plain / 'text').write_text('compressible ' * 10_000)
    image = tmp_path / 'image.iso'
    run('xorriso', '-outdev', image, '-map', plain, '/', '-set_filter_r', '--zisofs', '/', '--', '-commit')

    with pytest.raises(IsoError, match='compressed') as refused:
        read(image)
    assert refused.value.id == 'iso-unsupported'


@pytest.mark.parametrize('package', SHIPPED)
def test_an_image_that_debian_ships_is_read_as_bsdtar_reads_it(package: str, tmp_path: Path) -> None:
    image = Path(SHIPPED[package])
    if not image.exists():
        missing_peer(f'{image} is not there: apt-get install {package}')

    found = read(image)

    assert len(found) > 4
    assert found == by_bsdtar(image, tmp_path / 'out')


# Zips.

MEMBERS = {'manifest.json': b'{"format": 1}', 'files.json': bytes(range(256)) * 500, 'a.iso': os.urandom(300_000)}
Zipper = Callable[[Path, list[str]], bytes]


def zipped(*words: str) -> Zipper:
    """By a program that writes a file."""

    def make(folder: Path, names: list[str]) -> bytes:
        run(*(word.format(zip=folder.parent / 'made.zip') for word in words), *names, folder=folder)
        return (folder.parent / 'made.zip').read_bytes()

    return make


def streamed(*words: str) -> Zipper:
    """By a program that writes into a pipe, and cannot go back."""

    def make(folder: Path, names: list[str]) -> bytes:
        return run(*words, *names, folder=folder)

    return make


PADDED = streamed('bsdtar', '-cf', '-', '--format=zip')


def without_padding(data: bytes) -> bytes:
    """bsdtar fills what it writes into a pipe with zeros, as if it were a tape."""
    return data[: data.rindex(b'PK\x05\x06') + 22]


ZIPS = {
    'info-zip': zipped('zip', '-q', '{zip}'),
    'info-zip-best': zipped('zip', '-q', '-9', '-X', '{zip}'),
    'info-zip-stored': zipped('zip', '-q', '-0', '{zip}'),
    'info-zip-zip64': zipped('zip', '-q', '-fz', '{zip}'),
    'info-zip-descriptors': zipped('zip', '-q', '-fd', '{zip}'),
    'info-zip-streamed': streamed('zip', '-q', '-'),
    '7zip': zipped('7zz', 'a', '-bd', '-tzip', '-mm=Deflate', '{zip}'),
    '7zip-stored': zipped('7zz', 'a', '-bd', '-tzip', '-mx=0', '{zip}'),
    '7zip-best': zipped('7zz', 'a', '-bd', '-tzip', '-mm=Deflate', '-mx=9', '{zip}'),
    'bsdtar': zipped('bsdtar', '-cf', '{zip}', '--format=zip'),
    'bsdtar-stored': zipped('bsdtar', '-cf', '{zip}', '--format=zip', '--options', 'zip:compression=store'),
    'bsdtar-streamed': lambda folder, names: without_padding(PADDED(folder, names)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / 'members'
    made.mkdir()
    for name, data in MEMBERS.items():
        (made / name).write_bytes(data)
    return made


def unzipped(data: bytes, size: int) -> dict[str, bytes]:
    bundle = Bundle((data[at : at + size] for at in range(0, len(data), size)), 'other.zip')
    found = {}
    while (member := bundle.next()) is not None:
        found[member.name] = b''.join(bytes(piece) for piece in bundle.content(2**30))
    return found


@pytest.mark.parametrize('size', [977, 1 << 20])
@pytest.mark.parametrize('name', ZIPS)
def test_a_zip_of_another_writer_is_read(name: str, size: int, folder: Path) -> None:
    data = ZIPS[name](folder, list(MEMBERS))

    assert unzipped(data, size) == MEMBERS


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['zip', '-q', '-P', 'secret', '{zip}'], 'is encrypted'),
        (['7zz', 'a', '-bd', '-tzip', '-psecret', '-mem=AES256', '{zip}'], 'is encrypted'),
        (['7zz', 'a', '-bd', '-tzip', '-mm=LZMA', '{zip}'], 'compression method 14'),
        (['7zz', 'a', '-bd', '-tzip', '-mm=Deflate64', '{zip}'], 'compression method 9'),
        (['zip', '-q', '-Z', 'bzip2', '{zip}'], 'compression method 12'),
    ],
)
def test_a_zip_that_other_programs_can_make_and_no_bundle_is_refused(
    words: list[str], sentence: str, folder: Path
) -> None:
    data = zipped(*words)(folder, ['files.json'])

    with pytest.raises(BundleError, match=sentence):
        unzipped(data, 4096)


def test_what_other_programs_do_not_take_either_is_refused(folder: Path) -> None:
    padded = PADDED(folder, list(MEMBERS))
    assert padded != without_padding(padded)
    with pytest.raises(BundleError, match='bytes after its end'):
        unzipped(padded, 4096)

    # Its end names a place beyond 4 GiB and leaves out the record that would tell it; unzip and 7-Zip refuse it, too.
    forced = streamed('zip', '-q', '-fz', '-')(folder, list(MEMBERS))
    with pytest.raises(BundleError, match='tells another directory'):
        unzipped(forced, 4096)


def test_links_and_folders_in_a_zip_are_refused(folder: Path) -> None:
    (folder / 'link').symlink_to('/etc/passwd')
    (folder / 'sub').mkdir()

    with pytest.raises(BundleError, match='no file, but a link'):
        unzipped(ZIPS['info-zip'](folder, ['-y', 'link']), 4096)
    with pytest.raises(BundleError, match='would leave its folder'):
        unzipped(ZIPS['info-zip'](folder, ['sub']), 4096)


@pytest.mark.parametrize(
    ('writer', 'name'), [('xorriso', 'info-zip'), ('genisoimage', '7zip'), ('xorriso', 'bsdtar-streamed')]
)
def test_a_plain_zip_with_an_image_of_others_is_published(
    writer: str, name: str, hard: Path, tmp_path: Path, get: Any, conf: Any, store: Store
) -> None:
    conf.image.require_signature = False
    (tmp_path / 'mgmt_image').mkdir()
    hard.rename(tmp_path / 'mgmt_image/usr')
    (tmp_path / 'iso').mkdir()
    (tmp_path / 'mgmt_image').rename(tmp_path / 'iso/mgmt_image')
    (tmp_path / 'zip').mkdir()
    write(writer, ['-R'], tmp_path / 'iso', tmp_path / 'zip/vendor.iso')
    (tmp_path / 'vendor.iso.zip').write_bytes(ZIPS[name](tmp_path / 'zip', ['vendor.iso']))

    published = get(tmp_path / 'vendor.iso.zip', version='3.0.2')

    assert published.version == '3.0.2'
    tree = store.mgmt('3.0.2') / 'tree'
    folders = {path for path, facts in on_disk(tree).items() if facts[1:] == (None, None)}
    expected = on_disk(tmp_path / 'iso/mgmt_image')
    assert {p: f for p, f in on_disk(tree).items() if p not in folders} == {
        p: f for p, f in expected.items() if p not in folders
    }
    assert folders == {path for path, facts in expected.items() if facts[1:] == (None, None)}


def test_python_writes_zips_that_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'python.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.comment = b'made by a test'
        for name, data in MEMBERS.items():
            info = zipfile.ZipInfo(name)
            info.comment = b'a member'
            archive.writestr(info, data)

    assert unzipped(path.read_bytes(), 977) == MEMBERS


# What we write, read by others.


@pytest.mark.parametrize('section', [SECTOR, 3 * SECTOR])
def test_a_file_in_several_sections_is_read_by_others_as_by_us(section: int, hard: Path, tmp_path: Path) -> None:
    for size in (section - 1, section, section + 1, 2 * section, 2 * section + 1):
        hard.joinpath(f'of {size} bytes').write_bytes(os.urandom(size))
    hard.joinpath('m' * 240).write_bytes(os.urandom(5 * section))  # its name does not fit into a record
    root, image = folder_node(''), tmp_path / 'image.iso'
    add_tree(root, 'tree', hard)

    with image.open('wb') as stream:
        write_iso(root, stream, 'SECTIONS', section=section)

    with Iso(image) as iso:
        many = [entry.path for entry in iso.walk() if len(entry.extents) > 1]
    assert {f'tree/of {2 * section} bytes', f'tree/{"m" * 240}', 'tree/usr/lib/data.bin'} <= set(many)
    found = read(image)
    expected = {f'tree/{path}': facts for path, facts in on_disk(hard).items()}
    assert {path: facts for path, facts in found.items() if path != 'tree'} == expected
    assert by_bsdtar(image, tmp_path / 'bsdtar') == found
    assert by_xorriso(image, tmp_path / 'xorriso') == found


def test_trees_that_no_image_can_hold_are_refused(tmp_path: Path) -> None:
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree/file').touch()
    root = folder_node('')
    add_tree(root, 'tree', tmp_path / 'tree')
    root.children['tree'].children['file'].size = 8 * 1024**4

    with (tmp_path / 'image.iso').open('wb') as stream, pytest.raises(UsageError, match='larger together than 8 TiB'):
        write_iso(root, stream, 'HUGE')

    assert (tmp_path / 'image.iso').stat().st_size == 0
