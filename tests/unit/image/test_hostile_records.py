"""Each way in which the records of an ISO can lie is refused, in a sentence that says what is wrong and where."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import pytest

from ovca.image.iso9660 import HOLE, SECTOR, Entry, Iso, IsoError
from ovca.image.limits import WIDEST, Limits
from ovca.image.rockridge import MAX_AREA, MAX_CONTINUATIONS
from tests import isomaker
from tests.isomaker import FILE, FOLDER, LINK, ROOT, field, file, folder, further, link, listing, mode, named, part

DATA = 40
"""A sector where the content of a file may lie."""


def entries(path: Path, limits: Limits = WIDEST) -> dict[str, Entry]:
    with Iso(path, limits) as iso:
        return {entry.path: entry for entry in iso.walk()}


def read(tmp_path: Path, data: bytes, limits: Limits = WIDEST) -> dict[str, Entry]:
    return entries(isomaker.written(tmp_path / 'a.iso', data), limits)


def refused(tmp_path: Path, data: bytes, sentence: str, id: str, limits: Limits = WIDEST) -> None:
    with pytest.raises(IsoError, match=sentence) as error:
        read(tmp_path, data, limits)
    assert error.value.id == id


def test_an_honest_image_made_by_hand_is_read(tmp_path: Path) -> None:
    data = isomaker.image([file(b'file', DATA, 7), folder(b'sub', 30)], {30: listing(30, ROOT), DATA: b'content'})

    found = read(tmp_path, data)

    assert set(found) == {'file', 'sub'}
    with Iso(tmp_path / 'a.iso') as iso:
        assert b''.join(iso.read(found['file'])) == b'content'


# What it is at all.


def test_a_zip_in_the_place_of_the_image_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, b'PK\x03\x04' + bytes(40 * SECTOR), 'the file is a zip', 'iso-damaged')


def test_an_image_with_udf_alone_is_refused(tmp_path: Path) -> None:
    data = bytearray(64 * SECTOR)
    for sector, name in ((16, b'BEA01'), (17, b'NSR02'), (18, b'TEA01')):
        data[sector * SECTOR + 1 : sector * SECTOR + 6] = name

    refused(tmp_path, bytes(data), 'UDF file system only', 'iso-unsupported')


def test_an_image_that_is_cut_off_is_refused_at_once(tmp_path: Path) -> None:
    data = isomaker.image(sectors=64)

    refused(tmp_path, data[:-1], 'is cut off: it has 131071 bytes and says that it has 131072', 'iso-damaged')


def test_another_block_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(isomaker.image())
    struct.pack_into('<H', data, 16 * SECTOR + 128, 512)

    refused(tmp_path, bytes(data), 'block size other than 2048', 'iso-unsupported')


def test_volume_descriptors_without_end_are_refused(tmp_path: Path) -> None:
    data = bytearray(isomaker.image())
    data[17 * SECTOR] = 3

    refused(tmp_path, bytes(data), 'sector 18 is no volume descriptor', 'iso-damaged')


@pytest.mark.parametrize('at', [16 * SECTOR + 84, 16 * SECTOR + 156 + 6, ROOT * SECTOR + 6, ROOT * SECTOR + 14])
def test_a_number_that_differs_in_its_two_byte_orders_is_refused(at: int, tmp_path: Path) -> None:
    data = bytearray(isomaker.image([file(b'file', DATA, 7)]))
    data[at] ^= 1

    refused(tmp_path, bytes(data), 'in one byte order and', 'iso-damaged')


# Names.


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        (b'', 'is no name'),
        (b'.', 'would leave its folder'),
        (b'..', 'would leave its folder'),
        (b'/etc/passwd', 'would leave its folder'),
        (b'a/../../b', 'would leave its folder'),
        (b'a\\b', 'holds a backslash'),
        (b'..\\..\\b', 'holds a backslash'),
        (b'a\\x2', 'holds a backslash'),
        (b'a\0b', 'holds a control character'),
        (b'a\nb', 'holds a control character'),
        (b'\x1b]0;title\x07', 'holds a control character'),
        (b'a\xc2\x9bb', 'holds a control character'),
        (b'\xff', 'a name is not UTF-8'),
        (b'\xc0\xaf', 'a name is not UTF-8'),
    ],
)
def test_a_name_that_no_file_may_have_is_refused(name: bytes, sentence: str, tmp_path: Path) -> None:
    fields = named(name) + FILE

    refused(tmp_path, isomaker.image([isomaker.record(b'A;1', DATA, 0, 0, fields)]), sentence, 'iso-unsafe')


def test_the_escapes_of_systemd_are_names(tmp_path: Path) -> None:
    assert set(read(tmp_path, isomaker.image([file(b'system-systemd\\x2dcryptsetup.slice', DATA, 0)]))) == {
        'system-systemd\\x2dcryptsetup.slice'
    }


@pytest.mark.parametrize('flags', [2, 4])
def test_a_name_that_stands_for_a_folder_is_refused(flags: int, tmp_path: Path) -> None:
    data = isomaker.image([isomaker.record(b'A;1', DATA, 0, 0, named(b'', flags) + FILE)])

    refused(tmp_path, data, 'the name of its folder or of the one above', 'iso-unsafe')


@pytest.mark.parametrize('limit', [64, 255])
def test_a_name_that_is_too_long_is_refused(limit: int, tmp_path: Path) -> None:
    def long(length: int) -> bytes:
        area = named(b'n' * (length - 60), 1) + named(b'n' * 60)
        data = file(b'', DATA, 0)[:0] + isomaker.record(b'A;1', DATA, 0, 0, further(30, 0, len(area)) + FILE)
        return isomaker.image([data], {30: area})

    limits = Limits(max_name=limit)
    assert {len(name) for name in read(tmp_path, long(limit), limits)} == {limit}
    refused(tmp_path, long(limit + 1), rf'longer than {limit} bytes \(\[image\] max_name\)', 'image-limit', limits)


def test_two_names_that_are_the_same_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, isomaker.image([file(b'a', DATA, 0), file(b'a', DATA, 0)]), 'a is there twice', 'iso-unsafe')


def test_two_names_that_differ_by_case_are_refused_where_they_have_a_meaning_or_the_operator_says(
    tmp_path: Path,
) -> None:
    kernel = {30: listing(30, ROOT, file(b'xt_DSCP.ko', DATA, 0), file(b'xt_dscp.ko', DATA, 0))}
    deep, top = isomaker.image([folder(b'net', 30)], kernel), isomaker.image([folder(b'Boot', 30), file(b'boot', 0, 0)])

    assert set(read(tmp_path, deep)) == {'net', 'net/xt_DSCP.ko', 'net/xt_dscp.ko'}
    refused(tmp_path, top, 'differs from another name in its folder only by case', 'iso-unsafe')
    refused(tmp_path, deep, 'only by case', 'iso-unsafe', Limits(unique_case=True))


def test_a_path_that_is_too_long_for_linux_is_refused(tmp_path: Path) -> None:
    name, others = b'n' * 150, {}
    for number in range(21):
        at = 22 + number
        others[at] = listing(at, at - 1, folder(name, at + 1))
    others[43] = listing(43, 42)

    refused(tmp_path, isomaker.image([folder(name, 22)], others, sectors=80), 'longer than 3072 bytes', 'iso-unsafe')


def test_a_name_that_turns_the_direction_of_a_line_is_read_and_never_printed(tmp_path: Path) -> None:
    name = 'gpj.\u202eexe'

    assert set(read(tmp_path, isomaker.image([file(name.encode(), DATA, 0)]))) == {name}
    twice = isomaker.image([file(name.encode(), DATA, 0), file(name.encode(), DATA, 0)])
    refused(tmp_path, twice, r'^gpj\.\\u202eexe is there twice$', 'iso-unsafe')


# Kinds.


@pytest.mark.parametrize('kind', [stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_device_is_refused(kind: int, tmp_path: Path) -> None:
    data = isomaker.image([isomaker.record(b'A;1', DATA, 0, 0, named(b'null') + mode(kind | 0o666))])

    refused(tmp_path, data, 'null is a device, pipe or socket', 'iso-unsafe')


@pytest.mark.parametrize(
    ('flags', 'fields'), [(0, FOLDER), (2, FILE), (0, LINK), (0, mode(0o100644) + link(part(b'x')))]
)
def test_an_entry_of_two_kinds_is_refused(flags: int, fields: bytes, tmp_path: Path) -> None:
    data = isomaker.image([isomaker.record(b'A', 30, SECTOR, flags, named(b'a') + fields)], {30: listing(30, ROOT)})

    refused(tmp_path, data, 'is of one kind by its record and of another by its mode', 'iso-damaged')


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    fields = named(b'a') + FOLDER + link(part(b'etc'))

    refused(tmp_path, isomaker.image([isomaker.record(b'A', 30, SECTOR, 2, fields)]), 'folder and a link', 'iso-unsafe')


@pytest.mark.parametrize(
    'changes', [{'attributes': 1}, {'unit': 1}, {'gap': 1}, {'flags': 4}], ids=lambda c: next(iter(c))
)
def test_files_that_no_usual_writer_makes_are_refused(changes: dict[str, int], tmp_path: Path) -> None:
    data = isomaker.image([isomaker.record(b'A;1', DATA, 7, fields=named(b'a') + FILE, **changes)])

    refused(tmp_path, data, 'interleaved', 'iso-unsupported')


@pytest.mark.parametrize('signature', [b'ZF', b'SF'])
def test_files_that_are_stored_in_another_form_are_refused(signature: bytes, tmp_path: Path) -> None:
    data = isomaker.image([file(b'a', DATA, 7, field(signature, bytes(12)))])

    refused(tmp_path, data, 'compressed or sparse', 'iso-unsupported')


# Links.


@pytest.mark.parametrize(
    ('components', 'sentence', 'id'),
    [
        ([part(b'a\0b')], 'a control character', 'iso-unsafe'),
        ([part(b'a\nb')], 'a control character', 'iso-unsafe'),
        ([part(b'')], 'points nowhere', 'iso-unsafe'),
        ([], 'points nowhere', 'iso-unsafe'),
        ([part(b'\xff')], 'not UTF-8', 'iso-unsafe'),
        ([b'\0\7short'], 'the target of a link is damaged', 'iso-damaged'),
        ([part(b'a'), b'\0'], 'the target of a link is damaged', 'iso-damaged'),
        ([part(b'', 0x10)], 'the root of another volume', 'iso-unsupported'),
        ([part(b'', 0x20)], 'the root of another volume', 'iso-unsupported'),
    ],
)
def test_a_link_that_points_nowhere_sensible_is_refused(
    components: list[bytes], sentence: str, id: str, tmp_path: Path
) -> None:
    data = isomaker.image([isomaker.record(b'A;1', 0, 0, 0, named(b'a') + LINK + link(*components))])

    refused(tmp_path, data, sentence, id)


def test_a_link_that_is_longer_than_linux_allows_is_refused(tmp_path: Path) -> None:
    def long(count: int) -> bytes:
        area = b''.join(link(part(b'x' * 99)) for _ in range(count))
        fields = named(b'a') + LINK + further(30, 0, len(area))
        return isomaker.image([isomaker.record(b'A;1', 0, 0, 0, fields)], {30: area})

    assert len(read(tmp_path, long(40))['a'].link or '') == 3999
    refused(tmp_path, long(41), 'longer than 4095 bytes', 'iso-unsafe')


@pytest.mark.parametrize(
    ('fields', 'target'),
    [
        (link(part(b'', 8), part(b'usr'), part(b'lib')), '/usr/lib'),
        (link(part(b'', 8)), '/'),
        (link(part(b'', 4), part(b'', 2), part(b'lib')), '.././lib'),
        (link(part(b'us', 1), part(b'r'), part(b'lib')), 'usr/lib'),
        (link(part(b'us', 1), flags=1) + link(part(b'r'), part(b'lib')), 'usr/lib'),
    ],
)
def test_links_are_put_together_from_their_components(fields: bytes, target: str, tmp_path: Path) -> None:
    data = isomaker.image([isomaker.record(b'A;1', 0, 0, 0, named(b'a') + LINK + fields)])

    assert read(tmp_path, data)['a'].link == target


# Rock Ridge's fields.


@pytest.mark.parametrize('tail', [b'NM\x03\1', b'NM\xff\1abc', b'XX\0\1'])
def test_fields_without_end_are_refused(tail: bytes, tmp_path: Path) -> None:
    refused(tmp_path, isomaker.image([file(b'a', DATA, 0, tail)]), 'Rock Ridge fields are damaged', 'iso-damaged')


@pytest.mark.parametrize('tail', [field(b'ST') + b'\xff\xff\xff\xff', b'\0\0', b'\0' * 9, field(b'XX', b'unknown')])
def test_fields_that_end_or_are_not_known_are_read_over(tail: bytes, tmp_path: Path) -> None:
    assert set(read(tmp_path, isomaker.image([file(b'a', DATA, 0, tail)]))) == {'a'}


def test_continuations_in_circles_are_refused(tmp_path: Path) -> None:
    area = further(30, 28, 28) + further(30, 0, 28)

    data = isomaker.image([file(b'a', DATA, 0, further(30, 0, 28))], {30: area})

    refused(tmp_path, data, 'continuation areas go in circles', 'iso-unsafe')


def test_continuations_without_end_are_refused(tmp_path: Path) -> None:
    area = b''.join(further(30, 28 * number, 28) for number in range(1, MAX_CONTINUATIONS + 2))

    data = isomaker.image([file(b'a', DATA, 0, further(30, 0, 28))], {30: area})

    refused(tmp_path, data, 'continuation areas go in circles', 'iso-unsafe')


def test_a_continuation_that_is_too_long_or_outside_is_refused(tmp_path: Path) -> None:
    too_long, outside = further(30, 0, MAX_AREA + 1), further(63, 2000, 100)

    refused(tmp_path, isomaker.image([file(b'a', DATA, 0, too_long)]), 'area is too long', 'iso-damaged')
    refused(tmp_path, isomaker.image([file(b'a', DATA, 0, outside)]), 'shorter than it says', 'iso-damaged')


def test_two_continuations_at_once_are_refused(tmp_path: Path) -> None:
    data = isomaker.image([file(b'a', DATA, 0, further(30, 0, 28) + further(31, 0, 28))])

    refused(tmp_path, data, 'go on in two places', 'iso-damaged')


def test_continuations_cannot_make_much_work_of_a_small_image(tmp_path: Path) -> None:
    # Each of these records leads to the same long areas: all of them together would be many times the image.
    area = (field(b'XX', bytes(200)) * 40).ljust(MAX_AREA, b'\0')
    records = [file(b'%d' % number, DATA, 0, further(44, 0, MAX_AREA)) for number in range(100)]
    steps = 0

    class Counted(Iso):
        def _bytes(self, offset: int, length: int, *, free: bool = False) -> bytes:
            nonlocal steps
            steps += length
            return super()._bytes(offset, length, free=free)

    data = isomaker.image(records, {44: area})
    with pytest.raises(IsoError, match='larger together than the image'):
        list(Counted(isomaker.written(tmp_path / 'a.iso', data)).walk())
    assert steps < 3 * len(data)


# Where things lie.


@pytest.mark.parametrize(('extent', 'size'), [(63, SECTOR + 1), (64, 1), (0xFFFFFFFF, 1), (DATA, 0xFFFFFFFF)])
def test_a_file_outside_the_image_is_refused(extent: int, size: int, tmp_path: Path) -> None:
    refused(tmp_path, isomaker.image([file(b'a', extent, size)]), 'a lies outside the image', 'iso-damaged')


@pytest.mark.parametrize(('extent', 'size'), [(63, 2 * SECTOR), (64, SECTOR), (0xFFFFFFFF, SECTOR), (30, 0xFFFFF800)])
def test_a_folder_outside_the_image_is_refused(extent: int, size: int, tmp_path: Path) -> None:
    with pytest.raises(IsoError, match=r'shorter than it says|larger together|is damaged'):
        read(tmp_path, isomaker.image([folder(b'a', extent, size)], {30: listing(30, ROOT)}))


def test_one_content_under_two_names_is_read(tmp_path: Path) -> None:
    data = isomaker.image([file(b'a', DATA, 5000), file(b'b', DATA, 5000)])

    assert read(tmp_path, data)['a'].extents == read(tmp_path, data)['b'].extents


@pytest.mark.parametrize(
    'records',
    [
        [file(b'a', DATA, 5000), file(b'b', DATA + 1, 5000)],
        [file(b'a', DATA, 5000), file(b'b', DATA, 2000)],
        [file(b'a', DATA, 9000), file(b'b', DATA + 1, 2000), file(b'c', DATA + 2, 2000)],
        [file(b'a', ROOT, SECTOR)],
        [file(b'a', ROOT - 1, 2 * SECTOR)],
        [folder(b'a', 30), file(b'b', 30, SECTOR)],
    ],
)
def test_files_that_lie_across_each_other_are_refused(records: list[bytes], tmp_path: Path) -> None:
    refused(tmp_path, isomaker.image(records, {30: listing(30, ROOT)}), 'overlap', 'iso-unsafe')


def test_one_content_under_very_many_names_is_refused(tmp_path: Path) -> None:
    records = [file(b'%d' % number, 55, 9 * SECTOR) for number in range(200)]
    data = isomaker.image(records)

    assert len(read(tmp_path, data, Limits(max_ratio=100))) == 200
    refused(tmp_path, data, r'too large for the image \(\[image\] max_ratio\)', 'image-limit', Limits(max_ratio=2))


def test_more_files_than_are_allowed_are_refused(tmp_path: Path) -> None:
    data = isomaker.image([file(b'%d' % number, DATA, 0) for number in range(101)])

    assert len(read(tmp_path, data, Limits(max_files=101))) == 101
    refused(tmp_path, data, r'more than 100 entries \(\[image\] max_files\)', 'image-limit', Limits(max_files=100))


def test_folders_that_are_nested_too_deep_are_refused(tmp_path: Path) -> None:
    others = {22 + n: listing(22 + n, 21 + n, *([folder(b'd', 23 + n)] if n < 16 else [])) for n in range(17)}
    data = isomaker.image([folder(b'd', 22)], others)

    assert len(read(tmp_path, data, Limits(max_depth=17))) == 17
    refused(tmp_path, data, r'deeper than 16 folders \(\[image\] max_depth\)', 'image-limit', Limits(max_depth=16))


@pytest.mark.parametrize('target', [ROOT, 30])
def test_a_folder_within_itself_is_refused(target: int, tmp_path: Path) -> None:
    data = isomaker.image([folder(b'a', 30)], {30: listing(30, ROOT, folder(b'b', target))})

    refused(tmp_path, data, 'a/b: its folder is contained in itself', 'iso-unsafe')


def test_folders_that_share_their_sectors_cannot_make_much_work(tmp_path: Path) -> None:
    # Each begins a sector after the one before and reaches to the end: n folders, n * n / 2 sectors to read.
    records = [folder(b'%d' % number, 30 + number, (200 - number) * SECTOR) for number in range(150)]

    refused(
        tmp_path, isomaker.image(records, sectors=300), 'larger together than the image|damaged|overlap', 'iso-unsafe'
    )


@pytest.mark.parametrize('change', [33, 1])
def test_a_damaged_record_is_refused(change: int, tmp_path: Path) -> None:
    data = bytearray(isomaker.image([file(b'a', DATA, 0)]))
    data[ROOT * SECTOR + 34 + 8] = change

    with pytest.raises(IsoError, match=r'record is damaged|longer than its record|one byte order'):
        read(tmp_path, bytes(data))


# Several extents.


def large(path: Path, *, gap: int = 0) -> Path:
    """A sparse image with a file of 4 GiB and 3 bytes in two extents."""
    first = 0xFFFFF800
    last = DATA + first // SECTOR + gap
    size = 4 * 1024**3 + 3 - first
    records = [file(b'large', DATA, first, flags=0x80), file(b'large', last, size), file(b'z', last + 2, 1)]
    end = (last + 3) * SECTOR
    data = bytearray(isomaker.image(records))
    data[16 * SECTOR + 80 : 16 * SECTOR + 88] = isomaker.both(end // SECTOR)
    path.write_bytes(data[: DATA * SECTOR])
    os.truncate(path, end)
    with path.open('r+b') as stream:
        stream.seek(last * SECTOR + size - 3)
        stream.write(b'END')
    return path


@pytest.mark.parametrize('gap', [0, 5])
def test_a_file_of_more_than_4_gib_is_read_from_its_extents(gap: int, tmp_path: Path) -> None:
    path = large(tmp_path / 'large.iso', gap=gap)

    found = entries(path, Limits())['large']

    assert found.size == 4 * 1024**3 + 3
    assert len(found.extents) == 2
    with Iso(path) as iso:
        tail = Entry(found.path, found.mode, 0, found.extents[-1:], False)
        assert b''.join(iso.read(tail)).endswith(b'END')


def test_a_file_that_an_image_tells_the_size_of_modulo_4_gib_is_refused(tmp_path: Path) -> None:
    # genisoimage -udf -allow-limited-size writes such: the ISO side is cut off without a word.
    path = tmp_path / 'limited.iso'
    after = DATA + 1 + HOLE
    data = bytearray(isomaker.image([file(b'large', DATA, 700), file(b'z', after, 1)]))
    data[16 * SECTOR + 80 : 16 * SECTOR + 88] = isomaker.both(after + 1)
    path.write_bytes(data[: DATA * SECTOR])
    os.truncate(path, (after + 1) * SECTOR)

    with pytest.raises(IsoError, match=r'4 GiB after sector 41 .*-iso-level 3') as error:
        entries(path)
    assert error.value.id == 'iso-unsupported'


@pytest.mark.parametrize(
    ('records', 'sentence'),
    [
        ([file(b'a', DATA, SECTOR, flags=0x80)], 'the last extent of a file is missing'),
        ([file(b'a', DATA, SECTOR, flags=0x80), file(b'b', DATA + 1, 1)], 'changes its name'),
        ([file(b'a', DATA, 100, flags=0x80), file(b'a', DATA + 1, 1)], 'has a gap'),
        ([isomaker.record(b'A', 30, SECTOR, 0x82, named(b'a') + FOLDER)], 'has a gap'),
    ],
)
def test_extents_that_do_not_make_a_file_are_refused(records: list[bytes], sentence: str, tmp_path: Path) -> None:
    refused(tmp_path, isomaker.image(records), sentence, 'iso-damaged')


# Relocated folders.


def child(extent: int) -> bytes:
    return isomaker.record(b'DEEP;1', 0, 0, 0, named(b'deep') + FOLDER + field(b'CL', isomaker.both(extent)))


def moved(extent: int, parent: int, *records: bytes) -> bytes:
    return listing(extent, 31, *records, above=field(b'PL', isomaker.both(parent)))


RE = field(b'RE')


def test_a_relocated_folder_is_where_it_belongs(tmp_path: Path) -> None:
    others = {
        30: listing(30, ROOT, child(32)),
        31: listing(31, ROOT, folder(b'deep', 32, fields=RE)),
        32: moved(32, 30, file(b'file', DATA, 7)),
    }
    data = isomaker.image([folder(b'top', 30), folder(b'rr_moved', 31)], others)

    assert set(read(tmp_path, data)) == {'top', 'top/deep', 'top/deep/file'}


@pytest.mark.parametrize(
    ('others', 'sentence'),
    [
        # Nobody leads to it: it would be hidden from every reader but one that does not know relocation.
        ({30: listing(30, ROOT), 32: moved(32, 30)}, 'belongs nowhere'),
        # It says that it belongs to another one.
        ({30: listing(30, ROOT, child(32)), 32: moved(32, 31)}, 'belongs to another one'),
        # There is no folder.
        ({30: listing(30, ROOT, child(33)), 32: moved(32, 30)}, 'is not where it is said to be'),
        ({30: listing(30, ROOT, child(32)), 32: listing(33, 31)}, 'is not where it is said to be'),
        # Its own folder, in circles.
        ({30: listing(30, ROOT, child(32)), 32: moved(32, 30, child(32))}, 'belongs to another one'),
        ({30: listing(30, ROOT, child(30)), 32: moved(32, 30)}, 'belongs to another one|contained in itself'),
        # Two lead to it.
        ({30: listing(30, ROOT, child(32), child(32)), 32: moved(32, 30)}, 'there twice'),
    ],
)
def test_relocated_folders_that_lie_are_refused(others: dict[int, bytes], sentence: str, tmp_path: Path) -> None:
    others = {31: listing(31, ROOT, folder(b'deep', 32, fields=RE)), **others}

    with pytest.raises(IsoError, match=sentence):
        read(tmp_path, isomaker.image([folder(b'top', 30), folder(b'rr_moved', 31)], others))


# Other names.


def test_joliet_names_that_are_none_are_refused(tmp_path: Path) -> None:
    def joliet(name: bytes) -> bytes:
        root = listing(30, 30, isomaker.record(name, DATA, 0))
        return isomaker.image(rock_ridge=False, joliet=30, others={30: root})

    assert set(read(tmp_path, joliet('Größe;1'.encode('utf-16-be')))) == {'Größe'}
    refused(tmp_path, joliet('../x'.encode('utf-16-be')), 'would leave its folder', 'iso-unsafe')
    refused(tmp_path, joliet(b'\xd8\x00'), 'not UTF-16', 'iso-unsafe')
    refused(tmp_path, joliet(b'\0a\0'), 'not UTF-16', 'iso-unsafe')


def test_plain_names_are_those_that_linux_shows(tmp_path: Path) -> None:
    records = [isomaker.record(name, DATA, 0) for name in (b'README.TXT;1', b'KERNEL.;1', b'NO_DOT', b'A;B;12')]

    assert set(read(tmp_path, isomaker.image(records, rock_ridge=False))) == {'readme.txt', 'kernel', 'no_dot', 'a;b'}
