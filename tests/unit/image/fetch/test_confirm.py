"""A source is asked, once and in few bytes, whether it still holds what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ovca.image.fetch.base import SourceChanged

from .conftest import CONTENT, OTHER, Fetch, Make, leave
from .ftpd import Ftpd
from .peers import Nginx, Origin

HALF = len(CONTENT) // 2


def never() -> bool:
    """Whether it is to stop."""
    return False


def still(origin: Origin) -> None:
    """It is as it was."""


def gone(origin: Origin) -> None:
    origin.statuses = [(404, {})]


def busy(origin: Origin) -> None:
    origin.statuses = [(503, {'Retry-After': '60'})]


def no_ranges(origin: Origin) -> None:
    origin.ranges = False


def broken(origin: Origin) -> None:
    origin.cuts = [0]


@pytest.mark.parametrize('now', [still, gone, busy, no_ranges, broken])
def test_what_may_be_the_same_is_kept(
    make: Make, fetch: Fetch, origin: Origin, part: Path, now: Callable[[Origin], None]
) -> None:
    length = leave(make(origin.uri), part, HALF)
    now(origin)

    make(origin.uri).confirm(part, never)

    assert part.stat().st_size == length
    assert len(origin.requests) == 2
    assert fetch(origin.uri) == CONTENT


def new_tag(origin: Origin) -> None:
    origin.content, origin.etag = OTHER, '"two"'


def longer(origin: Origin) -> None:
    origin.content, origin.etag = OTHER + b'longer', None


def shorter(origin: Origin) -> None:
    origin.content, origin.etag = OTHER[:1000], '"two"'


def new_and_broken(origin: Origin) -> None:
    new_tag(origin)
    origin.cuts = [0]


@pytest.mark.parametrize('now', [new_tag, longer, shorter, new_and_broken])
def test_what_is_another_is_dropped(
    make: Make, fetch: Fetch, origin: Origin, part: Path, now: Callable[[Origin], None]
) -> None:
    leave(make(origin.uri), part, HALF)
    now(origin)

    with pytest.raises(SourceChanged):
        make(origin.uri).confirm(part, never)

    assert not part.exists()
    assert fetch(origin.uri) == origin.content


@pytest.mark.parametrize('way', ['confirm', 'stream'])
def test_who_was_told_to_stop_drops_nothing_as_it_may_be_anothers_by_now(
    make: Make, origin: Origin, part: Path, way: str
) -> None:
    length = leave(make(origin.uri), part, HALF)
    new_tag(origin)

    def stopped() -> bool:
        return len(origin.requests) == 2  # it had asked before

    if way == 'confirm':
        make(origin.uri).confirm(part, stopped)
    else:
        with pytest.raises(SourceChanged):
            list(make(origin.uri).stream(part, stopped))

    assert part.stat().st_size == length


def test_nothing_is_taken_for_the_same_when_nothing_is_there(make: Make, origin: Origin, part: Path) -> None:
    with pytest.raises(SourceChanged):
        make(origin.uri).confirm(part, never)

    assert not part.exists()
    assert origin.requests == []


def test_a_complete_one_is_confirmed_without_a_byte(make: Make, fetch: Fetch, origin: Origin, part: Path) -> None:
    fetch(origin.uri)

    make(origin.uri).confirm(part, never)

    assert part.read_bytes() == CONTENT
    assert origin.sent == len(CONTENT)


@pytest.mark.parametrize('same', [True, False])
def test_nginx_and_an_ftp_server_are_asked_the_same(
    make: Make, nginx: Callable[..., Nginx], ftpd: Callable[..., Ftpd], tmp_path: Path, same: bool
) -> None:
    web, ftp = nginx(), ftpd()
    for name, uri, file in (('web', web.uri, web.www / 'image'), ('ftp', ftp.uri, ftp.folder / 'image')):
        part = tmp_path / f'{name}.part'
        leave(make(uri), part, HALF)
        if same:
            make(uri).confirm(part, never)
        else:
            file.write_bytes(OTHER + b'longer')
            with pytest.raises(SourceChanged):
                make(uri).confirm(part, never)
        assert part.exists() == same
