"""Each way in which a zip can lie is refused, in a sentence that says what is wrong."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ovca.image.bundle import MAX_MEMBERS, SMALL, Bundle
from ovca.image.errors import BundleError
from ovca.image.limits import Limits

LOCAL, CENTRAL, END = b'PK\x03\x04', b'PK\x01\x02', b'PK\x05\x06'


def read(data: bytes | bytearray, *, limits: Limits | None = None, size: int = 4096) -> dict[str, bytes]:
    data = bytes(data)
    bundle = Bundle((data[at : at + size] for at in range(0, len(data), size)), 'a.zip', limits)
    found = {}
    while (member := bundle.next()) is not None:
        found[member.name] = b''.join(bytes(piece) for piece in bundle.content(2**40))
    return found


def made(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, **facts: Any) -> bytearray:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', method) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            for key, value in facts.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return bytearray(stream.getvalue())


def central(data: bytearray, number: int = 0) -> int:
    at = -1
    for _ in range(number + 1):
        at = data.index(CENTRAL, at + 1)
    return at


def refused(data: bytes | bytearray, sentence: str, id: str, **options: Any) -> None:
    for size in (17, 1 << 20):
        with pytest.raises(BundleError, match=sentence) as error:
            read(data, size=size, **options)
        assert error.value.id == id


# Names.


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        (b'/abs', 'would leave its folder'),
        (b'../x', 'would leave its folder'),
        (b'..', 'would leave its folder'),
        (b'.', 'would leave its folder'),
        (b'a/b', 'would leave its folder'),
        (b'a\\b', 'holds a backslash'),
        (b'C:\\x', 'holds a backslash'),
        (b'a\\x2d', 'holds a backslash'),
        (b'a\0b', 'holds a control character'),
        (b'a\nb', 'holds a control character'),
        (b'a\x1b[2J', 'holds a control character'),
        (b'a\x7f', 'holds a control character'),
        ('a\u2028b'.encode(), 'holds a control character'),
        (b'\xff\xfe', 'a name that is not UTF-8'),
        (b'\xc0\xae\xc0\xae', 'a name that is not UTF-8'),
        (b'\xed\xa0\x80', 'a name that is not UTF-8'),
    ],
)
def test_a_name_that_no_file_of_a_bundle_has_is_refused(name: bytes, sentence: str) -> None:
    data = made(('x' * len(name), b'content'))

    refused(data.replace(b'x' * len(name), name), sentence, 'bundle-unsafe')


def test_a_name_that_is_too_long_or_none_is_refused() -> None:
    refused(made(('n' * 256, b'x')), 'longer than 255 bytes', 'not-a-bundle')
    refused(made(('', b'x')), 'has no name', 'not-a-bundle')


@pytest.mark.parametrize('length', [256, 65535])
def test_a_name_that_is_too_long_in_the_directory_makes_no_long_sentence(length: int) -> None:
    data = made(('a.iso', b'x'))
    struct.pack_into('<H', data, central(data) + 28, length)

    refused(data + bytes(length), 'a member has no name, or one longer than 255 bytes', 'not-a-bundle')


@pytest.mark.parametrize('second', ['a.iso', 'A.ISO', 'a.Iso'])
def test_two_members_of_one_name_are_refused_whatever_their_case(second: str) -> None:
    with pytest.warns(UserWarning) if second == 'a.iso' else _nothing():
        data = made(('a.iso', b'good'), (second, b'evil'))

    refused(data, 'twice, or in two cases', 'bundle-unsafe')


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


def test_a_second_name_for_other_programs_is_refused() -> None:
    def unicode_path(name: bytes) -> bytes:
        value = b'\1' + struct.pack('<I', zlib.crc32(b'a.iso')) + name
        return struct.pack('<HH', 0x7075, len(value)) + value

    assert read(made(('a.iso', b'x'), extra=unicode_path(b'a.iso'))) == {'a.iso': b'x'}
    refused(made(('a.iso', b'x'), extra=unicode_path(b'b.iso')), 'another name for other programs', 'bundle-unsafe')


# Kinds.


@pytest.mark.parametrize('kind', [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_what_is_no_file_is_refused(kind: int) -> None:
    data = made(('a.iso', b'/etc/passwd'), external_attr=(kind | 0o777) << 16, create_system=3)

    refused(data, 'is no file, but a link, folder or device', 'bundle-unsafe')


def test_a_folder_of_dos_is_refused() -> None:
    refused(made(('a.iso', b''), external_attr=0x10, create_system=0), 'is no file', 'bundle-unsafe')


@pytest.mark.parametrize('bit', [0x0001, 0x0040, 0x2000])
def test_each_way_of_encryption_is_refused(bit: int) -> None:
    data = made(('a.iso', b'x'))
    struct.pack_into('<H', data, 6, bit)

    refused(data, 'is encrypted', 'not-a-bundle')


@pytest.mark.parametrize('bit', [0x0010, 0x0020, 0x0080, 0x1000, 0x8000])
def test_features_that_no_bundle_needs_are_refused(bit: int) -> None:
    data = made(('a.iso', b'x'))
    struct.pack_into('<H', data, 6, bit)

    refused(data, 'features of zip', 'not-a-bundle')


@pytest.mark.parametrize('method', [1, 6, 9, 12, 14, 93, 95, 96, 98, 99])
def test_an_unknown_method_is_refused(method: int) -> None:
    data = made(('a.iso', b'x'))
    struct.pack_into('<H', data, 8, method)

    refused(data, f'compression method {method}', 'not-a-bundle')


# Bombs.


def test_a_member_that_says_it_becomes_too_large_is_refused_before_it_is_inflated() -> None:
    data = bytes(made(('a.iso', bytes(SMALL * 2))))
    bundle = Bundle(iter([data]), 'bomb.zip', Limits(max_ratio=100))
    bundle.next()

    with pytest.raises(BundleError, match=r'100 times .*\[image\] max_ratio') as error:
        next(bundle.content(2**40))
    assert error.value.id == 'image-limit'


def bomb(pieces: int) -> Iterator[bytes]:
    """A zip that does not tell its sizes, and inflates to as many MiB of zeros."""
    yield LOCAL + struct.pack('<HHHHHIIIHH', 20, 8, 8, 0, 0, 0, 0, 0, 5, 0) + b'a.iso'
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    for _ in range(pieces):
        yield engine.compress(bytes(1 << 20))
    yield engine.flush()


def test_a_member_that_hides_how_large_it_becomes_ends_soon() -> None:
    bundle = Bundle(bomb(10_000), 'bomb.zip', Limits(max_ratio=100))
    bundle.next()
    unfolded = 0

    with pytest.raises(BundleError, match='max_ratio'):
        for piece in bundle.content(2**40):
            unfolded += len(piece)
    assert unfolded < 2 * SMALL + 100 * (1 << 20)


@pytest.mark.parametrize(('flags', 'compressed'), [(8, 0), (0, 2**31)], ids=['size not told', 'size told'])
def test_a_member_that_becomes_nothing_ends_soon(flags: int, compressed: int) -> None:
    received = 0

    def blank() -> Iterator[bytes]:
        """Blocks of deflate without content, and without end."""
        nonlocal received
        size = 0 if flags else 9
        yield LOCAL + struct.pack('<HHHHHIIIHH', 20, flags, 8, 0, 0, 0, compressed, size, 13, 0) + b'manifest.json'
        while received < 8 * SMALL:
            received += 250_000
            yield b'\x00\x00\x00\xff\xff' * 50_000

    bundle = Bundle(blank(), 'blank.zip')
    bundle.next()

    with pytest.raises(BundleError, match=r'manifest\.json is packed into more bytes than it may have') as error:
        next(bundle.content(1 << 20))
    assert error.value.id == 'bundle-unsafe'
    assert received < 2 * SMALL


def test_what_is_only_well_compressed_is_read() -> None:
    content = (b'%d' % number for number in range(4_000_000))
    data = b'\n'.join(content)

    assert read(made(('a.iso', data)), limits=Limits(max_ratio=100), size=1 << 20) == {'a.iso': data}


def test_a_ratio_that_the_operator_allows_is_read() -> None:
    data = made(('a.iso', bytes(SMALL * 2)))

    assert len(read(data, limits=Limits(max_ratio=1100), size=1 << 20)['a.iso']) == SMALL * 2


def test_members_without_end_are_refused() -> None:
    data = made(*((f'{number}', b'') for number in range(MAX_MEMBERS + 1)))

    refused(data, f'more than {MAX_MEMBERS} members', 'not-a-bundle')


# Two stories.


@pytest.mark.parametrize(
    ('at', 'form', 'value', 'what'),
    [
        (8, '<H', 0x0800, 'set of flags'),
        (10, '<H', 0, 'method'),
        (16, '<I', 1, 'CRC'),
        (20, '<I', 1, 'size'),
        (24, '<I', 1, 'size'),
        (42, '<I', 1, 'place'),
    ],
)
def test_a_directory_that_tells_another_story_than_the_member_is_refused(
    at: int, form: str, value: int, what: str
) -> None:
    data = made(('a.iso', b'content' * 99))
    struct.pack_into(form, data, central(data) + at, value)

    refused(data, f'tells another {what} of a.iso', 'bundle-unsafe')


def test_a_directory_with_another_name_is_refused() -> None:
    data = made(('a.iso', b'x'))
    at = central(data) + 46
    data[at : at + 5] = b'b.iso'

    refused(data, 'tells another name of a.iso', 'bundle-unsafe')


def test_two_entries_for_one_member_are_refused() -> None:
    # As in a bomb without nesting: many names, one overlapping member.
    data = made(('a.iso', b'x'), ('b.iso', b'x'))
    struct.pack_into('<I', data, central(data, 1) + 42, 0)

    refused(data, 'tells another place of b.iso', 'bundle-unsafe')


def test_a_member_within_another_is_not_seen_and_so_refused() -> None:
    inner = made(('b.iso', b'evil'))
    data = made(('a.iso', bytes(inner[: central(inner)])), method=zipfile.ZIP_STORED)
    at = central(data)
    hidden = bytearray(inner[central(inner) : inner.index(END)])
    struct.pack_into('<I', hidden, 42, 30 + len('a.iso'))
    end = bytearray(data[data.index(END) :])
    struct.pack_into('<HHI', end, 8, 2, 2, len(hidden) + data.index(END) - at)

    mixed = data[: data.index(END)] + hidden + end

    assert {i.filename for i in zipfile.ZipFile(io.BytesIO(bytes(mixed))).infolist()} == {'a.iso', 'b.iso'}
    refused(mixed, 'lists members that it does not hold', 'bundle-unsafe')


def test_a_member_that_the_directory_leaves_out_is_refused() -> None:
    data = made(('a.iso', b'x'), ('b.iso', b'y'))
    del data[central(data, 1) : data.index(END)]

    refused(data, 'lists fewer members', 'bundle-unsafe')


@pytest.mark.parametrize(('at', 'form'), [(4, '<H'), (6, '<H'), (8, '<H'), (10, '<H'), (12, '<I'), (16, '<I')])
@pytest.mark.parametrize('value', [7, 0xFFFF])
def test_an_end_that_tells_another_directory_is_refused(at: int, form: str, value: int) -> None:
    data = made(('a.iso', b'x'))
    struct.pack_into(form, data, data.index(END) + at, value)

    refused(data, 'tells another directory', 'bundle-unsafe')


def test_one_of_several_parts_is_refused() -> None:
    data = made(('a.iso', b'x'))
    struct.pack_into('<H', data, central(data) + 34, 1)

    refused(data, 'one of several parts', 'not-a-bundle')


# Around the members.


@pytest.mark.parametrize('junk', [b'#!/bin/sh\n', b'MZ' + bytes(500), b'PK\x07\x08', b'\0'])
def test_what_comes_before_is_refused(junk: bytes) -> None:
    refused(junk + made(('a.iso', b'x')), 'not a zip file, or has bytes where none belong', 'not-a-bundle')


@pytest.mark.parametrize('junk', [b'\0', b'\n', bytes(10_000), bytes(made(('b.iso', b'evil')))])
def test_what_comes_after_is_refused(junk: bytes) -> None:
    refused(made(('a.iso', b'x')) + junk, 'bytes after its end', 'bundle-damaged')


def test_bytes_between_two_members_are_refused() -> None:
    data = made(('a.iso', b'x'), ('b.iso', b'y'))
    at = data.index(LOCAL, 4)

    refused(data[:at] + b'\0' + data[at:], 'bytes where none belong', 'not-a-bundle')


def test_a_comment_is_read_over_unless_it_is_an_end() -> None:
    def commented(comment: bytes) -> bytes:
        stream = io.BytesIO(bytes(made(('a.iso', b'x'))))
        with zipfile.ZipFile(stream, 'a') as archive:
            archive.comment = comment
        return stream.getvalue()

    assert read(commented(b'release 1')) == {'a.iso': b'x'}
    refused(commented(b'release 1' + END + bytes(18)), 'comment holds another end', 'bundle-unsafe')


def test_an_empty_zip_is_refused() -> None:
    refused(made(), 'not a zip file', 'not-a-bundle')


# Zip64 and sizes behind the data.


def zip64(*values: int, cut: int = 0) -> bytes:
    data = struct.pack(f'<{len(values)}Q', *values)
    data = data[: len(data) - cut]
    return struct.pack('<HH', 1, len(data)) + data


def by_hand(
    *,
    local: tuple[int, int, int] | None = None,
    extra: bytes = b'',
    descriptor: bytes = b'',
    flags: int = 0,
    listed: tuple[int, int, int] | None = None,
    listed_extra: bytes = b'',
    end64: Callable[[int, int], bytes] = lambda start, size: b'',
    end: tuple[int, int, int] | None = None,
) -> bytes:
    """A zip with the member a.iso, its content ``content``; any number in it can be another one."""
    content = b'content'
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = engine.compress(content) + engine.flush()
    right = (zlib.crc32(content), len(packed), len(content))
    data = LOCAL + struct.pack('<HHHHHIIIHH', 45, flags, 8, 0, 0, *(local or right), 5, len(extra)) + b'a.iso' + extra
    data += packed + descriptor
    start = len(data)
    numbers = listed or (*right[1:], 0)
    entry = struct.pack('<HHHHHHIII', 45, 45, flags, 8, 0, 0, right[0], *numbers[:2])
    entry += struct.pack('<HHHHHII', 5, len(listed_extra), 0, 0, 0, 0, numbers[2])
    data += CENTRAL + entry + b'a.iso' + listed_extra
    size = len(data) - start
    data += end64(start, size)
    count, *place = end or (1, size, start)
    return data + END + struct.pack('<HHHHIIH', 0, 0, count, count, *place, 0)


CRC, PACKED, SIZE = zlib.crc32(b'content'), 9, 7
FULL = 0xFFFFFFFF


def ended(start: int, size: int, *, length: int = 44, count: int = 1, lie: int = 0) -> bytes:
    place = start + size
    record = struct.pack('<QHHIIQQQQ', length, 45, 45, 0, 0, count, count, size + lie, start)
    return b'PK\x06\x06' + record + bytes(length - 44) + b'PK\x06\x07' + struct.pack('<IQI', 0, place, 1)


def test_sizes_and_the_place_may_stand_in_the_extra_field() -> None:
    data = by_hand(
        local=(CRC, FULL, FULL),
        extra=zip64(SIZE, PACKED),
        listed=(FULL, FULL, FULL),
        listed_extra=zip64(PACKED, SIZE, 0)[:4] + struct.pack('<QQQ', SIZE, PACKED, 0),
        end64=ended,
        end=(0xFFFF, FULL, FULL),
    )

    assert read(data) == {'a.iso': b'content'}


def test_only_the_numbers_that_are_too_large_stand_in_the_extra_field() -> None:
    assert read(by_hand(listed=(PACKED, FULL, 0), listed_extra=zip64(SIZE))) == {'a.iso': b'content'}
    assert read(by_hand(listed=(FULL, SIZE, 0), listed_extra=zip64(PACKED))) == {'a.iso': b'content'}
    assert read(by_hand(listed=(PACKED, SIZE, FULL), listed_extra=zip64(0))) == {'a.iso': b'content'}


@pytest.mark.parametrize('extra', [b'', zip64(SIZE), zip64(SIZE, PACKED, cut=1), struct.pack('<HHQQ', 2, 16, 7, 9)])
def test_numbers_that_are_said_to_be_there_and_are_not_are_refused(extra: bytes) -> None:
    refused(by_hand(local=(CRC, FULL, FULL), extra=extra), 'zip64 sizes are missing', 'not-a-bundle')
    refused(by_hand(listed=(FULL, FULL, 0), listed_extra=extra), 'zip64 sizes are missing', 'not-a-bundle')


@pytest.mark.parametrize('extra', [b'\1\0\xff\xff' + bytes(16), zip64(SIZE, PACKED) * 2, zip64(SIZE, PACKED) + b'\7'])
def test_damaged_extra_fields_are_refused(extra: bytes) -> None:
    refused(by_hand(local=(CRC, FULL, FULL), extra=extra), 'extra fields are damaged', 'not-a-bundle')


@pytest.mark.parametrize('size', [2**63, 2**64 - 1])
def test_a_size_beyond_all_measure_is_refused(size: int) -> None:
    refused(by_hand(local=(CRC, FULL, FULL), extra=zip64(size, PACKED)), 'more than the', 'bundle-unsafe')


@pytest.mark.parametrize(
    'end64',
    [
        lambda start, size: ended(start, size, lie=1),
        lambda start, size: ended(start, size, count=2),
        lambda start, size: ended(start + 1, size),
    ],
)
def test_a_zip64_end_that_lies_is_refused(end64: Callable[[int, int], bytes]) -> None:
    with pytest.raises(BundleError, match=r'tells another directory|end is damaged'):
        read(by_hand(end64=end64, end=(0xFFFF, FULL, FULL)))


def test_a_zip64_end_may_hold_what_its_vendor_needs_and_no_more() -> None:
    assert read(by_hand(end64=lambda start, size: ended(start, size, length=100))) == {'a.iso': b'content'}
    refused(by_hand(end64=lambda start, size: ended(start, size, length=5000)), 'end is damaged', 'bundle-damaged')


@pytest.mark.parametrize('signature', [b'', b'PK\x07\x08'])
@pytest.mark.parametrize('form', ['<III', '<IQQ'])
@pytest.mark.parametrize('local', [(0, 0, 0), (CRC, PACKED, SIZE), (0, FULL, FULL)])
def test_the_sizes_behind_the_data_are_read_in_each_form(
    signature: bytes, form: str, local: tuple[int, int, int]
) -> None:
    descriptor = signature + struct.pack(form, CRC, PACKED, SIZE)
    extra = zip64(0, 0) if FULL in local else b''

    assert read(by_hand(local=local, flags=8, descriptor=descriptor, extra=extra)) == {'a.iso': b'content'}


@pytest.mark.parametrize('numbers', [(CRC, PACKED, 8), (CRC, 8, SIZE), (1, PACKED, SIZE)])
@pytest.mark.parametrize('form', ['<III', '<IQQ'])
def test_sizes_behind_the_data_that_lie_are_refused(numbers: tuple[int, int, int], form: str) -> None:
    descriptor = b'PK\x07\x08' + struct.pack(form, *numbers)

    refused(by_hand(local=(0, 0, 0), flags=8, descriptor=descriptor), 'size or CRC differ', 'bundle-damaged')


def test_a_member_that_is_stored_without_its_size_is_refused() -> None:
    data = made(('a.iso', b'content'), method=zipfile.ZIP_STORED)
    struct.pack_into('<H', data, 6, 8)
    struct.pack_into('<III', data, 14, 0, 0, 0)

    refused(data, 'is stored without its size in front', 'not-a-bundle')


def test_sizes_that_differ_before_and_behind_the_data_are_refused() -> None:
    descriptor = b'PK\x07\x08' + struct.pack('<III', CRC, PACKED, SIZE)

    refused(by_hand(local=(CRC, PACKED, 8), flags=8, descriptor=descriptor), 'size or CRC differ', 'bundle-damaged')
