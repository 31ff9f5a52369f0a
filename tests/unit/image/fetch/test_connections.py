"""Several connections: where one is the limit, and nowhere else."""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ovca.image.fetch import connections, crew
from ovca.image.fetch.base import SourceBusy, SourceChanged
from ovca.image.fetch.connections import Connections, Trial, helps
from ovca.image.fetch.rates import Pace

from .conftest import CONTENT, MEGABYTE, Fetch, Make
from .peers import Nginx, Origin

QUICK = Trial(settle=0.05, measure=0.2, range=0.05, worth=0.5)
LARGE = random.Random(6).randbytes(6 * MEGABYTE + 17)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connections, 'trial', QUICK)
    monkeypatch.setattr(connections, 'SHORTEST', 64 * 1024)


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many connections as may be, however busy this machine is: what they bring is not measured."""
    monkeypatch.setattr(Connections, 'trial', dataclasses.replace(QUICK, waiting=0.0))
    monkeypatch.setattr(connections, 'helps', lambda *_: True)


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


@pytest.mark.usefixtures('several')
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


@pytest.mark.usefixtures('several')
def test_a_server_that_wants_one_connection_only_is_left_alone(fetch: Fetch, nginx: Callable[..., Nginx]) -> None:
    server = nginx('limit_rate 512k; limit_conn all 1;')

    assert fetch(server.uri, connections=4) == CONTENT
    assert server.shows(' 503 ')


@pytest.mark.usefixtures('several')
def test_a_server_that_asks_to_be_left_alone_by_others_goes_on_with_the_one(
    make: Make, origin: Origin, part: Any, notices: list[str]
) -> None:
    origin.content, origin.rate = LARGE[: 3 * MEGABYTE], 1024 * 1024
    origin.headers = {'Accept-Ranges': 'bytes'}
    got = bytearray()

    for data in make(origin.uri, connections=4).stream(part, lambda: False):
        if not got:
            origin.statuses = [(429, {'Retry-After': '120'})]
        got += data

    assert got == origin.content
    assert origin.most == 1
    assert notices == []  # nobody waits


@pytest.mark.usefixtures('several')
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


@pytest.mark.usefixtures('several')
def test_a_server_that_restarts_costs_none_of_the_bytes_that_wait_for_their_turn(
    make: Make, nginx: Callable[..., Nginx], part: Any
) -> None:
    server = nginx('limit_rate 512k;')
    (server.www / 'image').write_bytes(LARGE)
    got, restarted = bytearray(), False

    for data in make(server.uri, connections=4, pause=1.0).stream(part, lambda: False):
        got += data
        if not restarted and len(ranges(server)) > 4:
            server.stop()
            server.run()
            restarted = True

    assert restarted
    assert got == LARGE
    assert not re.search(r'bytes=\d+-"', server.seen())  # nobody began anew where all had been given


@pytest.mark.usefixtures('several')
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


@pytest.mark.usefixtures('several')
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


def test_where_more_do_not_help_it_ends_with_one_connection(
    fetch: Fetch, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connections, 'trial', dataclasses.replace(QUICK, waiting=0.0))
    monkeypatch.setattr(connections, 'helps', lambda *_: False)
    origin.content = LARGE
    origin.headers = {'Accept-Ranges': 'bytes'}
    origin.shared = Pace(2 * MEGABYTE)

    assert fetch(origin.uri, connections=4) == LARGE
    last = origin.asked()[-1]
    assert last is not None and last.endswith(f'-{len(LARGE) - 1}')  # all that was left, in one range
    assert origin.most <= 3  # the one, the one more that was tried, and no others


# The judge alone, by a clock that is made up.


class Measured:
    """A crew that brings so many bytes a second for each at work, but ``most`` together."""

    def __init__(self, each: int, most: int) -> None:
        self.each, self.most = each, most
        self.received, self.lost, self.opened, self.lone = 0, 0, 1, False
        self.number = 1
        self.now = 0.0
        self.judge = connections._Judge(self, each, 4, Trial(), lambda: self.now)  # type: ignore[arg-type]
        self.judge.alone = False

    def work(self, number: int) -> None:
        self.number = number

    def pass_by(self, seconds: float, *, share: float = 1.0) -> None:
        """Let time pass, in which a share of what could come does so."""
        for _ in range(int(seconds * 10)):
            self.now += 0.1
            self.received += int(min(self.most, self.each * self.number) * share / 10)
            self.judge.look()


def test_where_all_share_one_line_no_more_are_tried_than_one() -> None:
    measured = Measured(each=1000, most=1000)
    measured.judge.hire()
    assert measured.number == 2

    measured.pass_by(3)

    assert (measured.number, measured.lone, measured.judge.helped) == (1, True, False)
    measured.most = 4000
    measured.pass_by(10)
    assert measured.number == 1


def test_as_many_are_tried_as_help() -> None:
    measured = Measured(each=1000, most=9000)
    measured.judge.hire()

    measured.pass_by(10)

    assert (measured.number, measured.lone, measured.judge.helped) == (4, False, True)


def test_those_that_do_not_help_go_again() -> None:
    measured = Measured(each=1000, most=2200)
    measured.judge.hire()

    measured.pass_by(10)

    assert (measured.number, measured.lone, measured.judge.helped) == (2, False, True)


def test_a_time_in_which_a_line_broke_does_not_count() -> None:
    measured = Measured(each=1000, most=9000)
    measured.judge.hire()

    measured.pass_by(1.5, share=0.0)
    measured.opened += 1
    measured.pass_by(3)

    assert measured.number == 4


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


class Breaking(Fake):
    """A line that breaks after ``pieces`` pieces, and notes what it gave."""

    def __init__(self, given: list[tuple[int, int]], pieces: int, *, rate: float = 512 * 1024) -> None:
        super().__init__(CONTENT, rate)
        self.given, self.pieces = given, pieces

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        at = start
        for piece in super().read(start, stop):
            if not self.pieces:
                raise OSError('broken')
            self.pieces -= 1
            self.given.append((at, at + len(piece)))
            at += len(piece)
            yield piece


def nothing_twice(given: list[tuple[int, int]]) -> bool:
    """Whether it follows one upon the other."""
    return all(before[1] == after[0] for before, after in itertools.pairwise(sorted(given)))


def test_a_line_that_breaks_is_opened_anew_and_nothing_comes_twice() -> None:
    given: list[tuple[int, int]] = []
    opened: list[Breaking] = []

    def line() -> Breaking:
        opened.append(Breaking(given, 7))
        return opened[-1]

    first = Fake(CONTENT, 512 * 1024).read(0, len(CONTENT))
    lines = Connections(first, 0, len(CONTENT), line, 4, pause=0.001)

    assert b''.join(lines.pieces()) == CONTENT
    assert len(opened) > 4
    assert nothing_twice(given)


def test_a_line_by_which_nothing_comes_any_more_is_given_up_after_some_times() -> None:
    opened: list[Breaking] = []

    def line() -> Breaking:
        opened.append(Breaking([], 3 if not opened else 0))
        return opened[-1]

    first = Fake(CONTENT, 512 * 1024).read(0, len(CONTENT))
    lines = Connections(first, 0, len(CONTENT), line, 2, pause=0.001)

    with pytest.raises(OSError, match='all connections broke'):
        list(lines.pieces())

    assert len(opened) == 1 + crew.REOPENED + 1 + crew.NEW_REOPENED  # the last ones take over from the first connection


def test_when_the_first_connection_breaks_the_others_read_what_it_left() -> None:
    given: list[tuple[int, int]] = []
    read = []

    def first() -> Iterator[bytes]:
        for piece in Fake(CONTENT, 512 * 1024).read(0, len(CONTENT)):
            if given:
                raise OSError('broken')
            read.append(len(piece))
            yield piece

    lines = Connections(first(), 0, len(CONTENT), lambda: Breaking(given, -1), 4)

    assert b''.join(lines.pieces()) == CONTENT
    assert nothing_twice([(0, sum(read)), *given])


def test_lines_that_are_far_ahead_read_what_others_left_behind_when_these_are_given_up() -> None:
    """Else they would wait for room that nobody makes."""
    length, hold = 8192, threading.Event()
    size = 12 * length

    class Late(Fake):
        """The first two ranges bring one byte, and then break once all others are as far as they can be."""

        def read(self, start: int, stop: int) -> Iterator[bytes]:
            if start in (0, length):
                yield self.content[start : start + 1]
                hold.wait(20)
                raise SourceBusy('busy', 60.0)
            for at in range(start, stop, 1024):
                yield self.content[at : min(at + 1024, stop)]

    workers = crew.Crew(lambda: Late(CONTENT, 1.0), 0, size, length)
    workers.work(4)
    deadline = time.monotonic() + 20
    while workers.received < 2 + 4 * length and time.monotonic() < deadline:
        time.sleep(0.01)
    hold.set()
    got = bytearray()
    while len(got) < size:
        got += workers.take(len(got))
        if workers.lost == 2:
            workers.given(len(got))
    workers.close()

    assert workers.lost == 2
    assert got == CONTENT[:size]


def test_a_range_that_is_longer_than_it_says_is_not_waited_behind() -> None:
    class Lying(Fake):
        def read(self, start: int, stop: int) -> Iterator[bytes]:
            yield from super().read(start, stop)
            yield b'more'

    workers = crew.Crew(lambda: Lying(CONTENT, 10 * MEGABYTE), 0, 100_000, 10_000, pause=0.001)
    workers.work(2)
    watchdog = threading.Timer(20, workers.close)
    watchdog.start()
    got = bytearray()

    with pytest.raises(SourceBusy, match='longer than'):
        while len(got) < 100_000:
            got += workers.take(len(got))
            workers.given(len(got))
    watchdog.cancel()

    assert got == CONTENT[: len(got)]


@pytest.mark.parametrize('error', [SourceBusy('busy', 90.0), crew.Refused('no ranges')])
def test_a_line_that_the_source_does_not_want_is_not_opened_anew(error: OSError) -> None:
    opened: list[int] = []

    class Busy(Fake):
        def read(self, start: int, stop: int) -> Iterator[bytes]:
            yield self.content[start : start + 1]
            raise error

    def line() -> Busy:
        opened.append(1)
        return Busy(CONTENT, 1.0)

    workers = crew.Crew(line, 0, 1000, 100, pause=0.001)
    workers.work(1)

    assert workers.take(0) == CONTENT[:1]
    with pytest.raises(SourceBusy) as caught:
        workers.take(1)
    assert caught.value.seconds == getattr(error, 'seconds', None)
    assert len(opened) == 1


def test_a_stop_from_outside_ends_the_wait_for_bytes() -> None:
    silent = threading.Event()

    class Silent(Fake):
        def read(self, start: int, stop: int) -> Iterator[bytes]:
            silent.wait(20)
            yield b''

    workers = crew.Crew(lambda: Silent(CONTENT, 1.0), 0, 1000, 100)
    workers.work(1)
    threading.Timer(0.1, workers.close).start()

    with pytest.raises(OSError, match='it was stopped'):
        workers.take(0)
    silent.set()


def test_who_takes_slowly_bounds_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, most = 4 * MEGABYTE, [0]
    monkeypatch.setattr(connections, 'LONGEST', 128 * 1024)
    put = crew.Crew._put

    def watched(self: Any, at: int, data: bytes) -> bool:
        done = put(self, at, data)
        most[0] = max(most[0], sum(map(len, list(self._there.values()))))
        return done

    monkeypatch.setattr(crew.Crew, '_put', watched)
    lines = Connections(Fake(LARGE, rate).read(0, len(LARGE)), 0, len(LARGE), lambda: Fake(LARGE, rate), 4)
    got = bytearray()

    for data in lines.pieces():
        got += data
        if len(got) > 3 * MEGABYTE:
            time.sleep(0.005)

    assert got == LARGE
    assert 0 < most[0] <= 7 * 128 * 1024
