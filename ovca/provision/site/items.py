"""The site items of the core, and which items this configuration has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from ovca import plugins
from ovca.conf import secrets
from ovca.exceptions import ConfigError
from ovca.provision.site.base import GROUP, FileItem, SiteItem

if TYPE_CHECKING:
    from oslo_config import cfg

FIRST = ('configuration', 'ssh-host-keys', 'certificates', 'network')
PATHS = ('client_certificate', 'client_key', 'certificates')
"""Options that name files, and do not say so by their name."""
IN_URL = ('sslrootcert', 'sslcert', 'sslkey', 'sslcrl', 'passfile')
"""What names a file in the URL of a PostgreSQL database:
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"""
LAST = 'files'
"""A file belongs to the first item that takes it, and what an operator lists by hand may be any."""


class ConfigurationItem(FileItem):
    """``/etc/ovca.conf``, its keys and secrets, and every file that one of its options names, or the database's URL."""

    patterns = ('etc/ovca.conf', 'etc/ovca.conf.d/*', 'etc/ovca/keys/*', 'etc/ovca/secrets/*')

    def covers(self) -> Sequence[str]:
        return [*self.patterns, *self._named()]

    def _named(self) -> Iterator[str]:
        root = Path(self.conf.provision.root)
        for value, folder in (*self._options(), *((value, False) for value in self._in_url())):
            if isinstance(value, str) and value.startswith('/') and Path(value).is_relative_to(root):
                inner = _literal(Path(value).relative_to(root).as_posix())
                yield f'{inner}/*' if folder else inner

    def _options(self) -> Iterator[tuple[Any, bool]]:
        """What options name, and whether it is a folder."""
        options: dict[str, Any] = dict(getattr(self.conf, 'options', {}))
        for group, listed in options.items():
            for option in listed:
                folder = option.dest == 'key_folder'
                if folder or option.dest.endswith('_file') or option.dest in PATHS:
                    value = getattr(self.conf[group], option.dest)
                    yield from ((each, folder) for each in (value if isinstance(value, list) else [value]))

    def _in_url(self) -> Iterator[str]:
        """What the database's URL names; of one that cannot be had, the service tells."""
        try:
            query = urlsplit(str(secrets.configured(self.conf, 'database', 'connection') or '')).query
        except (ConfigError, ValueError):
            return
        yield from (value for name, value in parse_qsl(query) if name in IN_URL)


def _literal(path: str) -> str:
    return ''.join(f'[{letter}]' if letter in '*?[' else letter for letter in path)


class SshHostKeys(FileItem):
    """What the node proves with who it is, when somebody logs in."""

    patterns = ('etc/ssh/ssh_host_*',)


class Certificates(FileItem):
    """The site's own certificates and keys, where Debian and Red Hat keep them; not the bundles made of them."""

    patterns = (
        'etc/ovca/tls/*',
        'etc/ssl/private/*',
        'etc/ssl/certs/*.pem',
        'etc/ssl/certs/*.crt',
        'usr/local/share/ca-certificates/**/*',
        'etc/pki/tls/private/*',
        'etc/pki/tls/certs/*',
        'etc/pki/ca-trust/source/anchors/*',
    )
    made = ('etc/ssl/certs/ca-certificates.crt', 'etc/pki/tls/certs/ca-bundle.crt')

    def paths(self, root: Path) -> list[str]:
        # A bundle of the old system would hide which authorities the new one trusts no more.
        return [path for path in super().paths(root) if path not in self.made]


class Files(FileItem):
    """The files that ``[provision] site_files`` lists."""

    def covers(self) -> Sequence[str]:
        return list(self.conf.provision.site_files)


def configured(conf: cfg.ConfigOpts) -> list[str]:
    """The names of the items: the core's and those of ``[provision] site_items``."""
    return list(dict.fromkeys([*FIRST, *conf.provision.site_items, LAST]))


def load(conf: cfg.ConfigOpts) -> list[SiteItem]:
    """Return the items, in the order in which they take files.

    :raises PluginError: one of them cannot be loaded.
    """
    found = []
    for name in configured(conf):
        item: SiteItem = plugins.build(GROUP, name, conf, api=SiteItem.api)
        item.name = name
        found.append(item)
    return found
