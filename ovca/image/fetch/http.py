"""HTTP and HTTPS sources, with requests; resumed by Range and If-Range (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.auth import HTTPBasicAuth

from ovca.image.errors import SourceError
from ovca.image.fetch import credentials
from ovca.image.fetch.answer import BUSY, Answer, number, retry_after
from ovca.image.fetch.base import Fetcher, FetchOptions, Opened, SourceBusy
from ovca.image.fetch.body import Body
from ovca.image.fetch.connections import Connections
from ovca.image.fetch.crew import Refused
from ovca.image.fetch.proxies import chosen
from ovca.image.fetch.rates import LowSpeed
from ovca.image.fetch.session import explain, new_session, showable
from ovca.image.names import shown

FIRST_READ = 16 * 1024
READ = 1024 * 1024
SHARED_READ = 256 * 1024
"""Of each of several connections, as all of them hold a piece."""
REDIRECTS = 5
LONGEST = 80
"""Characters of what a server says for itself."""


class HttpFetcher(Fetcher):
    """Reads by GET; follows a few redirects, never from HTTPS to HTTP.

    When one connection is the limit it tries more of them, and keeps them if that helps.
    """

    def __init__(self, uri: str, options: FetchOptions) -> None:
        super().__init__(uri, options)
        self._session: requests.Session | None = None
        self.whole = False
        """No range is asked for: the server answered to one with another, or is known for it."""
        self._alone = False
        """More than one connection were tried, and broke."""
        self._reading: set[requests.Response] = set()
        """The answers that threads wait for."""
        self._interrupted = False
        self._lines: Connections | None = None
        """The connections that are at work."""
        # What it says of requests, and of odd answers, holds queries, and these may hold secrets.
        logging.getLogger('urllib3').setLevel(logging.ERROR)

    def stream(self, part: Path, stopped: Callable[[], bool]) -> Iterator[bytes]:
        """As the base does it; at the end the connections are closed."""
        try:
            yield from super().stream(part, stopped)
        finally:
            self.close()

    def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def interrupt(self) -> None:
        """Shut the connections for reading: who waits for bytes gets the end of them."""
        self._interrupted = True  # before a line is shut: what comes of it then may be no content
        if self._lines is not None:
            self._lines.stop()
        for response in tuple(self._reading):
            with suppress(OSError, ValueError, RuntimeError):  # it has ended by itself meanwhile
                response.raw.shutdown()

    def _open(self, offset: int, validator: str | None) -> Opened:
        headers = {}
        if offset and validator and not self.whole:
            headers = {'Range': f'bytes={offset}-', 'If-Range': validator}
        if self._session is None:
            self._session = new_session(self.options, lambda: self._interrupted)
        login = credentials.login(self.uri, self.options.credentials_file)
        answer = self._get(self._session, self.uri, headers, login)
        response = answer.response
        if response.status_code == 416 and headers:
            return self._beyond(answer, offset, validator)
        if response.status_code not in (200, 206):
            raise self._refusal(answer)
        if response.headers.get('Content-Encoding', 'identity').lower() != 'identity':
            response.close()
            raise SourceError(
                self.shown, 'the server changes the content on the way (Content-Encoding)', id='source-altered'
            )
        if response.status_code == 200:
            return Opened(0, answer.size, answer.validator, self._pieces(answer, 0), answer.ranges)
        asked = offset if headers else 0
        if answer.range is not None and int(answer.range[1]) == asked:
            found = answer.validator or (validator if headers else None)
            return Opened(asked, answer.size, found, self._pieces(answer, asked), answer.ranges)
        response.close()
        if self.whole:
            raise SourceError(
                self.shown, 'the server gives a part of it when it is asked for the whole', id='source-altered'
            )
        self.whole = True
        self.notice(f'{self.shown} answers with another range than the one asked for; it is asked for as a whole')
        return self._open(offset, validator)

    def _beyond(self, answer: Answer, offset: int, validator: str | None) -> Opened:
        """There is nothing at ``offset``: all is there already, or the source is another."""
        answer.response.close()
        _, _, total = answer.response.headers.get('Content-Range', '').strip().rpartition('*/')
        size = number(total)
        size = self.size if size is None else size
        if size == offset:
            return Opened(offset, offset, validator, iter(()))
        return Opened(0, size, None, iter(()))

    def _refusal(self, answer: Answer) -> Exception:
        response = answer.response
        response.close()
        said = f'the server answers {response.status_code} {shown(response.reason or "")[:LONGEST]}'.rstrip()
        if response.status_code in BUSY:
            return SourceBusy(said, retry_after(response.headers, dt.datetime.now(dt.UTC)))
        if response.status_code == 401:
            return SourceError(
                self.shown, f'{said}; write the login into [update] credentials_file or the URI', id='source-login'
            )
        if response.status_code == 407:
            return SourceError(
                self.shown, 'the proxy wants a login (407); write it into the URI of the proxy', id='proxy-refused'
            )
        return SourceError(self.shown, said, id='source-refused')

    def _get(
        self, session: requests.Session, uri: str, headers: dict[str, str], login: credentials.Login | None
    ) -> Answer:
        for _ in range(REDIRECTS + 1):
            response = self._send(session, credentials.bare(uri), headers, login)
            if not response.is_redirect:
                return Answer(response, uri, login)
            response.close()
            following = self._following(uri, response.headers['Location'])
            if not credentials.same_place(uri, following):
                login = credentials.login(following, self.options.credentials_file)
            uri = following
        raise SourceError(self.shown, f'the server redirects more than {REDIRECTS} times', id='redirect-refused')

    def _following(self, uri: str, location: str) -> str:
        """Where a redirect leads to. :raises SourceError: it is not followed."""
        with suppress(UnicodeError):  # what is no ASCII is UTF-8 as a rule; the library takes each byte for a character
            location = location.encode('latin-1').decode('utf-8')
        try:
            following = urljoin(uri, location)
            scheme, host, _ = urlsplit(following).scheme, urlsplit(following).hostname, urlsplit(following).port
        except ValueError:
            scheme, host = 'http', None
        if urlsplit(uri).scheme == 'https' and scheme == 'http' and host:
            what = 'the server redirects from HTTPS to HTTP, which is not followed'
        elif scheme not in ('http', 'https'):
            what = f'the server redirects to {scheme}, which is not followed'
        elif not host:
            what = 'the server redirects to what is no URI; tell who runs it'
        else:
            return following
        raise SourceError(self.shown, what, id='redirect-refused')

    def _send(
        self, session: requests.Session, uri: str, headers: dict[str, str], login: credentials.Login | None
    ) -> requests.Response:
        proxy = chosen(uri, self.options.proxies, self.options.no_proxy)
        try:
            return session.get(
                uri,
                headers={'Accept-Encoding': 'identity', **headers},
                auth=HTTPBasicAuth(login.user.encode(), login.password.encode()) if login else None,
                stream=True,
                allow_redirects=False,
                proxies={urlsplit(uri).scheme: proxy} if proxy else {},
                timeout=(self.options.connect_timeout, self.options.read_timeout),
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as exc:
            raise explain(exc, self.shown, proxied=proxy is not None) from showable(exc, uri)

    # Several connections.

    def _pieces(self, answer: Answer, start: int) -> Iterator[bytes]:
        first, size, etag = self._chunks(answer.response), answer.size, answer.etag
        if (
            self._alone
            or not answer.ranges
            or size is None
            or etag is None
            or self.options.limit_rate
            or self.options.connections < 2
        ):
            return first

        def line() -> Line:
            return Line(self, answer, size, etag)

        lines = Connections(first, start, size, line, self.options.connections, pause=self.options.pause)
        return self._several(lines)

    def _several(self, lines: Connections) -> Iterator[bytes]:
        self._lines = lines
        try:
            yield from lines.pieces()
        except OSError:
            self._alone = not lines.helped  # the server may not like more than one
            raise
        finally:
            self._lines = None

    @contextmanager
    def _waiting(self, response: requests.Response) -> Iterator[None]:
        self._reading.add(response)
        try:
            yield
        finally:
            self._reading.discard(response)

    def _chunks(self, response: requests.Response, *, last: bool = True) -> Iterator[bytes]:
        """Pieces, small ones first: a bundle is judged by its first kilobytes. Later large ones, which are faster."""
        largest = self.pace.piece(READ if last else SHARED_READ)
        size = min(FIRST_READ, largest)
        watch = LowSpeed(self.options.low_speed_limit, self.options.low_speed_time)
        body = Body(response, lambda: self._interrupted, last=last)
        with response, self._waiting(response):
            while True:
                before = time.monotonic()
                data = body.piece(size)
                waited = time.monotonic() - before
                if not data:
                    return
                yield data
                watch.saw(len(data), waited)
                size = min(2 * size, largest)


class Line:
    """One more connection to the same source; each thread has its own."""

    def __init__(self, source: HttpFetcher, first: Answer, size: int, etag: str) -> None:
        self._source, self._first, self._size, self._etag = source, first, size, etag
        self._session = new_session(source.options, lambda: source._interrupted)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``stop``. :raises OSError: they do not come. :raises Refused: never."""
        headers = {'Range': f'bytes={start}-{stop - 1}', 'If-Range': self._etag}
        try:
            answer = self._source._get(self._session, self._first.uri, headers, self._first.login)
        except SourceError as exc:
            raise Refused(str(exc)) from exc
        wanted = f'bytes {start}-{stop - 1}/{self._size}'
        response = answer.response
        if response.status_code in BUSY:
            raise self._source._refusal(answer)
        right = response.status_code == 206 and response.headers.get('Content-Range', '').strip() == wanted
        if not right or answer.etag not in (None, self._etag) or 'Content-Encoding' in response.headers:
            response.close()
            raise Refused(f'the server gives no ranges ({response.status_code})')
        with closing(self._source._chunks(response, last=False)) as pieces:  # type: ignore[type-var]
            yield from pieces

    def close(self) -> None:
        self._session.close()
