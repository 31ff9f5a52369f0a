"""The promises of the fetch drivers' base, shown on the source in memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ovca import conf
from ovca.image.errors import SourceError
from ovca.image.fetch import fetcher
from ovca.image.fetch.base import FetchOptions, SourceChanged
from ovca.image.fetch.fake import FakeFetcher, FakeSource

OPTIONS = FetchOptions({}, pause=0.0, attempts=3)
CONTENT = bytes(range(256)) * 1000


def never() -> bool:
    return False


def test_a_broken_connection_is_resumed_where_it_broke(tmp_path: Path) -> None:
    source = FakeSource(CONTENT, drops=2, drop_after=100_000)

    got = b''.join(FakeFetcher('fake:x', OPTIONS, source=source).stream(tmp_path / 'part', never))

    assert got == CONTENT
    assert source.opened == [0, 100_000, 200_000]


def test_a_later_download_goes_on_with_what_an_earlier_one_kept(tmp_path: Path) -> None:
    source = FakeSource(CONTENT, drops=1, drop_after=100_000)
    with pytest.raises(SourceError, match='the connection broke; tried 1 times'):
        list(FakeFetcher('fake:x', once(), source=source).stream(tmp_path / 'part', never))

    got = b''.join(FakeFetcher('fake:x', OPTIONS, source=source).stream(tmp_path / 'part', never))

    assert got == CONTENT
    assert source.opened == [0, 100_000]


def once() -> FetchOptions:
    """The options of somebody without patience."""
    return dataclasses.replace(OPTIONS, attempts=1)


def test_a_source_that_changes_in_the_middle_is_begun_again(tmp_path: Path) -> None:
    source = FakeSource(CONTENT, drops=1, drop_after=100_000)
    stream = FakeFetcher('fake:x', OPTIONS, source=source).stream(tmp_path / 'part', never)
    next(stream)
    source.content = CONTENT[::-1]

    with pytest.raises(SourceChanged):
        list(stream)

    assert not (tmp_path / 'part').exists()


def test_a_source_that_is_not_there_is_not_tried_again(tmp_path: Path) -> None:
    source = FakeSource(missing=True)

    with pytest.raises(SourceError, match='fake:x: there is no such source'):
        list(FakeFetcher('fake:x', OPTIONS, source=source).stream(tmp_path / 'part', never))


def test_by_its_scheme_it_reads_the_text_in_the_uri(tmp_path: Path, config_file: Path) -> None:
    driver = fetcher('fake:some%20bytes', conf.load(str(config_file)))

    assert b''.join(driver.stream(tmp_path / 'part', never)) == b'some bytes'
