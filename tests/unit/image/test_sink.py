"""What is appended past the kernel's memory is in the file as it was given, on every file system and on a full disk."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovca.files import file_system
from ovca.image import kept, sink
from ovca.image.kept import Kept
from ovca.image.output import Output
from ovca.image.sink import BLOCK, DIRECT, GATHERED, Sink
from tests.conftest import missing_peer


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    made = os.open(tmp_path / 'file', os.O_RDWR | os.O_CREAT, 0o600)
    yield made
    os.close(made)


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Let each write past the page cache fail with a code; returns a list of the sizes that were tried."""
    tried: list[int] = []
    real = os.write

    def refuse(code: int) -> list[int]:
        def write(descriptor: int, data: memoryview) -> int:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
                tried.append(len(data))
                raise OSError(code, os.strerror(code))
            return real(descriptor, data)

        monkeypatch.setattr(os, 'write', write)
        monkeypatch.setattr(sink, 'file_system', lambda descriptor: min(DIRECT))
        return tried

    return refuse


def on_direct(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return file_system(descriptor) in DIRECT
    finally:
        os.close(descriptor)


@pytest.fixture
def past_cache(tmp_path: Path) -> Iterator[Path]:
    """A folder that is written past the page cache: temporary files may lie in memory, the others rarely do."""
    for place in (tmp_path, Path(__file__).parent, Path('/var/tmp')):
        if os.access(place, os.W_OK) and on_direct(place):
            with tempfile.TemporaryDirectory(prefix='.ovca-', dir=place) as folder:
                yield Path(folder)
            return
    missing_peer('neither the temporary files, nor the checkout, nor /var/tmp lie on ext4 or XFS')


def cached(path: Path) -> int:
    """How many pages of a file the kernel has in memory."""
    size = path.stat().st_size
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open('r+b') as stream, mmap.mmap(stream.fileno(), size) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        assert not ctypes.CDLL(None).mincore(ctypes.byref(start), ctypes.c_size_t(size), pages)
        del start
    return sum(page & 1 for page in pages)


@pytest.mark.parametrize('direct', [True, False])
@pytest.mark.parametrize('before', [0, 1, 2048, BLOCK, 3 * BLOCK + 5])
@pytest.mark.parametrize('sizes', [[10, 20], [GATHERED], [3 * GATHERED + 1, 1], [300_000] * 9, [BLOCK - 5, BLOCK]])
def test_what_is_appended_is_there(
    tmp_path: Path, descriptor: int, direct: bool, before: int, sizes: list[int]
) -> None:
    pieces = [os.urandom(before), *(os.urandom(size) for size in sizes)]
    os.write(descriptor, pieces[0])
    appended = Sink(descriptor, direct=direct)

    for piece in pieces[1:]:
        appended.write(piece)
        assert b''.join(pieces).startswith((tmp_path / 'file').read_bytes())
    appended.flush()

    assert (tmp_path / 'file').read_bytes() == b''.join(pieces)
    assert appended.place == sum(len(piece) for piece in pieces)


def test_each_flush_may_end_within_a_block(tmp_path: Path, descriptor: int) -> None:
    pieces = [os.urandom(size) for size in (1, 5000, 3 * BLOCK, 7, GATHERED + 1, 100)]
    appended = Sink(descriptor, direct=True)

    for piece in pieces:
        appended.write(piece)
        appended.flush()
        assert not appended.waiting

    assert (tmp_path / 'file').read_bytes() == b''.join(pieces)


def test_whole_blocks_do_not_fill_the_memory_of_the_kernel(past_cache: Path) -> None:
    output = Output(past_cache / 'large', 3 * GATHERED)
    output.write(os.urandom(3 * GATHERED))
    output.close(0o644)

    assert cached(past_cache / 'large') == 0


def test_what_will_be_read_soon_stays_in_it(tmp_path: Path) -> None:
    output = Output(tmp_path / 'large', 3 * GATHERED, read=True)
    output.write(os.urandom(3 * GATHERED))
    output.close(0o644)

    assert cached(tmp_path / 'large') > 0


def test_others_read_what_is_written_through_the_same_descriptor(descriptor: int) -> None:
    data = os.urandom(2 * GATHERED + 5)
    appended = Sink(descriptor, direct=True)
    appended.write(data)

    assert os.pread(descriptor, 11, 7) == data[7:18]

    appended.flush()

    assert os.pread(descriptor, 3 * GATHERED, 1) == data[1:]


def test_a_file_system_that_refuses_is_asked_once(
    tmp_path: Path, descriptor: int, refusals: Callable[[int], list[int]]
) -> None:
    data = os.urandom(4 * GATHERED + 5)
    asked = refusals(errno.EINVAL)
    appended = Sink(descriptor, direct=True)

    appended.write(data)
    appended.flush()

    assert asked == [GATHERED]
    assert (tmp_path / 'file').read_bytes() == data


def test_on_a_full_disk_what_fits_is_kept(
    tmp_path: Path, descriptor: int, refusals: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(2 * GATHERED)
    refusals(errno.ENOSPC)
    watched, room = os.write, GATHERED + 5000

    def write(descriptor: int, piece: memoryview) -> int:
        if len(piece) <= sink.PIECE:
            piece = piece[: room - os.lseek(descriptor, 0, os.SEEK_CUR)]
            if not piece:
                raise OSError(errno.ENOSPC, 'full')
        return watched(descriptor, piece)

    monkeypatch.setattr(os, 'write', write)
    appended = Sink(descriptor, direct=True)

    with pytest.raises(OSError, match='full'):
        appended.write(data)
        appended.flush()

    assert (tmp_path / 'file').read_bytes() == data[:room]


def test_a_disk_that_fails_is_no_full_disk(descriptor: int, refusals: Callable[[int], list[int]]) -> None:
    refusals(errno.EIO)
    appended = Sink(descriptor, direct=True)

    with pytest.raises(OSError, match='Input/output error'):
        appended.write(bytes(GATHERED))


def test_what_comes_slowly_is_written_before_more_comes(tmp_path: Path) -> None:
    with (tmp_path / 'part').open('w+b', buffering=0) as stream, Kept(stream) as kept:
        kept.write(b'some')
        until = time.monotonic() + 20
        while (tmp_path / 'part').read_bytes() != b'some':
            assert time.monotonic() < until
            time.sleep(0.01)
        kept.write(b' more')
        kept.flush()

        assert (tmp_path / 'part').read_bytes() == b'some more'


@pytest.mark.parametrize('before', [0, 1, 5000, GATHERED])
def test_what_is_kept_goes_on_at_any_place(tmp_path: Path, before: int) -> None:
    data = os.urandom(before + 3 * GATHERED + 7)
    (tmp_path / 'part').write_bytes(data[:before])

    with (tmp_path / 'part').open('r+b', buffering=0) as stream:
        stream.seek(before)
        with Kept(stream) as kept:
            for at in range(before, len(data), 100_000):
                kept.write(data[at : at + 100_000])

    assert (tmp_path / 'part').read_bytes() == data


@pytest.mark.timeout(60)
def test_whatever_ends_the_thread_that_writes_is_told_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, 'SYNCED', GATHERED)

    def synced(place: int) -> None:
        raise ValueError('no note')

    with (tmp_path / 'part').open('w+b', buffering=0) as stream, Kept(stream, synced=synced) as writing:
        with pytest.raises(ValueError, match='no note'):
            for _ in range(20):
                writing.write(bytes(GATHERED))
        with pytest.raises(ValueError, match='no note'):
            writing.flush()
