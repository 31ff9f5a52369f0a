"""Reading a source: one driver for each scheme."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from ovca import plugins
from ovca.image.errors import SourceError

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.image.fetch.base import Fetcher

GROUP = 'ovca.fetch'


def redacted(uri: str) -> str:
    """The URI without user, password and query: the form that may be shown and stored."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition('@')[2]
    return urlunsplit((parts.scheme, host, parts.path, '', ''))


def fetcher(uri: str, conf: cfg.ConfigOpts, *, limit_rate: int | None = None) -> Fetcher:
    """Return the driver for the URI's scheme; a path without a scheme is a local file.

    ``limit_rate`` counts instead of ``[update] limit_rate``.

    :raises SourceError: there is no driver for it.
    """
    from ovca.image.fetch.base import Fetcher, FetchOptions  # those who only want to show a URI do without

    scheme = urlsplit(uri).scheme.lower() or 'file'
    if scheme not in plugins.names(GROUP):
        known = ', '.join(plugins.names(GROUP))
        raise SourceError(
            redacted(uri), f'sources of the kind {scheme} cannot be read; known are {known}', id='bad-uri'
        )
    options = FetchOptions.from_conf(conf)
    if limit_rate is not None:
        options = dataclasses.replace(options, limit_rate=limit_rate)
    driver: Fetcher = plugins.build(GROUP, scheme, uri, options, api=Fetcher.api)
    return driver
