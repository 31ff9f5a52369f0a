"""Certificates, logins and redirects of HTTP sources."""

from __future__ import annotations

import base64
import logging
import ssl
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from ovca.exceptions import ConfigError
from ovca.image.errors import SourceError

from .conftest import CONTENT, Fetch
from .peers import Nginx, Origin, serving

LOGIN = 'Basic ' + base64.b64encode('otto:ge/h@im ß'.encode()).decode()
IN_URI = 'otto:ge%2Fh%40im%20%C3%9F@'
TLS = 'ssl_certificate {0}; ssl_certificate_key {0}; ssl_client_certificate {1}; ssl_verify_client on;'


@pytest.fixture
def elsewhere() -> Iterator[Origin]:
    """Another host."""
    with serving(Origin()) as server:
        server.content = CONTENT
        yield server


@pytest.fixture
def logins(tmp_path: Path) -> Path:
    path = tmp_path / 'logins'
    path.write_text('machine 127.0.0.1 login otto password "ge/h@im ß"\n')
    path.chmod(0o600)
    return path


def redirected(origin: Origin, to: str, times: int = 1) -> None:
    origin.statuses = [(302, {'Location': to})] * times


# Certificates.


def test_only_the_configured_authority_is_trusted(fetch: Fetch, tls_nginx: Nginx, ca_file: str) -> None:
    with pytest.raises(SourceError, match='ca_file') as caught:
        fetch(tls_nginx.uri)

    assert caught.value.id == 'certificate-untrusted'
    assert fetch(tls_nginx.uri, ca_file=ca_file) == CONTENT


def test_a_server_that_speaks_no_tls_is_told_from_one_that_is_not_there(
    fetch: Fetch, nginx: Callable[..., Nginx]
) -> None:
    uri = nginx().uri.replace('http:', 'https:')

    with pytest.raises(SourceError, match=r'no TLS connection \(\w+\); see whether the source speaks HTTPS'):
        fetch(uri)


def test_a_certificate_for_another_name_is_not_trusted(
    fetch: Fetch, nginx: Callable[..., Nginx], authority: trustme.CA, tmp_path: Path, ca_file: str
) -> None:
    other = tmp_path / 'other.pem'
    authority.issue_cert('images.example.com').private_key_and_cert_chain_pem.write_to_path(str(other))
    server = nginx(f'ssl_certificate {other}; ssl_certificate_key {other};', tls=True)

    with pytest.raises(SourceError) as caught:
        fetch(server.uri, ca_file=ca_file)

    assert caught.value.id == 'certificate-untrusted'


def test_a_source_that_asks_for_a_certificate_gets_ours(
    fetch: Fetch, nginx: Callable[..., Nginx], authority: trustme.CA, certificate: Path, tmp_path: Path, ca_file: str
) -> None:
    server = nginx(TLS.format(certificate, ca_file), tls=True)
    ours = authority.issue_cert('mn1.example.com')
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / 'ours.pem'))
    ours.private_key_pem.write_to_path(str(tmp_path / 'ours.key'))
    (tmp_path / 'ours.key').chmod(0o600)
    files = {'client_certificate': str(tmp_path / 'ours.pem'), 'client_key': str(tmp_path / 'ours.key')}

    with pytest.raises(SourceError, match='400'):
        fetch(server.uri, ca_file=ca_file)

    assert fetch(server.uri, ca_file=ca_file, **files) == CONTENT


@pytest.mark.parametrize(
    ('mode', 'key', 'id'),
    [(0o644, 'right', 'secret-file-open'), (0o600, 'wrong', 'client-certificate'), (None, '', 'client-certificate')],
)
def test_a_key_that_cannot_be_used_is_named(
    fetch: Fetch, tls_nginx: Nginx, authority: trustme.CA, tmp_path: Path, mode: int | None, key: str, id: str
) -> None:
    ours, path = authority.issue_cert('mn1.example.com'), tmp_path / 'ours.key'
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / 'ours.pem'))
    if mode is not None:
        (ours if key == 'right' else authority.issue_cert('b.example.com')).private_key_pem.write_to_path(str(path))
        path.chmod(mode)

    with pytest.raises(ConfigError, match=r'\[update\] client_') as caught:
        fetch(tls_nginx.uri, client_certificate=str(tmp_path / 'ours.pem'), client_key=str(path))

    assert caught.value.id == id


def test_a_file_of_authorities_that_holds_none_is_named(fetch: Fetch, tls_nginx: Nginx, tmp_path: Path) -> None:
    (tmp_path / 'empty.pem').write_text('nothing')

    with pytest.raises(ConfigError, match='ca_file') as caught:
        fetch(tls_nginx.uri, ca_file=str(tmp_path / 'empty.pem'))

    assert caught.value.id == 'ca-file'


# Logins.


def test_a_login_in_the_uri_is_sent(fetch: Fetch, origin: Origin) -> None:
    assert fetch(origin.uri.replace('//', f'//{IN_URI}')) == CONTENT
    assert origin.requests[0]['Authorization'] == LOGIN


def test_a_login_in_the_file_is_sent_to_its_host(fetch: Fetch, origin: Origin, logins: Path) -> None:
    assert fetch(origin.uri, credentials_file=str(logins)) == CONTENT
    assert origin.requests[0]['Authorization'] == LOGIN


