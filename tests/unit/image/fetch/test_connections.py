"""Several connections: where one is the limit, and nowhere else."""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ovca.image.fetch import connections
from ovca.image.fetch.base import SourceChanged
from ovca.image.fetch.connections import Connections, Trial, helps

from .conftest import CONTENT, MEGABYTE, Fetch, Make
from .peers import Nginx, Origin

QUICK = Trial(settle=0.05, measure=0.2, range=0.05, worth=0.5)
LARGE = random.Random(6).randbytes(6 * MEGABYTE + 17)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connections, 'trial', QUICK)
    monkeypatch.setattr(connections, 'SHORTEST', 64 * 1024)


@pytest.mark.parametrize(
    ('before', 'now', 'was', 'number', 'expected'),
    [
        (100, 200, 1, 2, True),
        (100, 150, 1, 2, True),
        (100, 149, 1, 2, False),
        (100, 100, 1, 2, False),
        (200, 400, 2, 4, True),
        (200, 299, 2, 4, False),
        (200, 250, 2, 3, True),
        (0, 0, 1, 2, True),
    ],
)
def test_more_are_kept_if_half_of_what_they_could_bring_comes(
    before: float, now: float, was: int, number: int, expected: bool
) -> None:
    assert helps(before, now, was, number) is expected


def ranges(server: Nginx) -> list[tuple[int, int]]:
    """The ranges that were given, by their beginnings."""
    found = re.findall(r' 206 "bytes=(\d+)-(\d+)"', server.seen())
    return sorted((int(start), int(stop)) for start, stop in found)


def test_a_server_that_slows_each_connection_is_read_by_several(fetch: Fetch, nginx: Callable[..., Nginx]) -> None:
    server = nginx('limit_rate 512k;')
    (server.www / 'image').write_bytes(LARGE)

    assert fetch(server.uri, connections=4) == LARGE

    assert server.shows(f'-{len(LARGE) - 1}"')
    given = ranges(server)
    assert len(given) > 1
    assert all(before[1] < after[0] for before, after in itertools.pairwise(given))  # nothing twice
    assert given[-1][1] == len(LARGE) - 1


def test_all_connections_go_where_the_first_was_led_with_its_login(fetch: Fetch, origin: Origin) -> None:
    origin.content, origin.rate = LARGE, 512 * 1024
    origin.headers = {'Accept-Ranges': 'bytes'}
    origin.statuses = [(302, {'Location': origin.uri.replace('image', 'other')})]

    assert fetch(origin.uri.replace('//', '//otto:geheim@'), connections=4) == LARGE
    assert origin.most >= 2
    assert len({request.get('Authorization') for request in origin.requests}) == 1


@pytest.mark.parametrize('case', ['one', 'limited', 'weak', 'no-etag', 'no-ranges'])
def test_where_it_cannot_be_or_may_not_be_there_is_one(fetch: Fetch, nginx: Callable[..., Nginx], case: str) -> None:
    more = {
        'no-etag': 'etag off;',
        'no-ranges': 'max_ranges 0;',
        'weak': 'etag off; add_header ETag W/"weak";',
    }.get(case, '')
    changes: dict[str, Any] = {'one': {'connections': 1}, 'limited': {'limit_rate': 10**7}}.get(case, {})
    server = nginx(f'limit_rate 1m; {more}')

    assert fetch(server.uri, **{'connections': 4, **changes}) == CONTENT
    assert server.shows('GET')
    assert server.seen().count('GET') == 1


def test_a_server_that_wants_one_connection_only_is_left_alone(fetch: Fetch, nginx: Callable[..., Nginx]) -> None:
    server = nginx('limit_rate 512k; limit_conn all 1;')

    assert fetch(server.uri, connections=4) == CONTENT
    assert ' 503 ' in server.seen()


def test_a_break_with_several_connections_loses_little(make: Make, nginx: Callable[..., Nginx], part: Any) -> None:
    server = nginx('limit_rate 512k;')
    (server.www / 'image').write_bytes(LARGE)
    got, restarted = bytearray(), False

    for data in make(server.uri, connections=4, attempts=8, pause=0.1).stream(part, lambda: False):
        got += data
        if not restarted and len(ranges(server)) > 4:
            server.stop()
            server.run()
            restarted = True

    assert restarted
    assert got == LARGE


