"""Downloads as the acting master's service carries them out, with real bundles, and what operators do meanwhile."""

from __future__ import annotations

import functools
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.daemon.requests import Requests
from ovca.db.models import Image, Request
from ovca.exceptions import ImageError, Refused
from ovca.image.build import build, keygen
from tests.operated import Operated
from tests.unit.daemon.conftest import Clerk, breaks, until

SIZE = 3_000_000


class Slow(http.server.SimpleHTTPRequestHandler):
    """Sends the first megabyte, and the rest when it is told to; knows ranges."""

    go: threading.Event
    asked: list[str | None]
    patience: str | None = None
    """For how long a busy one wants to be left alone."""

    def do_GET(self) -> None:
        if self.patience is not None:
            self.send_response(503)
            self.send_header('Retry-After', self.patience)
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        self.asked.append(self.headers.get('Range'))
        start = int((self.headers.get('Range') or 'bytes=0-').removeprefix('bytes=').rstrip('-'))
        self.send_response(206 if start else 200)
        self.send_header('ETag', '"one"')
        self.send_header('Content-Length', str(len(data) - start))
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        self.end_headers()
        try:
            self.wfile.write(data[start : start + 1_000_000])
            self.go.wait(30)
            self.wfile.write(data[start + 1_000_000 :])
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        return None


class Source:
    """A vendor's server."""

    def __init__(self, url: str, handler: type[Slow]) -> None:
        self.url, self.handler = url, handler


@pytest.fixture
def source(tmp_path: Path, operated: Operated) -> Iterator[Source]:
    tree = tmp_path / 'tree'
    tree.mkdir()
    (tree / 'data').write_bytes(os.urandom(SIZE))
    secret, _ = keygen(tmp_path / 'keys', 'vendor')
    build(tmp_path / 'www/1.1.0.zip', version='1.1.0', mgmt=tree, secret_key=secret)
    build(tmp_path / 'www/0.9.zip', version='0.9', mgmt=tree, secret_key=secret)
    operated.configure('mn1', f'key_folder = {tmp_path / "keys"}\n')
    handler = type('OneSlow', (Slow,), {'go': threading.Event(), 'asked': []})
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(handler, directory=str(tmp_path / 'www'))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    yield Source(f'http://127.0.0.1:{server.server_address[1]}', handler)
    handler.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def row(operated: Operated, number: int) -> Request:
    return operated.requests()[number - 1]


def begun(operated: Operated, clerk: Requests, uri: str) -> int:
    """A download that is under way: bytes were received, and more are to come."""
    number = operated.service().submit('download', uri=uri)
    assert clerk.step()
    until(lambda: any((operated.folder / 'shared/.ovca-staging').glob('*.part')))
    return number


def test_a_running_download_stops_and_the_same_command_resumes_it(
    operated: Operated, clerk: Clerk, source: Source
) -> None:
    master, uri = clerk(), f'{source.url}/1.1.0.zip'
    number = begun(operated, master, uri)
    until(lambda: next((operated.folder / 'shared/.ovca-staging').glob('*.part')).stat().st_size >= 500_000)

    operated.service().abort_download(number)
    master.join(20)

    with pytest.raises(ImageError, match='was aborted by otto; what was received is kept') as caught:
        operated.service().wait(number)
    assert caught.value.id == 'download-aborted'
    assert operated.service().images() == []

    source.handler.go.set()
    again = operated.service().submit('download', uri=uri)
    master.step()
    master.join(20)

    assert (again, row(operated, again).state) == (2, 'done'), row(operated, again).error
    assert source.handler.asked[0] is None
    assert all(asked is not None and asked != 'bytes=0-' for asked in source.handler.asked[1:])