def test_without_a_login_none_is_sent_and_the_refusal_says_what_to_do(fetch: Fetch, origin: Origin) -> None:
    origin.statuses = [(401, {'WWW-Authenticate': 'Basic'})]

    with pytest.raises(SourceError, match='credentials_file') as caught:
        fetch(origin.uri)

    assert caught.value.id == 'source-login'
    assert 'Authorization' not in origin.requests[0]


def test_a_login_is_shown_nowhere(
    fetch: Fetch, origin: Origin, part: Path, notices: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    origin.ranges, origin.cuts = False, [len(CONTENT) // 2] * 3

    with pytest.raises(SourceError) as caught:
        fetch(origin.uri.replace('//', f'//{IN_URI}') + '?token=geheim', attempts=2)

    told = [str(caught.value), repr(caught.value.__cause__), caplog.text, *notices]
    told += [path.read_text() for path in part.parent.glob('part.json')]
    assert notices
    for secret in ('ge%2Fh', 'ge/h', 'otto', 'token', 'geheim', LOGIN[8:]):
        assert secret not in ' '.join(told)


def test_a_server_whose_head_is_broken_is_read_and_no_query_is_logged(
    fetch: Fetch, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    origin.headers = {'X-Odd': 'one\r\nthis line is no header'}

    assert fetch(f'{origin.uri}?token=geheim') == CONTENT

    assert 'geheim' not in caplog.text
    assert 'Traceback' not in caplog.text


def test_another_login_takes_up_the_same_part(fetch: Fetch, origin: Origin) -> None:
    origin.cuts = [len(CONTENT) // 2]
    with pytest.raises(SourceError):
        fetch(origin.uri.replace('//', '//otto:old@'), attempts=1)

    assert fetch(origin.uri.replace('//', '//otto:new@')) == CONTENT
    assert origin.asked()[-1] is not None


# Redirects.


def test_a_login_is_not_taken_to_another_host(fetch: Fetch, origin: Origin, elsewhere: Origin) -> None:
    redirected(origin, elsewhere.uri.replace('127.0.0.1', 'localhost'))

    assert fetch(origin.uri.replace('//', f'//{IN_URI}')) == CONTENT
    assert origin.requests[0]['Authorization'] == LOGIN
    assert 'Authorization' not in elsewhere.requests[0]


def test_a_login_is_not_taken_to_another_port(fetch: Fetch, origin: Origin, elsewhere: Origin) -> None:
    redirected(origin, elsewhere.uri)

    assert fetch(origin.uri.replace('//', f'//{IN_URI}')) == CONTENT
    assert 'Authorization' not in elsewhere.requests[0]


def test_within_a_host_the_login_stays(fetch: Fetch, origin: Origin) -> None:
    redirected(origin, '/other')

    assert fetch(origin.uri.replace('//', f'//{IN_URI}')) == CONTENT
    assert origin.requests[1]['Authorization'] == LOGIN


@pytest.mark.parametrize(('times', 'followed'), [(5, True), (6, False)])
def test_redirects_are_limited(fetch: Fetch, origin: Origin, times: int, followed: bool) -> None:
    redirected(origin, '/other', times)

    if followed:
        assert fetch(origin.uri) == CONTENT
    else:
        with pytest.raises(SourceError, match='redirects more than 5 times') as caught:
            fetch(origin.uri)
        assert caught.value.id == 'redirect-refused'


@pytest.mark.parametrize('to', ['file:///etc/passwd', 'ftp://127.0.0.1/image', 'gopher://127.0.0.1/'])
def test_a_redirect_leads_to_no_other_kind_of_source(fetch: Fetch, origin: Origin, to: str) -> None:
    redirected(origin, to)

    with pytest.raises(SourceError, match='not followed') as caught:
        fetch(origin.uri)

    assert caught.value.id == 'redirect-refused'


def test_a_redirect_never_leads_from_https_to_http(
    fetch: Fetch, nginx: Callable[..., Nginx], certificate: Path, ca_file: str, origin: Origin
) -> None:
    more = f'ssl_certificate {certificate}; ssl_certificate_key {certificate}; return 302 {origin.uri};'
    server = nginx(more, tls=True)

    with pytest.raises(SourceError, match='from HTTPS to HTTP') as caught:
        fetch(server.uri, ca_file=ca_file)

    assert caught.value.id == 'redirect-refused'
    assert origin.requests == []


# What is shown with --debug.


@pytest.mark.parametrize(
    'uri', ['http://otto:geheim@127.0.0.1:1/x?token=geheim', 'http://127.0.0.1:x/?token=geheim', 'http://{}?geheim']
)
def test_not_even_with_its_causes_does_an_error_tell_a_secret_of_the_uri(fetch: Fetch, uri: str) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(uri)

    told = ''.join(traceback.format_exception(caught.value))
    assert 'geheim' not in told
    assert ('127.0.0.1:1/' not in uri) or 'ConnectionRefusedError' in told, 'what the system says is of use'


def test_authorities_of_the_system_that_cannot_be_looked_at_are_named(
    fetch: Fetch, tls_nginx: Nginx, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ssl.get_default_verify_paths()._replace(cafile=None, capath=str(tmp_path / 'taken away'))
    monkeypatch.setattr(ssl, 'get_default_verify_paths', lambda: there)

    with pytest.raises(ConfigError, match=f'{there.capath}, .* cannot be read: No such file.*ca_file') as caught:
        fetch(tls_nginx.uri)

    assert caught.value.id == 'ca-file'
    assert fetch(tls_nginx.uri, ca_file=ca_file) == CONTENT
