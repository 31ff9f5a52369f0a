"""HTTP, HTTPS and FTP through real proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovca.image.errors import SourceError

from .conftest import CONTENT, Fetch, Make, leave
from .ftpd import Ftpd
from .peers import Nginx, Squid, Tinyproxy


@pytest.fixture
def squid() -> Iterator[Callable[..., Squid]]:
    started: list[Squid] = []

    def run(**settings: Path) -> Squid:
        proxy = Squid(**settings)
        started.append(proxy)
        proxy.run()
        return proxy

    yield run
    for proxy in started:
        proxy.stop()


@pytest.fixture
def tinyproxy(tmp_path: Path) -> Iterator[Callable[..., Tinyproxy]]:
    started: list[Tinyproxy] = []

    def run(*more: str) -> Tinyproxy:
        proxy = Tinyproxy(tmp_path / f'tinyproxy{len(started)}', *more)
        started.append(proxy)
        proxy.run()
        return proxy

    yield run
    for proxy in started:
        proxy.stop()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """Squid's file with otto, whose password is ``geheim``."""
    path = tmp_path / 'users'
    path.write_text('otto:$apr1$ab$H4lqmiTQrlzL8CUTs4TjD0\n')
    return path


def test_http_goes_through_squid(fetch: Fetch, nginx: Callable[..., Nginx], squid: Callable[..., Squid]) -> None:
    server, proxy = nginx(), squid()

    assert fetch(server.uri, proxies={'http': f'http://{proxy.address}'}) == CONTENT
    assert proxy.shows(f'GET {server.uri}')


def test_a_break_behind_squid_is_resumed(
    make: Make, nginx: Callable[..., Nginx], squid: Callable[..., Squid], part: Path, fetch: Fetch
) -> None:
    server, proxy = nginx(), squid()
    proxies = {'http': f'http://{proxy.address}'}
    length = leave(make(server.uri, proxies=proxies), part, 500_000)

    assert fetch(server.uri, proxies=proxies) == CONTENT
    assert server.shows(f'206 "bytes={length}-"')


def test_https_goes_through_squid_by_connect(
    fetch: Fetch, tls_nginx: Nginx, squid: Callable[..., Squid], ca_file: str
) -> None:
    proxy = squid()

    assert fetch(tls_nginx.uri, proxies={'https': f'http://{proxy.address}'}, ca_file=ca_file) == CONTENT
    assert proxy.shows(f'CONNECT 127.0.0.1:{tls_nginx.port}')


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_proxy_that_wants_a_login_gets_it(
    fetch: Fetch,
    nginx: Callable[..., Nginx],
    tls_nginx: Nginx,
    squid: Callable[..., Squid],
    users: Path,
    ca_file: str,
    scheme: str,
) -> None:
    server = nginx() if scheme == 'http' else tls_nginx
    proxy = squid(users=users)

    got = fetch(server.uri, proxies={scheme: f'http://otto:geheim@{proxy.address}'}, ca_file=ca_file)
    with pytest.raises(SourceError, match=r'the proxy wants a login \(407\)') as caught:
        fetch(f'{server.uri}?again', proxies={scheme: f'http://otto:wrong@{proxy.address}'}, ca_file=ca_file)

    assert got == CONTENT
    assert proxy.shows('otto')
    assert 'otto' not in server.seen()
    assert caught.value.id == 'proxy-refused'
    assert 'wrong' not in str(caught.value)


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_proxy_may_be_spoken_to_by_tls(
    fetch: Fetch,
    nginx: Callable[..., Nginx],
    tls_nginx: Nginx,
    squid: Callable[..., Squid],
    certificate: Path,
    ca_file: str,
    scheme: str,
) -> None:
    server = nginx() if scheme == 'http' else tls_nginx
    proxy = squid(certificate=certificate)
    proxies = {scheme: f'https://{proxy.address}'}

    assert fetch(server.uri, proxies=proxies, ca_file=ca_file) == CONTENT
    assert proxy.shows(str(server.port))
    with pytest.raises(SourceError, match='not trusted') as caught:
        fetch(f'{server.uri}?again', proxies=proxies)
    assert caught.value.id == 'certificate-untrusted'


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_tinyproxy_does_as_well(
    fetch: Fetch,
    nginx: Callable[..., Nginx],
    tls_nginx: Nginx,
    tinyproxy: Callable[..., Tinyproxy],
    ca_file: str,
    scheme: str,
) -> None:
    server = nginx() if scheme == 'http' else tls_nginx
    proxy = tinyproxy('BasicAuth otto geheim')

    got = fetch(server.uri, proxies={scheme: f'http://otto:geheim@{proxy.address}'}, ca_file=ca_file)
    with pytest.raises(SourceError, match='407'):
        fetch(f'{server.uri}?again', proxies={scheme: f'http://{proxy.address}'}, ca_file=ca_file)

    assert got == CONTENT
    assert proxy.shows('GET' if scheme == 'http' else 'CONNECT')


def test_a_proxy_that_forbids_the_way_is_not_asked_again(
    fetch: Fetch, tls_nginx: Nginx, tinyproxy: Callable[..., Tinyproxy], ca_file: str
) -> None:
    proxy = tinyproxy('ConnectPort 563')

    with pytest.raises(SourceError, match=r'the proxy does not let us through \(403\)') as caught:
        fetch(tls_nginx.uri, proxies={'https': f'http://{proxy.address}'}, ca_file=ca_file)

    assert caught.value.id == 'proxy-refused'


def test_who_needs_no_proxy_is_reached_without(
    fetch: Fetch, nginx: Callable[..., Nginx], squid: Callable[..., Squid]
) -> None:
    server, proxy = nginx(), squid()

    got = fetch(server.uri, proxies={'http': f'http://{proxy.address}'}, no_proxy=('127.0.0.0/8',))

    assert got == CONTENT
    assert str(server.port) not in proxy.seen()


@pytest.mark.parametrize('login', ['', 'otto:geheim@'])
def test_ftp_goes_through_squid(
    fetch: Fetch, ftpd: Callable[..., Ftpd], squid: Callable[..., Squid], login: str
) -> None:
    server, proxy = ftpd(), squid()
    uri = server.uri.replace('//', f'//{login}')

    assert fetch(uri, proxies={'ftp': f'http://{proxy.address}'}) == CONTENT
    assert proxy.shows(f'GET {server.uri}')
    assert ('otto' if login else 'anonymous') in server.logins
    assert 'geheim' not in proxy.seen()


def test_ftp_through_squid_is_compared_after_a_break_since_its_ranges_are_wrong(
    make: Make,
    fetch: Fetch,
    ftpd: Callable[..., Ftpd],
    squid: Callable[..., Squid],
    part: Path,
    notices: list[str],
) -> None:
    server, proxy = ftpd(), squid()
    proxies = {'ftp': f'http://{proxy.address}'}
    leave(make(server.uri, proxies=proxies), part, 500_000)

    assert fetch(server.uri, proxies=proxies) == CONTENT
    assert [line for line in server.commands if line.startswith('REST')] == []
    assert 'compared' in notices[0]


def test_ftps_through_a_proxy_is_refused_with_a_way_round(fetch: Fetch) -> None:
    with pytest.raises(SourceError, match='no_proxy') as caught:
        fetch('ftps://images.example.com/image', proxies={'ftp': 'http://127.0.0.1:9'})

    assert caught.value.id == 'proxy-ftps'