def test_a_source_that_has_changed_meanwhile_is_fetched_anew_and_the_journal_says_so(
    operated: Operated, clerk: Clerk, source: Source, tmp_path: Path
) -> None:
    master, uri = clerk(), f'{source.url}/1.1.0.zip'
    number = begun(operated, master, uri)
    until(lambda: next((operated.folder / 'shared/.ovca-staging').glob('*.part')).stat().st_size >= 500_000)
    operated.service().abort_download(number)
    master.join(20)
    (tmp_path / 'tree/more').write_bytes(os.urandom(1000))
    (tmp_path / 'www/1.1.0.zip').unlink()
    build(
        tmp_path / 'www/1.1.0.zip', version='1.1.0', mgmt=tmp_path / 'tree',
        secret_key=next((tmp_path / 'keys').glob('*.key')),
    )  # fmt: skip

    source.handler.go.set()
    again = operated.service().submit('download', uri=uri.replace('//', '//otto:geheim@'))
    master.step()
    master.join(20)

    assert row(operated, again).state == 'done', row(operated, again).error
    told = [event.detail for event in operated.service().journal(kind='image', limit=9)]
    assert f'{uri} has changed since a part of it was received; it is fetched anew' in told
    assert 'geheim' not in ' '.join(told)


def test_whoever_waits_for_a_download_sees_that_the_server_is_busy(
    operated: Operated, clerk: Clerk, source: Source
) -> None:
    source.handler.patience = '40'
    master = clerk()
    number = operated.service().submit('download', uri=f'{source.url}/1.1.0.zip')
    assert master.step()

    until(lambda: (row(operated, number).progress or {}).get('notice'))
    notice = (row(operated, number).progress or {})['notice']
    operated.service().abort_download(number)
    master.join(20)

    assert 'asks for 40 s of patience' in notice
    assert row(operated, number).state == 'failed'


def test_a_request_may_limit_the_rate(operated: Operated, clerk: Clerk, source: Source) -> None:
    source.handler.go.set()
    master, begin = clerk(), time.monotonic()
    number = operated.service().submit('download', uri=f'{source.url}/1.1.0.zip', limit_rate=SIZE)

    master.step()
    master.join(30)

    assert row(operated, number).state == 'done', row(operated, number).error
    assert time.monotonic() - begin >= 0.9  # how much longer depends on the machine


def test_a_download_that_waits_is_removed_and_the_others_go_on(
    operated: Operated, clerk: Clerk, source: Source
) -> None:
    master, service = clerk(), operated.service()
    running = begun(operated, master, f'{source.url}/1.1.0.zip')
    waiting = service.submit('download', uri='https://otto:geheim@example.com/x.zip')

    service.abort_download(waiting)

    found = {view.id: view for view in service.downloads()}
    assert (found[waiting].state, found[running].state) == ('failed', 'running')
    assert found[waiting].error == 'the download was aborted by otto before it began'
    assert 'geheim' not in str(row(operated, waiting).args)
    source.handler.go.set()
    master.join(20)
    assert not master.step()
    assert row(operated, running).state == 'done', row(operated, running).error
    assert [event.detail for event in service.journal(kind='image', limit=9)] == [
        f'download {waiting} was aborted by otto',
        'image 1.1.0 was published',
    ]


def test_an_abort_that_a_crash_outlives_is_carried_out_by_the_next_master(
    operated: Operated, clerk: Clerk, source: Source
) -> None:
    number = operated.service().submit('download', uri=f'{source.url}/1.1.0.zip')
    operated.progress(number, stage='download', done=1, total=2)
    operated.service().abort_download(number)

    master = clerk()
    master.step()
    master.join(20)

    assert (row(operated, number).state, source.handler.asked) == ('failed', [])
    assert (row(operated, number).result or {})['error_id'] == 'download-aborted'


def test_a_download_that_stops_as_the_lease_is_given_away_is_gone_on_with(
    operated: Operated, clerk: Clerk, source: Source
) -> None:
    master = clerk()
    number = begun(operated, master, f'{source.url}/1.1.0.zip')

    master.images._epoch = lambda: None  # it serves no more, and the row says so a moment later
    master.join(20)

    stopped = row(operated, number)
    assert (stopped.state, stopped.error) == ('running', None)
    source.handler.go.set()
    following = clerk()
    following.step()
    following.join(20)
    assert row(operated, number).state == 'done', row(operated, number).error


