"""The session of requests that HTTP sources are read with, and what its errors mean."""

from __future__ import annotations

import re
import socket
import ssl
import time
import traceback
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from ovca.image.errors import SourceError
from ovca.image.fetch import tls
from ovca.image.fetch.base import FetchOptions, ProxyFailed

UNUSABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
    UnicodeError,
)
TUNNEL = re.compile(r'Tunnel connection failed: (\d+)')


def new_session(options: FetchOptions, given_up: Callable[[], bool] = lambda: False) -> requests.Session:
    """A session that reads what the configuration says, and nothing of the environment.

    Its first request raises ConfigError if a file of a certificate that it needs cannot be used. Whoever waits for the
    head of an answer goes on waiting only until it is ``given_up``.
    """
    return _Session(options, given_up)


class _Head(socket.SocketIO):
    """The bytes of a head, which may come one by one, or as announcements of another one, for ever."""

    until: float
    given_up: Callable[[], bool]

    def readinto(self, buffer: Any) -> int | None:
        if self.given_up() or time.monotonic() > self.until:
            raise TimeoutError('the head of the answer has no end')
        return super().readinto(buffer)


class _Answer(HTTPResponse):
    """An answer whose head has to come within so many seconds, ``most``, unless it is ``given_up`` before."""

    most: ClassVar[float]
    given_up: ClassVar[Callable[[], bool]]

    def begin(self) -> None:
        raw = getattr(self.fp, 'raw', None)
        if type(raw) is not socket.SocketIO:
            super().begin()
            return
        kind = type(self)
        vars(raw).update(until=time.monotonic() + kind.most, given_up=kind.given_up)
        raw.__class__ = _Head
        try:
            super().begin()
        finally:
            raw.__class__ = socket.SocketIO  # what follows has bounds of its own


class _Session(requests.Session):
    """Makes what TLS needs when it is needed: to read the authorities takes longer than to connect without them."""

    def __init__(self, options: FetchOptions, given_up: Callable[[], bool]) -> None:
        super().__init__()
        self.trust_env = False
        self._options, self._given_up = options, given_up
        self.adapters.clear()

    def get_adapter(self, url: str) -> Any:
        scheme = url.partition('://')[0].lower() + '://'
        if scheme not in self.adapters and scheme in ('http://', 'https://', 'ftp://'):
            self.mount(scheme, _Adapter(self._options, self._given_up, secure=scheme == 'https://'))
        return super().get_adapter(url)

    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """None: we follow by ourselves. The library would read the content of the answer, however long."""
        return iter(())


class _Adapter(HTTPAdapter):
    """Brings contexts of our own. What requests makes itself checks no certificate of a proxy for HTTP sources."""

    def __init__(self, options: FetchOptions, given_up: Callable[[], bool], *, secure: bool) -> None:
        self._options, self._given_up = options, given_up
        self._context = self._own() if secure else None
        self._sockets = list(HTTPConnection.default_socket_options)
        if options.limit_rate:
            # What the kernel takes ahead of us would be above the limit.
            window = max(16 * 1024, min(options.limit_rate // 2, 4 * 1024 * 1024))
            self._sockets.append((socket.SOL_SOCKET, socket.SO_RCVBUF, window))
        super().__init__()

    def _own(self) -> ssl.SSLContext:
        return tls.context(self._options.ca_file, self._options.client_certificate, self._options.client_key)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, socket_options=self._sockets, **kwargs)
        self._bound(self.poolmanager)

    def _bound(self, manager: Any) -> None:
        """Bound the time for the head of each answer. A time-out of its own has only each byte of it."""
        answer = type('Answer', (_Answer,), {'most': 2 * self._options.read_timeout, 'given_up': self._given_up})
        manager.pool_classes_by_scheme = {
            scheme: type(
                'Pool', (pool,), {'ConnectionCls': type('Line', (pool.ConnectionCls,), {'response_class': answer})}
            )
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy in self.proxy_manager:
            return self.proxy_manager[proxy]
        manager = super().proxy_manager_for(
            proxy,
            ssl_context=self._context,
            proxy_ssl_context=tls.context(self._options.ca_file) if proxy.lower().startswith('https:') else None,
            socket_options=self._sockets,
            **kwargs,
        )
        self._bound(manager)
        return manager

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        return super().build_connection_pool_key_attributes(*args, **kwargs)[0], {}

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """The contexts do it."""


def explain(exc: Exception, shown: str, *, proxied: bool) -> Exception:
    """What an error of requests means for the download: an ``OSError`` is worth another try, a SourceError is not.

    No text of the library is taken over: it may hold the URI.
    """
    if isinstance(exc, UNUSABLE):
        return SourceError(shown, 'this is not a usable URI', id='bad-uri')
    chain = list(_chain(exc))
    by_proxy = any(isinstance(each, requests.exceptions.ProxyError | urllib3.exceptions.ProxyError) for each in chain)
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in chain):
        whose = 'the certificate of the proxy' if by_proxy else 'its certificate'
        return SourceError(shown, f'{whose} is not trusted; set [update] ca_file', id='certificate-untrusted')
    found = next((match for each in chain if (match := TUNNEL.search(str(each)))), None)
    if found:
        status = int(found[1])
        if status == 407:
            return SourceError(
                shown, 'the proxy wants a login (407); write it into the URI of the proxy', id='proxy-refused'
            )
        if status < 500:
            return SourceError(
                shown, f'the proxy does not let us through ({status}); ask who runs it', id='proxy-refused'
            )
        return ProxyFailed(f'the proxy answers {status}')
    if by_proxy:
        return ProxyFailed('the proxy does not let us through; see the proxies in [update]')
    if (tls := next((each for each in chain if isinstance(each, ssl.SSLError)), None)) is not None:
        return OSError(f'no TLS connection ({tls.reason or "SSLError"}); see whether the source speaks HTTPS')
    if proxied:
        return OSError(f'no connection through the proxy ({_cause(exc, chain)}); see the proxies in [update]')
    return OSError(
        f'no connection ({_cause(exc, chain)}); see whether it runs and is reached from here, or needs a proxy, '
        f'[update] http_proxy or https_proxy'
    )


def showable(exc: Exception, uri: str) -> BaseException | None:
    """What is behind an error, to be shown beside it: of the libraries' own ones those that do not tell the URI.

    With its query, or a password in it, the URI is secret; what the system says does not hold it.
    """
    parts = urlsplit(uri)
    secrets = [text for text in (parts.query, parts.netloc.rpartition('@')[0]) if text]
    for each in _chain(exc):
        told = ''.join(traceback.format_exception(each))
        if not any(secret in told for secret in secrets):
            return each
    return None


def _cause(exc: Exception, chain: list[BaseException]) -> str:
    """What the system says, as "Connection refused"; else the kind of error."""
    said = (each.strerror for each in chain if isinstance(each, OSError) and each.errno is not None and each.strerror)
    return next(said, type(exc).__name__)


def _chain(exc: BaseException) -> list[BaseException]:
    """An error and all that are behind it; the libraries pass them on as arguments, reasons and causes."""
    found: list[BaseException] = []
    waiting: list[object] = [exc]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or any(each is other for other in found):
            continue
        found.append(each)
        waiting += [*each.args, getattr(each, 'reason', None), getattr(each, 'original_error', None)]
        waiting += [each.__cause__, each.__context__]
    return found