def test_a_stop_ends_all_connections(make: Make, nginx: Callable[..., Nginx], part: Any) -> None:
    server = nginx('limit_rate 512k;')
    (server.www / 'image').write_bytes(LARGE)

    stream = make(server.uri, connections=4).stream(part, lambda: len(ranges(server)) > 3)
    got = b''.join(stream)

    assert got == LARGE[: len(got)] == part.read_bytes()
    deadline = time.monotonic() + 20
    while any(thread.name == 'receive-range' for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_changed_file_is_not_mixed_with_the_old_one(make: Make, origin: Origin, part: Any) -> None:
    origin.content, origin.rate = LARGE, 512 * 1024
    origin.headers = {'Accept-Ranges': 'bytes'}
    stream = make(origin.uri, connections=4).stream(part, lambda: False)
    got = bytearray()

    with pytest.raises(SourceChanged):
        for data in stream:
            got += data
            if len(origin.requests) > 4 and origin.etag == '"one"':
                origin.etag = '"two"'  # first, so that nobody is given new bytes with the old one
                origin.content = LARGE[::-1]

    assert got == LARGE[: len(got)]


def test_where_all_share_one_line_it_ends_with_one_connection(fetch: Fetch, origin: Origin) -> None:
    origin.content = LARGE
    origin.headers = {'Accept-Ranges': 'bytes'}
    origin.shared_rate = 2 * MEGABYTE

    assert fetch(origin.uri, connections=4) == LARGE
    last = origin.asked()[-1]
    assert last is not None and last.endswith(f'-{len(LARGE) - 1}')  # all that was left, in one range
    assert origin.most <= 3  # the one, the one more that was tried, and no others


# The core alone, against lines that are made up.


class Fake:
    """A line to ``content``, which fails as it is told."""

    def __init__(self, content: bytes, rate: float, fail: Callable[[int], bool] = lambda start: False) -> None:
        self.content, self.rate, self.fail = content, rate, fail

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, 8192):
            if self.fail(at):
                raise OSError('broken')
            piece = self.content[at : min(at + 8192, stop)]
            time.sleep(len(piece) / self.rate)
            yield piece

    def close(self) -> None:
        """Nothing is open."""


def test_when_some_lines_break_the_others_do_their_work() -> None:
    rate, broken = 512 * 1024, []

    def fail(at: int) -> bool:
        if at > 500_000 and len(broken) < 4:
            broken.append(at)
            return True
        return False

    first = Fake(CONTENT, rate).read(0, len(CONTENT))
    lines = Connections(first, 0, len(CONTENT), lambda: Fake(CONTENT, rate, fail), 4)

    assert b''.join(lines.pieces()) == CONTENT
    assert len(broken) == 4


def test_when_all_lines_break_it_is_said() -> None:
    rate = 512 * 1024
    first = Fake(CONTENT, rate).read(0, len(CONTENT))
    lines = Connections(first, 0, len(CONTENT), lambda: Fake(CONTENT, rate, lambda at: True), 4)
    got = bytearray()

    with pytest.raises(OSError, match='all connections broke'):
        for data in lines.pieces():
            got += data

    assert got == CONTENT[: len(got)]


def test_who_takes_slowly_bounds_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, most = 4 * MEGABYTE, [0]
    monkeypatch.setattr(connections, 'LONGEST', 128 * 1024)
    put = connections._Crew._put

    def watched(self: Any, at: int, data: bytes) -> bool:
        done = put(self, at, data)
        most[0] = max(most[0], sum(map(len, list(self._there.values()))))
        return done

    monkeypatch.setattr(connections._Crew, '_put', watched)
    lines = Connections(Fake(LARGE, rate).read(0, len(LARGE)), 0, len(LARGE), lambda: Fake(LARGE, rate), 4)
    got = bytearray()

    for data in lines.pieces():
        got += data
        if len(got) > 3 * MEGABYTE:
            time.sleep(0.005)

    assert got == LARGE
    assert 0 < most[0] <= 7 * 128 * 1024
