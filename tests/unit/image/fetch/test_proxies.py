"""Which sources are reached without a proxy."""

from __future__ import annotations

import pytest

from ovca.image.fetch.proxies import bypasses, chosen


@pytest.mark.parametrize(
    ('host', 'port', 'entry', 'expected'),
    [
        ('images.example.com', 443, '*', True),
        ('example.com', 443, 'example.com', True),
        ('images.example.com', 443, 'example.com', True),
        ('badexample.com', 443, 'example.com', False),
        ('example.com.evil.net', 443, 'example.com', False),
        ('EXAMPLE.com', 443, 'Example.COM', True),
        ('example.com.', 443, 'example.com', True),
        ('example.com', 443, 'example.com.', True),
        ('images.example.com', 443, '.example.com', True),
        ('a.b.example.com', 443, '.example.com', True),
        ('example.com', 443, '.example.com', False),
        ('images.example.com', 443, '*.example.com', True),
        ('example.com', 443, '*.example.com', False),
        ('example.com', 443, '.', False),
        ('example.com', 443, '', False),
        ('example.com', 8443, 'example.com:8443', True),
        ('example.com', 443, 'example.com:8443', False),
        ('images.example.com', 8443, '.example.com:8443', True),
        ('example.com', 8443, '*:8443', True),
        ('example.com', 443, '*:8443', False),
        ('10.1.2.3', 80, '10.0.0.0/8', True),
        ('11.1.2.3', 80, '10.0.0.0/8', False),
        ('10.1.2.3', 80, '10.1.2.99/24', True),
        ('10.1.2.3', 80, '10.1.2.3', True),
        ('10.1.2.3', 80, '10.1.2.3:80', True),
        ('10.1.2.3', 81, '10.1.2.3:80', False),
        ('10.1.2.33', 80, '10.1.2.3', False),
        ('110.1.2.3', 80, '10.1.2.3', False),
        ('10.1.2.3', 80, '2.3', False),
        ('images.example.com', 80, '10.0.0.0/8', False),
        ('fd00::1:2', 80, 'fd00::/8', True),
        ('2001:db8::1', 80, 'fd00::/8', False),
        ('10.1.2.3', 80, 'fd00::/8', False),
        ('fd00::1', 80, 'fd00:0::1', True),
        ('[fd00::1]', 80, '[fd00::1]', True),
        ('fd00::1', 80, '[fd00::1]:80', True),
        ('fd00::1', 81, '[fd00::1]:80', False),
        ('::ffff:10.1.2.3', 80, '10.0.0.0/8', True),
        ('localhost', 80, '127.0.0.0/8', False),
        ('example.com', 80, '10.0.0.0/99', False),
        ('', 80, 'example.com', False),
    ],
)
def test_an_entry_is_a_name_a_suffix_an_address_or_a_network(host: str, port: int, entry: str, expected: bool) -> None:
    assert bypasses(host, port, ['other.invalid', entry]) is expected
    assert bypasses(host, port, []) is False


@pytest.mark.parametrize(
    ('uri', 'expected'),
    [
        ('http://a.example.com/x', 'http://one'),
        ('HTTPS://a.example.com/x', 'http://two'),
        ('ftp://a.example.com/x', 'http://three'),
        ('ftps://a.example.com/x', 'http://three'),
        ('https://b.example.com/x', None),
        ('https://b.example.com:8443/x', 'http://two'),
        ('ftp://c.example.com/x', None),
        ('tape://a.example.com/x', None),
    ],
)
def test_each_scheme_has_a_proxy_of_its_own(uri: str, expected: str | None) -> None:
    proxies = {'http': 'http://one', 'https': 'http://two', 'ftp': 'http://three'}

    assert chosen(uri, proxies, ['b.example.com:443', 'c.example.com:21']) == expected
    assert chosen(uri, {}, []) is None
