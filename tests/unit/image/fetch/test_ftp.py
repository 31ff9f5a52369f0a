"""FTP and FTPS sources, and their interruptions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ovca.image.errors import SourceError
from ovca.image.fetch.base import Fetcher, SourceChanged
from ovca.testing import contracts

from .conftest import CONTENT, OTHER, Fetch, Make, leave, options
from .ftpd import Ftpd
from .peers import wait_for

Start = Callable[..., Ftpd]
HALF = len(CONTENT) // 2


class TestContract(contracts.FetchContract):
    name = 'ftp'

    @pytest.fixture(autouse=True)
    def _server(self, ftpd: Start) -> None:
        self.server = ftpd()

    def make_source(self, content: bytes) -> str:
        path = self.server.folder / 'source file'
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        return self.server.uri.replace('//', '//otto:geheim@').replace('image', 'source%20file')

    def make_missing(self) -> str:
        return self.server.uri.replace('//', '//otto:geheim@').replace('image', 'nothing')

    def make_driver(self, uri: str) -> Fetcher:
        return self.loaded()(uri, options(attempts=2))


@pytest.mark.parametrize('passive', [True, False])
def test_it_is_read_in_passive_and_in_active_mode(fetch: Fetch, ftpd: Start, passive: bool) -> None:
    server = ftpd()

    assert fetch(server.uri, ftp_passive=passive) == CONTENT
    assert server.logins == ['anonymous']
    modes = {line.split()[0] for line in server.commands} & {'PASV', 'EPSV', 'PORT', 'EPRT'}
    assert modes <= ({'PASV', 'EPSV'} if passive else {'PORT', 'EPRT'}) and modes


@pytest.mark.parametrize('passive', [True, False])
def test_a_dropped_connection_is_taken_up_by_rest(fetch: Fetch, ftpd: Start, passive: bool) -> None:
    server = ftpd()
    server.cuts = [HALF, 100_000]

    assert fetch(server.uri, ftp_passive=passive) == CONTENT
    rests = [int(line.split()[1]) for line in server.commands if line.startswith('REST')]
    assert len(rests) == 2
    assert HALF <= rests[0] < rests[1] < len(CONTENT)


def test_a_later_download_goes_on_where_an_earlier_one_ended(make: Make, fetch: Fetch, ftpd: Start, part: Path) -> None:
    server = ftpd()
    length = leave(make(server.uri), part, HALF)

    assert fetch(server.uri) == CONTENT
    assert f'REST {length}' in server.commands


def test_what_is_complete_is_not_sent_again(fetch: Fetch, ftpd: Start) -> None:
    server = ftpd()
    assert fetch(server.uri) == CONTENT

    assert fetch(server.uri) == CONTENT
    assert len([line for line in server.commands if line.startswith('RETR')]) == 1


@pytest.mark.parametrize('content', [OTHER + b'longer', OTHER[:1000]])
def test_a_changed_file_is_begun_anew(make: Make, fetch: Fetch, ftpd: Start, part: Path, content: bytes) -> None:
    server = ftpd()
    leave(make(server.uri), part, HALF)
    (server.folder / 'image').write_bytes(content)

    with pytest.raises(SourceChanged):
        fetch(server.uri)

    assert fetch(server.uri) == content


def test_a_stalled_transfer_is_given_up(fetch: Fetch, ftpd: Start, part: Path) -> None:
    server = ftpd()
    server.stall_at = HALF

    with pytest.raises(SourceError, match='tried 1 times') as caught:
        fetch(server.uri, read_timeout=0.3, attempts=1)
    server.stall_at = None

    assert caught.value.id == 'source-unreachable'
    assert part.stat().st_size > HALF - 256 * 1024
    assert fetch(server.uri) == CONTENT


def test_a_stalled_transfer_ends_at_once_when_nobody_wants_it_any_more(make: Make, ftpd: Start, part: Path) -> None:
    server, stop = ftpd(), threading.Event()
    server.stall_at = HALF
    source = make(server.uri, read_timeout=60.0)
    ended: list[BaseException] = []

    def receive() -> None:
        try:
            for _ in source.stream(part, stop.is_set):
                pass
        except SourceError as exc:
            ended.append(exc)

    thread = threading.Thread(target=receive)
    thread.start()
    wait_for(lambda: part.exists() and part.stat().st_size >= HALF)
    stop.set()
    while thread.is_alive():  # it may have been between two reads
        source.interrupt()
        thread.join(0.1)

    assert [each.id for each in ended if isinstance(each, SourceError)] == ['source-unreachable']


def test_a_wrong_password_is_not_tried_again_and_not_shown(fetch: Fetch, ftpd: Start) -> None:
    server = ftpd()

    with pytest.raises(SourceError) as caught:
        fetch(server.uri.replace('//', '//otto:falsch@'))

    assert caught.value.id == 'source-login'
    assert 'falsch' not in str(caught.value) and 'otto' not in str(caught.value)
    assert server.commands.count('PASS') == 1


def test_the_login_of_the_host_is_taken_from_the_file(fetch: Fetch, ftpd: Start, tmp_path: Path) -> None:
    server = ftpd()
    file = tmp_path / 'logins'
    file.write_text('machine 127.0.0.1 login otto password geheim\n')
    file.chmod(0o600)

    assert fetch(server.uri, credentials_file=str(file)) == CONTENT
    assert server.logins == ['otto']


@pytest.mark.parametrize('passive', [True, False])
def test_ftps_protects_login_and_data(
    fetch: Fetch, ftpd: Start, certificate: Path, ca_file: str, passive: bool
) -> None:
    server = ftpd(certificate)
    uri = server.uri.replace('//', '//otto:geheim@')

    assert fetch(uri, ca_file=ca_file, ftp_passive=passive) == CONTENT
    assert server.commands.index('AUTH TLS') < server.commands.index('USER otto')
    assert server.commands.index('PROT P') < server.commands.index('RETR image')


def test_ftps_is_resumed(make: Make, fetch: Fetch, ftpd: Start, certificate: Path, ca_file: str, part: Path) -> None:
    server = ftpd(certificate)
    length = leave(make(server.uri, ca_file=ca_file), part, HALF)

    assert fetch(server.uri, ca_file=ca_file) == CONTENT
    assert f'REST {length}' in server.commands


def test_ftps_trusts_only_the_configured_authority(fetch: Fetch, ftpd: Start, certificate: Path) -> None:
    server = ftpd(certificate)

    with pytest.raises(SourceError, match='ca_file') as caught:
        fetch(server.uri.replace('//', '//otto:geheim@'))

    assert caught.value.id == 'certificate-untrusted'
    assert 'PASS' not in server.commands


def test_where_tls_is_required_ftp_does_without_nothing(fetch: Fetch, ftpd: Start) -> None:
    server = ftpd()

    with pytest.raises(SourceError) as caught:
        fetch(server.uri.replace('//', '//otto:geheim@'), ftp_tls='require')

    assert caught.value.id == 'ftp-no-tls'
    assert 'PASS' not in server.commands


def test_where_tls_is_required_a_plain_scheme_is_read_by_it(
    fetch: Fetch, ftpd: Start, certificate: Path, ca_file: str
) -> None:
    server = ftpd(certificate)

    assert fetch(server.uri.replace('ftps', 'ftp'), ftp_tls='require', ca_file=ca_file) == CONTENT


@pytest.mark.parametrize('uri', ['ftp://host.invalid/', 'ftp://host.invalid/a%0d%0aDELE%20b', 'ftp://host:99999/a'])
def test_a_uri_without_a_file_is_refused(fetch: Fetch, uri: str) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(uri)

    assert caught.value.id == 'bad-uri'


def test_a_server_that_is_away_is_said_to_be(fetch: Fetch) -> None:
    with pytest.raises(SourceError, match='tried 3 times') as caught:
        fetch('ftp://127.0.0.1:9/image')

    assert caught.value.id == 'source-unreachable'
