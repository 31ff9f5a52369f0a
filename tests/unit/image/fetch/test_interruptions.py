"""Every interruption of an HTTP download, and what happens."""

from __future__ import annotations

import datetime as dt
import signal
import socket
import socketserver
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ovca.image.errors import SourceError
from ovca.image.fetch import held
from ovca.image.fetch.answer import retry_after
from ovca.image.fetch.base import Fetcher, SourceChanged

from .conftest import CONTENT, MEGABYTE, OTHER, Fetch, Make, leave
from .peers import Nginx, Origin, wait_for

HALF = len(CONTENT) // 2

CHILD = """
    import sys
    from pathlib import Path
    sys.path[:0] = {path!r}
    from ovca.image.fetch.base import FetchOptions
    from ovca.image.fetch.http import HttpFetcher
    source = HttpFetcher({uri!r}, FetchOptions({{}}, limit_rate=1_000_000))
    for data in source.stream(Path({part!r}), lambda: False):
        pass
"""


def test_killed_at_any_moment_nothing_is_received_twice(fetch: Fetch, origin: Origin, part: Path) -> None:
    code = textwrap.dedent(CHILD).format(path=sys.path, uri=origin.uri, part=str(part))
    lengths = []
    for seconds in (0.05, 0.31, 0.17):
        before = part.stat().st_size if part.exists() else 0
        with subprocess.Popen([sys.executable, '-c', code]) as child:
            wait_for(lambda before=before: part.exists() and part.stat().st_size > before)
            time.sleep(seconds)
            child.send_signal(signal.SIGKILL)
        lengths.append(part.stat().st_size)

    assert fetch(origin.uri) == CONTENT
    assert origin.asked() == [None, *(f'bytes={length}-' for length in lengths)]


