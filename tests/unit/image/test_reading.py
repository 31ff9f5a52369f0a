"""Reading many files again, by several threads."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from ovca.image.reading import Job, Reader, each


def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    contents = [os.urandom(size) for size in (0, 1, 3_000_000, 70_000)]
    paths = [tmp_path / str(number) for number in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)

    found = each([Job(path.stat().st_size, lambda reader, path=path: reader.digest(path)) for path in paths])  # type: ignore[misc]

    assert found == [hashlib.sha256(data).hexdigest() for data in contents]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    (tmp_path / 'link').symlink_to('file')

    with pytest.raises(OSError, match='symbolic'):
        Reader(threading.Event()).digest(tmp_path / 'link')


@pytest.mark.parametrize('size', [1000, 3_000_000])
def test_how_far_it_is_is_told_in_the_callers_thread(tmp_path: Path, size: int) -> None:
    (tmp_path / 'file').write_bytes(bytes(size))
    told: list[tuple[int, int]] = []
    threads = set()

    def hear(done: int, total: int) -> None:
        threads.add(threading.current_thread())
        told.append((done, total))

    each([Job(size, lambda reader: reader.digest(tmp_path / 'file')), Job(500, lambda _: None)], hear)

    assert told[-1] == (size + 500, size + 500)
    assert threads == {threading.current_thread()}


def test_a_caller_that_hears_enough_ends_the_reading(tmp_path: Path) -> None:
    started, let_go = threading.Event(), threading.Event()

    def long(reader: Reader) -> None:
        started.set()
        let_go.wait(20)
        reader.digest(tmp_path / 'sparse')

    with (tmp_path / 'sparse').open('wb') as stream:
        stream.truncate(2**40)  # would take minutes

    def enough(done: int, total: int) -> None:
        started.wait(20)
        let_go.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each([Job(2**40, long)], enough)

    until = time.monotonic() + 20
    while [t for t in threading.enumerate() if t.name.startswith('read')] and time.monotonic() < until:
        time.sleep(0.01)
    assert [t for t in threading.enumerate() if t.name.startswith('read')] == []
