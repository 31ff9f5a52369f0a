"""Which proxy a source is reached through. Pure: no name is resolved."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

PORTS = {'http': 80, 'https': 443, 'ftp': 21, 'ftps': 21}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def chosen(uri: str, proxies: Mapping[str, str], no_proxy: Iterable[str]) -> str | None:
    """The proxy for a URI, or None when it is reached directly. ``ftps`` has that of ``ftp``."""
    parts = urlsplit(uri)
    scheme = parts.scheme.lower()
    proxy = proxies.get('ftp' if scheme == 'ftps' else scheme)
    if not proxy or bypasses(parts.hostname or '', parts.port or PORTS.get(scheme, 0), no_proxy):
        return None
    return proxy


def bypasses(host: str, port: int, no_proxy: Iterable[str]) -> bool:
    """Whether a host is reached without a proxy.

    An entry is ``*`` (all), a name (``example.com``: it and all below it), a suffix (``.example.com``: all below it),
    an address, or a network (``10.0.0.0/8``, ``fd00::/8``); all but a network may end in ``:port``, an IPv6 address
    then stands in brackets. A network is compared with addresses only, as names are not resolved.
    """
    name = host.strip('[]').rstrip('.').lower()
    return any(_matches(name, port, entry.strip().lower()) for entry in no_proxy)


def _matches(host: str, port: int, entry: str) -> bool:
    address = _address(host)
    if '/' in entry:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
        return address is not None and address.version == network.version and address in network
    entry, wanted = _split(entry)
    if wanted is not None and wanted != port:
        return False
    if entry == '*':
        return True
    if address is not None or _address(entry) is not None:
        return address is not None and address == _address(entry)
    bare = entry.removeprefix('*').rstrip('.')
    if bare.startswith('.'):
        return len(bare) > 1 and host.endswith(bare)
    return bool(bare) and (host == bare or host.endswith(f'.{bare}'))


def _split(entry: str) -> tuple[str, int | None]:
    """The entry without its port, and the port."""
    if entry.startswith('['):
        inside, _, rest = entry[1:].partition(']')
        return inside, int(rest[1:]) if rest[1:].isdigit() else None
    before, colon, after = entry.rpartition(':')
    if colon and after.isdigit() and ':' not in before:
        return before, int(after)
    return entry, None


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    # ::ffff:10.0.0.1 is 10.0.0.1, however it is written.
    return getattr(found, 'ipv4_mapped', None) or found
