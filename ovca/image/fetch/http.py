"""HTTP and HTTPS sources, with requests; resumed by Range and If-Range (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from ovca.image.errors import SourceError
from ovca.image.fetch.base import Fetcher, FetchOptions, Opened, ProxyFailed

FIRST_READ = 16 * 1024
READ = 256 * 1024
REDIRECTS = 5
RANGE = re.compile(r'bytes (\d+)-')


class HttpFetcher(Fetcher):
    """Reads by GET; follows a few redirects, never from HTTPS to HTTP."""

    def __init__(self, uri: str, options: FetchOptions) -> None:
        super().__init__(uri, options)
        self._session = requests.Session()
        self._session.trust_env = False  # the configuration says which proxies are used, not the environment

    def _open(self, offset: int, validator: str | None) -> Opened:
        headers = {'Accept-Encoding': 'identity'}
        if offset:
            headers['Range'] = f'bytes={offset}-'
            if validator:
                headers['If-Range'] = validator
        try:
            response = self._get(self.uri, headers)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as exc:
            raise SourceError(self.shown, 'this is not a usable URI', id='bad-uri') from exc
        except requests.exceptions.SSLError as exc:
            raise SourceError(
                self.shown, 'its certificate is not trusted; set [update] ca_file', id='certificate-untrusted'
            ) from exc
        except requests.exceptions.ProxyError as exc:
            raise ProxyFailed('the proxy does not let us through; see the proxies in [update]') from exc
        except requests.RequestException as exc:
            raise OSError(f'no connection ({type(exc).__name__}); see the proxies in [update]') from exc
        if response.status_code == 416 and offset:
            response.close()
            if response.headers.get('Content-Range', '').strip() == f'bytes */{offset}':
                return Opened(offset, offset, validator, iter(()))  # there is nothing more to come
            return Opened(0, None, None, iter(()))
        if response.status_code not in (200, 206):
            response.close()
            if response.status_code in (429, 502, 503, 504):
                raise OSError(f'the server answers {response.status_code} {response.reason}')
            id = 'proxy-refused' if response.status_code == 407 else 'source-refused'
            raise SourceError(self.shown, f'the server answers {response.status_code} {response.reason}', id=id)
        if response.headers.get('Content-Encoding', 'identity').lower() != 'identity':
            raise SourceError(
                self.shown, 'the server changes the content on the way (Content-Encoding)', id='source-altered'
            )
        length = response.headers.get('Content-Length')
        start = 0
        if response.status_code == 206:
            match = RANGE.match(response.headers.get('Content-Range', ''))
            start = int(match[1]) if match else 0
        size = start + int(length) if length is not None and length.isdigit() else None
        etag = response.headers.get('ETag', '')
        found = etag if etag and not etag.startswith('W/') else response.headers.get('Last-Modified')
        return Opened(start, size, found, self._chunks(response))

    def _get(self, uri: str, headers: dict[str, str]) -> requests.Response:
        for _ in range(REDIRECTS):
            response = self._session.get(
                uri,
                headers=headers,
                stream=True,
                allow_redirects=False,
                proxies=self._proxies(uri),
                verify=self.options.ca_file or True,
                timeout=(self.options.connect_timeout, self.options.read_timeout),
            )
            if not response.is_redirect:
                return response
            following = urljoin(uri, response.headers['Location'])
            response.close()
            if urlsplit(uri).scheme == 'https' and urlsplit(following).scheme != 'https':
                raise SourceError(
                    self.shown, 'the server redirects from HTTPS to HTTP, which is not followed', id='redirect-refused'
                )
            uri = following
        raise SourceError(self.shown, f'the server redirects more than {REDIRECTS} times', id='redirect-refused')

    def _proxies(self, uri: str) -> dict[str, str]:
        host = (urlsplit(uri).hostname or '').lower()
        for name in self.options.no_proxy:
            bare = name.lower().lstrip('.')
            if bare == '*' or host == bare or host.endswith('.' + bare):
                return {}
        return self.options.proxies

    @staticmethod
    def _chunks(response: requests.Response) -> Iterator[bytes]:
        """Pieces, small ones first: a bundle is judged by its first kilobytes. Later large ones, which are faster.

        When the connection breaks, what came before is given before the error is raised.
        """
        held, broken, size = bytearray(), None, FIRST_READ
        with response:
            while True:
                try:
                    data = response.raw.read1(size, decode_content=False)
                except (urllib3.exceptions.HTTPError, OSError) as exc:
                    broken, data = exc, b''
                held += data
                if held and (not data or len(held) >= size):
                    yield bytes(held)
                    held.clear()
                    size = min(2 * size, READ)
                if not data:
                    break
        if broken is not None:
            raise OSError(f'the connection broke ({type(broken).__name__})') from broken
