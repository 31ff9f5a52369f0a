"""The types of the options: what oslo.config has no type for, or has one that lets too much through.

No message repeats the value: it may be a secret. An empty value of an option that may be absent means that there is
none, so that a site can take back what a vendor's default says.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import urllib.parse
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from oslo_config import types

_SCHEME = re.compile(r'[a-z][a-z0-9+.-]*', re.IGNORECASE)
_DATABASE = re.compile(r'(sqlite|postgres(ql)?)(\+[a-z0-9_]+)?://\S+')
_MAC = re.compile(r'[0-9a-f]{2}([:-][0-9a-f]{2}){5}')
_NAME = re.compile(r'[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?')
_EXTENSION = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]*')


class Checked(types.ConfigType):
    """A word or a line that a function checks, and may write in its usual form.

    The function raises ``ValueError`` with what the value has to be. An empty one becomes ``nothing``, unless the
    option is ``needed``.
    """

    def __init__(
        self, what: str, check: Callable[[str], str], *, needed: bool = False, nothing: str | None = None
    ) -> None:
        super().__init__(type_name=what)
        self._check, self._needed, self._nothing = check, needed, nothing

    def __call__(self, value: Any) -> str | None:
        text = str(value).strip()
        if not text:
            if self._needed:
                raise ValueError('it must not be empty')
            return self._nothing
        if not text.isprintable():
            raise ValueError('it holds characters that cannot be printed, or goes over more than one line')
        return self._check(text)

    def __repr__(self) -> str:
        return f'Checked({self.type_name!r})'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checked) and vars(self) == vars(other)

    def _formatter(self, value: Any) -> str:
        return str(value)


def uri(*schemes: str, path: bool = False) -> Checked:
    """A URI with a host; of these schemes, if any are given. ``path`` takes the path of a file as well."""

    def check(text: str) -> str:
        if path and text.startswith('/'):
            return text
        form = 'it must be a URI such as ' + ' or '.join(f'{s}://host/path' for s in schemes or ('https',))
        form += ', or the absolute path of a file' if path else ''
        try:
            parts = urllib.parse.urlsplit(text)
            host, _ = parts.hostname, parts.port  # the port is looked at when it is asked for
        except ValueError as exc:
            raise ValueError(f'{form}; its host or port is wrong') from exc
        if not _SCHEME.fullmatch(parts.scheme) or (schemes and parts.scheme.lower() not in schemes) or ' ' in text:
            raise ValueError(form)
        if not host and not (path and parts.scheme == 'file' and parts.path.startswith('/')):
            raise ValueError(form)
        return text

    return Checked('URI', check)


def one_of(*words: str) -> Checked:
    """One of these words."""

    def check(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f'it must be {", ".join(words[:-1])} or {words[-1]}')
        return text.lower()

    return Checked(' or '.join(words), check, needed=True)


def _database(text: str) -> str:
    if not _DATABASE.fullmatch(text):
        raise ValueError('it must be sqlite:////path/ovca.sqlite or postgresql://user:password@host/name')
    return text


def _path(text: str) -> str:
    if not text.startswith('/') or '\0' in text:
        raise ValueError('it must be an absolute path, beginning with /')
    return text


def _pattern(text: str) -> str:
    if '..' in PurePosixPath(text).parts or not text.strip('/'):
        raise ValueError('it must be a path or pattern below the root, without ..')
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("it must be a node's name: letters, digits, dots, dashes and underscores")
    return text


def _extension(text: str) -> str:
    if not _EXTENSION.fullmatch(text):
        raise ValueError('it must be the name of an extension, as `ovca plugin-list` shows it')
    return text


def _interface(text: str) -> str:
    if len(text) > 15 or '/' in text or ' ' in text:
        raise ValueError('it must be the name of a network interface, as `ip link` shows it')
    return text


def _address(text: str) -> str:
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError('it must be an IP address, with /prefix if it likes, as 192.0.2.10/24') from None
    return found.with_prefixlen if '/' in text else str(found.ip)


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError('it must be an IP address, as 192.0.2.11') from None


def _mac(text: str) -> str:
    if not _MAC.fullmatch(text.lower()):
        raise ValueError('it must be the address of a network card, as 52:54:00:00:00:01')
    return text.lower().replace('-', ':')


def _word(text: str) -> str:
    if ' ' in text:
        raise ValueError('it must be one word, without blanks')
    return text


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise ValueError(f'it must be a command: {exc}') from None
    if not words:
        raise ValueError('it must be a command')
    return text


def _line(text: str) -> str:
    return text


ADDRESS = Checked('IP address with or without a prefix', _address, needed=True)
COMMAND = Checked('command', _command)
COMMAND_NEEDED = Checked('command', _command, needed=True)
DATABASE = Checked('database URL', _database)
EXTENSION = Checked('name of an extension', _extension, needed=True)
HOST = Checked('IP address', _host, needed=True)
INTERFACE = Checked('network interface', _interface)
LINE = Checked('line of text', _line)
LINE_OR_EMPTY = Checked('line of text', _line, nothing='')
MAC = Checked('MAC address', _mac, needed=True)
NODE = Checked('node name', _name)
NODE_NEEDED = Checked('node name', _name, needed=True)
PATH = Checked('absolute path', _path)
PATH_NEEDED = Checked('absolute path', _path, needed=True)
PATTERN = Checked('path or pattern below the root', _pattern, needed=True)
WORD = Checked('word', _word)
WORD_NEEDED = Checked('word', _word, needed=True)


def dict_of(item: Checked) -> types.Dict:
    """One for each name, as name:value pairs with commas between."""
    return types.Dict(value_type=item, type_name=f'name:value pairs, each value a {item.type_name}')
