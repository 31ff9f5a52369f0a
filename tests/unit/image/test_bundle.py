"""A zip is judged while it arrives; whatever is not a bundle is refused, and nothing hostile gets through."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from collections.abc import Iterator

import pytest

from ovca.image.bundle import Bundle
from ovca.image.errors import BundleError

LIMIT = 64 * 1024 * 1024


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(data: bytes, *, size: int = 4096, limit: int = LIMIT) -> dict[str, bytes]:
    bundle = Bundle(pieces(data, size), 'test.zip')
    found = {}
    while member := bundle.next():
        found[member.name] = b''.join(bundle.content(limit))
    return found


def make(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return bytearray(stream.getvalue())


class Pipe(io.RawIOBase):
    """A stream that cannot seek, so that zipfile writes the sizes behind the data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


@pytest.mark.parametrize('size', [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_in_pieces_of_any_size(size: int, method: int) -> None:
    content = {'a': b'', 'b': os.urandom(9000), 'c': bytes(50_000)}

    assert read(bytes(make(*content.items(), method=method)), size=size) == content


def test_a_zip_from_a_pipe_has_its_sizes_behind_the_data() -> None:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a', b'x' * 5000)
        with archive.open('b', 'w', force_zip64=True) as target:
            target.write(b'y' * 5000)

    assert read(bytes(pipe.data)) == {'a': b'x' * 5000, 'b': b'y' * 5000}


def test_a_member_with_zip64_sizes_is_read() -> None:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive,
        archive.open('a', 'w', force_zip64=True) as target,
    ):
        target.write(b'x' * 5000)

    assert read(stream.getvalue()) == {'a': b'x' * 5000}


@pytest.mark.parametrize('extra', [0, 1, 2, 100, 257, 258, 259, 2048, 4096, 6144, 40_000])
def test_the_end_of_the_data_may_lie_anywhere(extra: int) -> None:
    # A long run of zeros leaves the inflater with output to give and no input left.
    content = bytes(3 * 1024 * 1024 + extra)
    data = bytes(make(('zeros', content)))

    for size in (64, 1000, 4096, 1 << 20):
        assert read(data, size=size) == {'zeros': content}


@pytest.mark.parametrize('name', ['../x', '/etc/passwd', 'a/b', 'a\\b', '..', '.'])
def test_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match=r'would leave its folder|holds a backslash'):
        read(bytes(make((name, b'x'))))


def test_a_name_with_a_null_or_none_is_refused() -> None:
    data = make(('abc', b'x'))
    data[30:33] = b'a\0c'
    with pytest.raises(BundleError):
        read(bytes(data))

    data = make(('abc', b'x'))
    data[26:28] = b'\0\0'
    with pytest.raises(BundleError):
        read(bytes(data))


@pytest.mark.parametrize('flag', [0x01, 0x40])
def test_an_encrypted_member_is_refused(flag: int) -> None:
    data = make(('a', b'x'))
    data[6] |= flag

    with pytest.raises(BundleError, match='encrypted'):
        read(bytes(data))


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(method: int) -> None:
    with pytest.raises(BundleError, match='compression'):
        read(bytes(make(('a', b'x' * 100), method=method)))


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize('change', [-1, 1, 1000])
@pytest.mark.parametrize('field', [18, 22])
def test_a_size_that_lies_is_refused(method: int, change: int, field: int) -> None:
    data = make(('a', os.urandom(5000)), ('b', b'x'), method=method)
    (size,) = struct.unpack_from('<I', data, field)
    struct.pack_into('<I', data, field, size + change)

    with pytest.raises(BundleError):
        read(bytes(data))


def test_a_bomb_ends_at_the_limit() -> None:
    data = bytes(make(('bomb', bytes(50 * 1024 * 1024))))
    bundle = Bundle(pieces(data, 4096), 'test.zip')
    bundle.next()

    with pytest.raises(BundleError, match='allowed'):
        for _ in bundle.content(1000):
            pass


def test_a_bomb_that_hides_its_size_ends_at_the_limit() -> None:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('bomb', bytes(20 * 1024 * 1024))
    bundle = Bundle(pieces(bytes(pipe.data), 4096), 'test.zip')
    bundle.next()
    seen = 0

    with pytest.raises(BundleError, match='allowed'):
        for data in bundle.content(3_000_000):
            seen += len(data)
    assert seen <= 3_000_000


def test_a_zip_that_ends_anywhere_too_early_is_refused() -> None:
    data = bytes(make(('a', os.urandom(300)), ('b', bytes(300))))

    for end in range(len(data)):
        with pytest.raises(BundleError):
            read(data[:end])


@pytest.mark.parametrize('junk', [b'\0', b'x' * 5000])
def test_bytes_before_and_after_are_refused(junk: bytes) -> None:
    data = bytes(make(('a', b'x')))

    with pytest.raises(BundleError):
        read(junk + data)
    with pytest.raises(BundleError):
        read(data + junk)


def test_a_directory_that_lists_other_members_is_refused() -> None:
    one, two = make(('a', b'x')), make(('a', b'x'), ('b', b'y'))
    for first, second in ((one, two), (two, one)):
        mixed = first[: first.index(b'PK\x01\x02')] + second[second.index(b'PK\x01\x02') :]
        with pytest.raises(BundleError, match='directory'):
            read(bytes(mixed))


def test_an_end_record_cannot_ask_for_endless_memory() -> None:
    data = make(('a', b'x'))
    at = data.index(b'PK\x05\x06')
    lie = b'PK\x06\x06' + struct.pack('<Q', 1 << 62)
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield bytes(data[:at]) + lie
        while taken < 64:
            taken += 1
            yield bytes(1 << 20)

    bundle = Bundle(endless(), 'test.zip')
    bundle.next()
    list(bundle.content(LIMIT))

    with pytest.raises(BundleError):
        bundle.next()
    assert taken < 4


def test_a_changed_byte_never_changes_what_is_read_unseen() -> None:
    content = {'manifest.json': b'{"format": 1}' * 20, 'data': os.urandom(2000)}
    data = bytes(make(*content.items()))
    chance = random.Random(7)

    for _ in range(1500):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            found = read(bytes(changed))
        except BundleError:
            continue
        assert found == content
