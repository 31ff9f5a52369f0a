"""Who we are for a source: user and password in its URI, or in a file like ``.netrc``. Neither is ever shown."""

from __future__ import annotations

import netrc
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from ovca.conf import secrets
from ovca.exceptions import ConfigError

OPTION = '[update] credentials_file'


@dataclass(frozen=True)
class Login:
    """A user and a password; the representation tells neither."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def bare(uri: str) -> str:
    """The URI without user and password."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition('@')[2]))


def login(uri: str, file: str | None) -> Login | None:
    """The login for a URI: what stands in it counts before what the file says of its host.

    :raises ConfigError: the file cannot be used.
    """
    parts = urlsplit(uri)
    if parts.username:
        return Login(unquote(parts.username), unquote(parts.password or ''))
    return from_file(file, parts.hostname or '') if file else None


def from_file(path: str, host: str) -> Login | None:
    """The login of a host by a netrc-like file; a ``default`` in it is for no host, as it would be for every one.

    :raises ConfigError: the file cannot be read, is open to others, or is not written right.
    """
    secrets.content(path, OPTION)
    try:
        hosts = netrc.netrc(path).hosts
    except (netrc.NetrcParseError, UnicodeError, OSError):
        # No cause is kept: it would carry what was read.
        raise ConfigError(
            f'{OPTION} {path} is not written right; it holds lines "machine <host> login <user> password <password>"',
            id='credentials-file',
        ) from None
    found = {name.lower(): value for name, value in hosts.items() if name != 'default'}.get(host.lower())
    return Login(found[0] or '', found[2] or '') if found else None


def same_place(first: str, second: str) -> bool:
    """Whether a login for the first URI may be sent to the second: the same server, or the same by HTTPS."""
    ports = {'http': 80, 'https': 443}
    a, b = urlsplit(first), urlsplit(second)
    if (a.hostname or '').lower() != (b.hostname or '').lower():
        return False
    here, there = a.port or ports.get(a.scheme), b.port or ports.get(b.scheme)
    if a.scheme == b.scheme:
        return here == there
    return (a.scheme, here, b.scheme, there) == ('http', 80, 'https', 443)
