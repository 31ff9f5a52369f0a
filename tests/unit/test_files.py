"""Files: copies by the kernel, and room that is asked for in advance."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from ovca.files import copy_range, drop, file_system, reserve


@pytest.fixture
def tmp_path(disk_path: Path) -> Path:
    """What is tested here is about disks."""
    return disk_path


@pytest.mark.parametrize('known', [True, False], ids=['by the file system', 'by the kernel'])
def test_a_range_is_copied_whatever_the_file_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / 'from').write_bytes(data)

    def unknown(*_: Any, **__: Any) -> int:
        raise OSError(errno.EXDEV, 'Invalid cross-device link')

    if not known:
        monkeypatch.setattr(os, 'copy_file_range', unknown)
    with (tmp_path / 'from').open('rb') as source, (tmp_path / 'to').open('wb') as target:
        copy_range(source.fileno(), 4096, target.fileno(), 2_000_000)
        copy_range(source.fileno(), 1, target.fileno(), 10)

    assert (tmp_path / 'to').read_bytes() == data[4096:2_004_096] + data[1:11]


def test_a_source_that_is_shorter_than_said_is_an_error(tmp_path: Path) -> None:
    (tmp_path / 'from').write_bytes(b'short')

    with (
        (tmp_path / 'from').open('rb') as source,
        (tmp_path / 'to').open('wb') as target,
        pytest.raises(OSError, match='the source ends'),
    ):
        copy_range(source.fileno(), 0, target.fileno(), 100)


def test_room_is_taken_or_its_lack_is_told_at_once(tmp_path: Path) -> None:
    with (tmp_path / 'file').open('wb') as stream:
        reserve(stream.fileno(), 1_000_000)
        with pytest.raises(OSError):
            reserve(stream.fileno(), 2**62)

    assert (tmp_path / 'file').stat().st_size == 1_000_000


def test_the_file_system_of_a_file_is_told(tmp_path: Path) -> None:
    right = subprocess.run(['stat', '-f', '-c', '%t', tmp_path], check=True, capture_output=True).stdout

    with (tmp_path / 'file').open('wb') as stream:
        assert file_system(stream.fileno()) == int(right, 16)


def test_a_file_that_is_dropped_is_gone_at_once_and_its_room_soon(tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(bytes(1_000_000))
    with (tmp_path / 'file').open('rb') as stream:
        before = set(os.listdir('/proc/self/fd'))  # noqa: PTH208 names of descriptors, not paths
        drop(tmp_path / 'file')

        assert not (tmp_path / 'file').exists()

        for thread in threading.enumerate():
            if thread.name == 'drop':
                thread.join()

        assert os.fstat(stream.fileno()).st_nlink == 0
        assert set(os.listdir('/proc/self/fd')) == before  # noqa: PTH208


def test_what_is_not_there_is_dropped_without_a_word(tmp_path: Path) -> None:
    drop(tmp_path / 'file')

    assert list(tmp_path.iterdir()) == []