def test_after_a_power_loss_what_was_not_synced_is_received_again(
    make: Make, fetch: Fetch, origin: Origin, part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = leave(make(origin.uri), part, HALF)
    with part.open('ab') as stream:
        stream.write(bytes(300_000))  # the length reached the disk, the data did not
    (tmp_path / 'boot_id').write_text('another\n')
    monkeypatch.setattr(held, 'BOOT_ID', tmp_path / 'boot_id')

    assert fetch(origin.uri) == CONTENT
    assert origin.asked()[-1] == f'bytes={length}-'


def test_a_dropped_connection_is_taken_up_where_it_broke(fetch: Fetch, origin: Origin) -> None:
    origin.cuts = [HALF, 100_000]

    assert fetch(origin.uri) == CONTENT
    assert [asked is not None for asked in origin.asked()] == [False, True, True]
    assert origin.sent < len(CONTENT) + 4 * 16 * 1024


def test_a_proxy_that_always_cuts_is_no_end_as_long_as_something_comes(fetch: Fetch, origin: Origin) -> None:
    origin.always_cut = 100_000

    assert fetch(origin.uri, attempts=2, pause=0.0) == CONTENT
    assert len(origin.requests) > 15


def test_without_progress_it_is_given_up(fetch: Fetch, origin: Origin) -> None:
    origin.always_cut = 0

    with pytest.raises(SourceError, match='tried 3 times') as caught:
        fetch(origin.uri)

    assert caught.value.id == 'source-unreachable'
    assert len(origin.requests) == 3


def test_a_source_that_never_answered_is_not_waited_for_long(fetch: Fetch) -> None:
    with pytest.raises(SourceError, match='tried 4 times') as caught:
        fetch('http://127.0.0.1:9/image', attempts=1000, pause=0.0)

    assert caught.value.id == 'source-unreachable'


def test_a_server_that_restarts_in_the_middle_is_waited_for(
    make: Make, nginx: Callable[..., Nginx], part: Path
) -> None:
    server = nginx('limit_rate 512k;')
    got = bytearray()

    for data in make(server.uri, attempts=8, pause=0.1).stream(part, lambda: False):
        if not got:
            server.stop()
            server.run()
        got += data

    assert got == CONTENT
    assert server.shows('206 "bytes=')


@pytest.mark.parametrize('status', [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(fetch: Fetch, origin: Origin, status: int) -> None:
    origin.statuses = [(status, {})] * 2

    assert fetch(origin.uri) == CONTENT


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept, without that it was."""
    found: list[float] = []
    monkeypatch.setattr(Fetcher, '_sleep', staticmethod(lambda seconds, stopped: found.append(seconds)))
    return found


@pytest.mark.parametrize('status', [429, 503])
def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(
    fetch: Fetch, origin: Origin, status: int, notices: list[str]
) -> None:
    origin.statuses = [(status, {'Retry-After': '1'})]
    begun = time.monotonic()

    assert fetch(origin.uri) == CONTENT
    assert time.monotonic() - begun >= 1.0
    assert len(notices) == 1
    assert notices[0].startswith(f'{origin.uri}: the server answers {status} ')
    assert notices[0].endswith('asks for 1 s of patience; it is asked again in 1 s (attempt 2 of 3)')


@pytest.mark.parametrize(
    ('asked', 'seconds'),
    [
        ('120', 120.0),
        ('86400', 600.0),  # nobody waits for a day; it is asked again before
        ('Wed, 25 Nov 2026 10:02:00 GMT', 120.0),
        ('Wednesday, 25-Nov-26 10:02:00 GMT', 120.0),
        ('Wed Nov 25 10:02:00 2026', 120.0),
        ('Wed, 25 Nov 2026 09:00:00 GMT', 0.01),  # it is over
        ('0', 0.01),
        ('soon', 0.01),
        ('-5', 0.01),
        ('1.5', 0.01),
        ('9' * 5000, 0.01),
        ('Wed, 99 Nov 2026 10:02:00 GMT', 0.01),
        ('', 0.01),
    ],
)
def test_what_a_server_asks_for_is_bounded_and_may_be_nonsense(
    fetch: Fetch, origin: Origin, slept: list[float], notices: list[str], asked: str, seconds: float
) -> None:
    # Its clock is its own: a date counts from the one that it tells.
    origin.statuses = [(503, {'Retry-After': asked, 'Date': 'Wed, 25 Nov 2026 10:00:00 GMT'})]

    assert fetch(origin.uri) == CONTENT
    assert slept[0] == seconds
    assert len(notices) == (seconds > 1)


def test_without_a_date_of_its_own_the_time_of_a_busy_server_is_held_against_our_clock() -> None:
    now = dt.datetime(2026, 11, 25, 10, 0, tzinfo=dt.UTC)

    assert retry_after({'Retry-After': 'Wed, 25 Nov 2026 10:00:30 GMT'}, now) == 30.0


def test_a_server_that_stays_busy_is_given_up(fetch: Fetch, origin: Origin, slept: list[float]) -> None:
    origin.statuses = [(429, {'Retry-After': '400'})] * 9

    with pytest.raises(SourceError, match=r'the server answers 429 .*; tried 3 times'):
        fetch(origin.uri)

    assert slept == [400.0, 400.0]


def test_a_stop_is_heeded_at_once_while_a_busy_server_is_left_alone(
    make: Make, origin: Origin, part: Path, notices: list[str]
) -> None:
    origin.statuses = [(503, {'Retry-After': '300'})]

    assert list(make(origin.uri).stream(part, lambda: bool(notices))) == []
    assert len(origin.requests) == 1


def test_a_stalled_connection_is_given_up_and_taken_up_again(fetch: Fetch, origin: Origin, part: Path) -> None:
    origin.stall_at = HALF

    with pytest.raises(SourceError, match='less than 1000 bytes a second'):
        fetch(origin.uri, low_speed_limit=1000, low_speed_time=0.5, attempts=1)
    origin.stall_at = None

    assert fetch(origin.uri) == CONTENT
    assert int(str(origin.asked()[-1]).strip('bytes=-')) >= HALF - 256 * 1024


def test_a_silent_connection_is_given_up(fetch: Fetch) -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        uri = f'http://127.0.0.1:{silent.getsockname()[1]}/image'
        with pytest.raises(SourceError, match='ReadTimeout'):
            fetch(uri, read_timeout=0.2, attempts=1)


def test_a_source_that_is_not_there_is_told_by_what_the_system_says(fetch: Fetch) -> None:
    with socket.create_server(('127.0.0.1', 0)) as gone:
        port = gone.getsockname()[1]

    with pytest.raises(SourceError, match=r'no connection \(Connection refused\); see whether it runs'):
        fetch(f'http://127.0.0.1:{port}/image', attempts=1)


# The source is not what it was.


@pytest.mark.parametrize('kind', ['etag', 'last-modified', 'length'])
def test_a_changed_source_is_begun_anew_and_it_is_said(
    make: Make, fetch: Fetch, origin: Origin, part: Path, kind: str
) -> None:
    if kind == 'last-modified':
        origin.etag, origin.headers = None, {'Last-Modified': 'Mon, 02 Nov 2026 10:00:00 GMT'}
        origin.ranges = False
    leave(make(origin.uri), part, HALF)
    origin.content = OTHER + b'more' if kind == 'length' else OTHER
    if kind == 'etag':
        origin.etag = '"two"'
    if kind == 'last-modified':
        origin.headers = {'Last-Modified': 'Tue, 03 Nov 2026 10:00:00 GMT'}

    with pytest.raises(SourceChanged, match='it has changed since a part of it was received') as caught:
        fetch(origin.uri)

    assert caught.value.id == 'source-changed'
    assert not part.exists()
    assert fetch(origin.uri) == origin.content


def test_a_source_that_became_shorter_than_the_part_is_begun_anew(
    make: Make, fetch: Fetch, origin: Origin, part: Path
) -> None:
    leave(make(origin.uri), part, HALF)
    origin.content = CONTENT[:1000]  # and the server answers 416

    with pytest.raises(SourceChanged):
        fetch(origin.uri)

    assert fetch(origin.uri) == CONTENT[:1000]


def test_a_part_that_is_complete_is_found_to_be_so(fetch: Fetch, origin: Origin) -> None:
    assert fetch(origin.uri) == CONTENT
    sent = origin.sent

    assert fetch(origin.uri) == CONTENT
    assert (origin.asked()[-1], origin.sent) == (f'bytes={len(CONTENT)}-', sent)  # 416


def test_a_416_that_names_no_length_is_enough_when_the_length_is_known(fetch: Fetch, origin: Origin) -> None:
    assert fetch(origin.uri) == CONTENT
    origin.statuses = [(416, {})]

    assert fetch(origin.uri) == CONTENT


def test_a_server_without_ranges_is_read_from_its_beginning_and_compared(
    make: Make, fetch: Fetch, origin: Origin, part: Path, notices: list[str]
) -> None:
    leave(make(origin.uri), part, HALF)
    origin.ranges = False

    assert fetch(origin.uri) == CONTENT
    assert notices[-1].startswith(f'{origin.uri} cannot be taken up in its middle')


def test_a_server_without_ranges_that_has_another_file_is_found_out(make: Make, origin: Origin, part: Path) -> None:
    origin.etag, origin.cuts = None, [HALF]
    stream = make(origin.uri).stream(part, lambda: False)
    next(stream)
    origin.content = OTHER

    with pytest.raises(SourceChanged):
        list(stream)


def test_without_a_validator_nothing_is_joined_unseen(fetch: Fetch, origin: Origin, notices: list[str]) -> None:
    origin.etag, origin.cuts = 'W/"weak"', [HALF]

    assert fetch(origin.uri) == CONTENT
    assert origin.asked() == [None, None]
    assert len(notices) == 1


def test_a_time_of_the_very_second_of_the_answer_is_no_validator(fetch: Fetch, origin: Origin) -> None:
    now = 'Fri, 01 Jan 2100 10:00:00 GMT'
    origin.etag, origin.cuts, origin.headers = None, [HALF], {'Last-Modified': now}

    assert fetch(origin.uri) == CONTENT
    assert origin.asked() == [None, None]


@pytest.mark.parametrize('time', ['nonsense', 'Mon, 01 Jan 2024 00:00:00 +99999999999999'])
def test_a_time_that_is_none_is_no_validator(fetch: Fetch, origin: Origin, time: str) -> None:
    origin.etag, origin.cuts, origin.headers = None, [HALF], {'Last-Modified': time}

    assert fetch(origin.uri) == CONTENT
    assert origin.asked() == [None, None]


@pytest.mark.parametrize('shift', [-4096, 4096])
def test_a_wrong_range_is_not_believed(
    make: Make, fetch: Fetch, origin: Origin, part: Path, notices: list[str], shift: int
) -> None:
    leave(make(origin.uri), part, HALF)
    origin.shift = shift

    assert fetch(origin.uri) == CONTENT
    assert 'answers with another range than the one asked for' in notices[0]


def test_a_range_of_another_length_is_not_joined(make: Make, fetch: Fetch, origin: Origin, part: Path) -> None:
    length = leave(make(origin.uri), part, HALF)
    origin.headers = {'Content-Range': f'bytes {length}-{len(CONTENT)}/{len(CONTENT) + 1}'}

    with pytest.raises(SourceChanged):
        fetch(origin.uri)


def test_fewer_bytes_than_were_announced_are_not_the_end(fetch: Fetch, origin: Origin) -> None:
    origin.content, origin.ranges = CONTENT[:HALF], False
    origin.headers = {'Content-Length': str(HALF + 10), 'Connection': 'close'}

    with pytest.raises(SourceError, match='tried 3 times'):
        fetch(origin.uri)


def test_what_is_packed_on_the_way_is_refused(fetch: Fetch, origin: Origin) -> None:
    origin.headers = {'Content-Encoding': 'gzip'}

    with pytest.raises(SourceError, match='changes the content on the way') as caught:
        fetch(origin.uri)

    assert caught.value.id == 'source-altered'
    assert origin.requests[0]['Accept-Encoding'] == 'identity'


def test_a_stop_is_heeded_while_it_waits(make: Make, origin: Origin, part: Path) -> None:
    origin.always_cut = 0
    looks: Iterator[bool] = iter([False, False, True, True, True, True])

    assert list(make(origin.uri, pause=10.0, attempts=9).stream(part, lambda: next(looks))) == []
    assert len(origin.requests) == 1  # it is not asked again for nobody


def test_a_limit_for_the_rate_holds_over_breaks(make: Make, origin: Origin, part: Path) -> None:
    origin.content, origin.cuts = CONTENT[: MEGABYTE // 2], [100_000, 200_000]
    begun = time.monotonic()

    got = b''.join(make(origin.uri, limit_rate=MEGABYTE, pause=0.0).stream(part, lambda: False))

    assert got == origin.content
    assert time.monotonic() - begun >= 0.45  # never above the rate; below it is no mistake of ours


@pytest.fixture(params=['a head without an end', 'another answer is to come, again and again'])
def endless(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URI of a server that says something all the time, and never what is asked for."""
    again = b'X' if request.param.startswith('a head') else b'HTTP/1.1 100 Continue\r\n\r\n'
    stop = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with suppress(OSError):
                self.request.sendall(b'HTTP/1.1 200 OK\r\nX-Y: ' if again == b'X' else b'')
                while not stop.wait(0.02):
                    self.request.sendall(again)

    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_address[1]}/image'
        stop.set()
        server.shutdown()


def test_an_answer_that_never_begins_is_given_up(fetch: Fetch, endless: str) -> None:
    with pytest.raises(SourceError, match='no connection') as caught:
        fetch(endless, read_timeout=0.3, attempts=1)

    assert caught.value.id == 'source-unreachable'


def test_who_waits_for_an_answer_that_never_begins_can_be_woken(make: Make, part: Path, endless: str) -> None:
    source, ended = make(endless, read_timeout=60, attempts=1), list[Exception]()

    def receive() -> None:
        try:
            list(source.stream(part, lambda: bool(stopped)))
        except SourceError as exc:
            ended.append(exc)

    stopped = list[bool]()
    waiting = threading.Thread(target=receive, daemon=True)
    waiting.start()
    time.sleep(0.2)  # either it waits by now, or it is told before it does

    stopped.append(True)
    source.interrupt()
    waiting.join(20)

    assert not waiting.is_alive(), 'a thread and a connection would be left, for as long as the server likes'
