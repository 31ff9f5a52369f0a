"""A channel, from the index on a vendor's server to the published image; on each engine."""

from __future__ import annotations

import datetime as dt
import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ovca.db import models
from ovca.db.models import Request
from ovca.image import index
from ovca.image.build import build, keygen
from tests.operated import OLD, Operated
from tests.unit.daemon.conftest import Clerk, until

Download = Callable[..., Request]


class Vendor:
    """Bundles and an index behind an address."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self.folder, self.url = folder, ''
        self.secret, _ = keygen(keys, 'vendor')
        (folder / 'tree').mkdir(parents=True)
        (folder / 'tree/file').write_text('content')

    def image(self, version: str, update_from: str, *stones: str) -> None:
        build(
            self.folder / f'{version}.zip', version=version, mgmt=self.folder / 'tree', update_from=update_from,
            stepping_stones=stones, secret_key=self.secret,
        )  # fmt: skip

    def publish(self, *, days: float = 30, **changes: Any) -> str:
        now = dt.datetime.now(dt.UTC)
        arguments = {'expires_at': now + dt.timedelta(days=days), 'now': now, **changes}
        index.make(self.folder, self.folder / 'channel.json', self.secret, **arguments)
        return f'{self.url}/channel.json'


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def vendor(tmp_path: Path, operated: Operated) -> Iterator[Vendor]:
    vendor = Vendor(tmp_path / 'www', tmp_path / 'keys')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(vendor.folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    vendor.url = f'http://127.0.0.1:{server.server_address[1]}'
    operated.configure('mn1', f'key_folder = {tmp_path / "keys"}\n[update]\nuri = {vendor.url}/channel.json\n')
    yield vendor
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def download(operated: Operated, clerk: Clerk) -> Download:
    def run(uri: str, kind: str = 'download', **args: Any) -> Request:
        number = operated.service().submit(kind, uri=uri, **args)
        master = clerk()
        master.step()
        master.join(30)
        return operated.requests()[number - 1]

    return run


def here(operated: Operated) -> list[str]:
    return sorted(image.version for image in operated.service().images())


def test_the_newest_image_that_may_be_installed_is_fetched(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    vendor.image('1.1.0', '1.0.0')
    vendor.image('1.2.0', '1.0.0')
    vendor.image('2.0.0', '1.0.0', '1.2.0')

    request = download(vendor.publish())

    assert (request.state, request.error) == ('done', None)
    assert (request.result or {})['path'] == ['1.2.0', '2.0.0']
    assert here(operated) == ['1.2.0']


def test_what_is_here_already_is_not_fetched_again(operated: Operated, vendor: Vendor, download: Download) -> None:
    vendor.image('1.1.0', '1.0.0')
    uri = vendor.publish()
    first = download(uri)
    (vendor.folder / '1.1.0.zip').unlink()

    second = download(uri)

    assert (second.state, second.result) == ('done', first.result), second.error


def test_when_the_newest_one_runs_there_is_nothing_to_do(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    vendor.image('1.0.0', '0.9')
    uri = vendor.publish()

    for kind in ('download', 'update'):
        request = download(uri, kind)

        assert (request.state, request.result) == ('done', {'up_to_date': '1.0.0'}), request.error
    assert here(operated) == []


def test_when_the_newest_one_is_on_one_node_only_its_update_is_followed(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    vendor.image('1.0.0', '0.9')
    operated.image('1.0.0', OLD)
    number = operated.update('PROVING', version='1.0.0', digest=OLD)

    request = download(vendor.publish(), 'update')

    assert (request.state, (request.result or {}).get('update_id')) == ('done', number), request.error


def test_that_there_is_no_way_is_said_with_the_version_between(vendor: Vendor, download: Download) -> None:
    vendor.image('3.0.0', '2.0.0')

    request = download(vendor.publish())

    assert request.state == 'failed'
    assert '1.0.0 is too old for all that it has: 3.0.0 needs 2.0.0 or newer' in (request.error or '')
    assert (request.result or {})['error_id'] == 'no-path'


def test_a_version_that_is_named_is_fetched_or_refused_by_its_manifest(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    vendor.image('1.1.0', '1.0.0')
    vendor.image('1.2.0', '1.0.0')
    vendor.image('2.0.0', '1.1.0')
    uri = vendor.publish()

    named, unknown, too_far = (download(uri, version=version) for version in ('1.1.0', '9.9', '2.0.0'))

    assert (named.state, here(operated)) == ('done', ['1.1.0']), named.error
    assert (unknown.result or {})['error_id'] == 'not-offered'
    assert '2.0.0 needs 1.1.0 or newer, but 1.0.0 runs' in (too_far.error or '')


def test_a_bundle_that_is_not_the_one_of_the_index_is_refused(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    vendor.image('1.1.0', '1.0.0')
    uri = vendor.publish()
    (vendor.folder / 'tree/file').write_text('another content')
    vendor.image('1.1.0', '1.0.0')

    request = download(uri)

    assert (request.result or {})['error_id'] == 'channel-differs', request.error
    assert here(operated) == []


def test_a_bundle_of_another_version_is_the_vendors_fault(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    vendor.image('1.1.0', '1.0.0')
    uri = vendor.publish()
    vendor.image('1.2.0', '1.0.0')
    (vendor.folder / '1.2.0.zip').replace(vendor.folder / '1.1.0.zip')

    request = download(uri, version='1.1.0')

    assert (request.result or {})['error_id'] == 'channel-differs', request.error
    assert 'the channel offers version 1.1.0' in (request.error or '')
    assert 'holds version 1.2.0' in (request.error or '')
    assert here(operated) == []


def test_an_index_that_goes_back_is_refused_by_both_nodes(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    vendor.image('1.1.0', '1.0.0')
    uri = vendor.publish()
    old = {path: path.read_bytes() for path in vendor.folder.glob('channel.json*')}
    vendor.publish()
    assert download(uri).state == 'done'
    for path, data in old.items():
        path.write_bytes(data)

    request = download(uri)

    assert (request.result or {})['error_id'] == 'channel-old', request.error
    with operated.database.read() as session:
        assert [(row.uri, row.serial) for row in session.query(models.Channel)] == [(uri, 2)]
    with pytest.raises(Exception, match='2 was seen before'):
        operated.service().available()


def test_an_index_that_has_expired_is_refused(vendor: Vendor, download: Download) -> None:
    vendor.image('1.1.0', '1.0.0')

    request = download(vendor.publish(days=-1))

    assert (request.result or {})['error_id'] == 'channel-expired', request.error


def test_what_the_channel_has_is_shown_with_the_way_to_it(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    for version, before in (
        ('0.9', '0.8'),
        ('1.0.0', '0.9'),
        ('1.1.0', '1.0.0'),
        ('2.0.0', '1.1.0'),
        ('9.0.0', '8.0.0'),
    ):
        vendor.image(version, before)
    download(vendor.publish(critical=['2.0.0']), version='1.1.0')

    found = operated.service().available()

    assert [(view.version, view.state, view.path) for view in found] == [
        ('9.0.0', 'unreachable', ()),
        ('2.0.0', 'offered', ('1.1.0', '2.0.0')),
        ('1.1.0', 'here', ('1.1.0',)),
        ('1.0.0', 'running', ()),
        ('0.9', 'older', ()),
    ]
    assert found[0].remark == '9.0.0 needs 8.0.0 or newer, but 1.0.0 runs'
    assert [view.critical for view in found[:2]] == [False, True]


def test_on_the_schema_of_the_software_before_nothing_is_remembered_and_all_else_works(
    operated: Operated, vendor: Vendor, download: Download
) -> None:
    with operated.database.write() as session:
        session.execute(text('DROP TABLE channel'))
    vendor.image('1.1.0', '1.0.0')

    assert download(vendor.publish()).state == 'done'


def test_a_download_is_aborted_at_once_also_while_the_server_of_the_index_wants_to_be_left_alone(
    operated: Operated, clerk: Clerk
) -> None:
    class Busy(Quiet):
        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header('Retry-After', '600')
            self.end_headers()

    service = operated.service()
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Busy) as server:
        threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True).start()
        number = service.submit('download', uri=f'http://127.0.0.1:{server.server_address[1]}/channel.json')
        master = clerk()
        assert master.step()
        until(lambda: 'notice' in (operated.requests()[-1].progress or {}))

        service.abort_download(number)
        master.join(20)
        server.shutdown()

    row = operated.requests()[-1]
    assert (row.state, row.result) == ('failed', {'error_id': 'download-aborted'})
    assert 'asks for 600 s of patience' in row.progress['notice']  # the operator was told why it does not go on