def test_a_download_goes_on_when_the_database_was_lost_for_a_moment(
    operated: Operated, clerk: Clerk, source: Source
) -> None:
    master = clerk()
    number = begun(operated, master, f'{source.url}/1.1.0.zip')
    breaks(master.lease, 1)  # in which it tells how far it is

    source.handler.go.set()
    master.join(20)

    assert row(operated, number).state == 'done', row(operated, number).error
    assert source.handler.asked == [None]


HOLDS = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from ovca.image import Store
with Store(Path({root!r}), owner='request 1 on mn2').lock():
    print('held', flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize('aborted', [False, True])
def test_whoever_leads_next_waits_until_the_download_of_the_one_before_has_let_go(
    operated: Operated, clerk: Clerk, source: Source, aborted: bool
) -> None:
    master, service = clerk(), operated.service()
    source.handler.go.set()
    code = HOLDS.format(path=sys.path, root=str(operated.folder / 'shared'))
    with subprocess.Popen(
        [sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == 'held\n'
        number = service.submit('download', uri=f'{source.url}/1.1.0.zip')
        master.step()
        until(lambda: 'notice' in (row(operated, number).progress or {}) or row(operated, number).error)
        if aborted:
            service.abort_download(number)
            master.join(20)
        holder.communicate('')
    master.join(20)

    ended = row(operated, number)
    (told,) = (event.detail for event in service.journal(kind='image', limit=9) if 'waits' in event.detail)
    assert re.fullmatch(rf'download {number} waits, as the images are still held by request 1 on mn2, since \S+Z', told)
    assert ended.state == ('failed' if aborted else 'done'), ended.error
    assert (ended.result or {}).get('error_id') == ('download-aborted' if aborted else None)


def test_what_has_ended_cannot_be_aborted(operated: Operated) -> None:
    number = operated.service().submit('download', uri='x')
    operated.finish(number, {'version': '1.1.0'})

    with pytest.raises(Refused, match='has ended already') as caught:
        operated.service().unfinished_download(number)
    assert caught.value.id == 'download-ended'
    with pytest.raises(Refused, match='has ended already'):
        operated.service().abort_download(number)


def test_a_download_tells_its_speed_and_the_lock_its_owner(operated: Operated, clerk: Clerk, source: Source) -> None:
    master = clerk()
    number = begun(operated, master, f'{source.url}/1.1.0.zip')

    owner = (operated.folder / 'shared/.ovca-staging/lock.owner').read_text()

    source.handler.go.set()
    master.join(20)
    progress = row(operated, number).progress or {}
    assert re.fullmatch(rf'request {number} on mn1, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ', owner)
    assert {'stage', 'done', 'total', 'bytes_per_second', 'seconds_left'} <= set(progress)


def test_a_download_goes_on_when_the_terminal_dies(operated: Operated, clerk: Clerk, source: Source) -> None:
    master = clerk()
    words = ['--config-file', str(operated.config_file), 'download', f'{source.url}/1.1.0.zip']
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}

    def heeds_it() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored here, too

    command = [sys.executable, '-m', 'ovca', *words]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, preexec_fn=heeds_it) as terminal:
        until(lambda: operated.requests())
        assert master.step()
        until(lambda: any((operated.folder / 'shared/.ovca-staging').glob('*.part')))
        terminal.send_signal(signal.SIGHUP)
        terminal.wait(20)

    source.handler.go.set()
    master.join(20)

    assert row(operated, 1).state == 'done', row(operated, 1).error
    assert [image.version for image in operated.service().images()] == ['1.1.0']


@pytest.mark.parametrize(
    ('lowest', 'asked', 'error'),
    [(None, True, 'does not allow'), ('0.9', None, 'was not asked for'), ('0.9', True, None)],
)
def test_an_older_image_is_fetched_only_for_a_downgrade_that_both_allow(
    operated: Operated, clerk: Clerk, source: Source, lowest: str | None, asked: bool | None, error: str | None
) -> None:
    source.handler.go.set()
    operated.image('1.0.0', 'a' * 64)
    with operated.database.write() as session:
        image = session.get_one(Image, '1.0.0')
        image.manifest = {**image.manifest, 'downgrade_to': lowest}
    number = operated.service().submit('download', uri=f'{source.url}/0.9.zip', allow_downgrade=asked)
    master = clerk()

    master.step()
    master.join(20)

    found = row(operated, number)
    assert (found.state, error is None or error in (found.error or '')) == ('failed' if error else 'done', True), (
        found.error
    )


@pytest.mark.parametrize(('kind', 'more'), [('update', {}), ('download', {'to_install': True})])
def test_an_update_that_could_not_begin_is_refused_before_the_bulk_is_downloaded(
    operated: Operated, clerk: Clerk, source: Source, kind: str, more: dict[str, bool]
) -> None:
    number = operated.update('INSTALL_1', version='2.0.0', digest='c' * 64, created_by='olga')
    service, master = operated.service(), clerk()
    request = service.submit(kind, uri=f'{source.url}/1.1.0.zip', **more)

    master.step()
    master.join(20)  # the server has sent its first megabyte, and would wait

    with pytest.raises(Refused, match=rf'update {number} to 2\.0\.0, which olga began at .*Z, is open') as caught:
        service.wait(request)
    assert caught.value.id == 'update-open'
    assert service.images() == []


def test_what_is_only_downloaded_is_not_refused_while_an_update_is_open(
    operated: Operated, clerk: Clerk, source: Source
) -> None:
    operated.update('INSTALL_1', version='2.0.0', digest='c' * 64)
    source.handler.go.set()
    service, master = operated.service(), clerk()
    request = service.submit('download', uri=f'{source.url}/1.1.0.zip')

    master.step()
    master.join(60)

    assert service.wait(request).state == 'done'


@pytest.mark.parametrize(('kind', 'more'), [('update', {}), ('download', {'to_install': True})])
def test_whoever_asks_again_for_the_open_update_is_not_told_that_there_is_nothing_to_do(
    operated: Operated, clerk: Clerk, source: Source, kind: str, more: dict[str, bool]
) -> None:
    source.handler.go.set()
    service, master = operated.service(), clerk()
    service.submit('download', uri=f'{source.url}/1.1.0.zip')
    master.step()
    master.join(20)
    (image,) = service.images()
    number = operated.update('PROVING', version=image.version, digest=image.digest)
    # The new software leads by now, and the other node is still to be installed.
    master = clerk(running=(image.version, image.digest))
    request = service.submit(kind, uri=f'{source.url}/1.1.0.zip', **more)

    master.step()
    master.join(20)

    found = service.wait(request).result or {}
    assert (found['version'], found.get('update_id')) == ('1.1.0', number if kind == 'update' else None)


def test_the_end_of_a_download_is_written_whatever_a_server_says_for_itself(operated: Operated, clerk: Clerk) -> None:
    class Odd(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b'HTTP/1.1 404 Not\x00Found\r\n\r\n')

        def log_message(self, format: str, *args: object) -> None:
            return None

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Odd) as server:
        threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True).start()
        number = operated.service().submit('download', uri=f'http://127.0.0.1:{server.server_address[1]}/1.1.0.zip')
        master = clerk()
        assert master.step()
        master.join(20)
        server.shutdown()

    assert row(operated, number).state == 'failed'
    assert str(row(operated, number).error).endswith(r'the server answers 404 Not\x00Found')


def test_a_bundle_is_published_whatever_bytes_its_name_has(
    operated: Operated, clerk: Clerk, source: Source, tmp_path: Path
) -> None:
    bundle = os.fsdecode(os.fsencode(tmp_path) + b'/f\xfcr mn1.zip')
    (tmp_path / 'www/1.1.0.zip').rename(bundle)
    service, master = operated.service(), clerk()
    number = service.submit('download', uri=bundle)

    master.step()
    master.join(20)

    assert row(operated, number).state == 'done', row(operated, number).error
    assert [str(image.source).rpartition('/')[2] for image in service.images()] == [r'f\udcfcr mn1.zip']
