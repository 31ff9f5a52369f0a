"""FTP sources and FTPS ones (explicit), with ftplib; resumed by REST, or read through an HTTP proxy."""

from __future__ import annotations

import ftplib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from ovca.exceptions import OvcaError
from ovca.image.errors import SourceError
from ovca.image.fetch import credentials, tls
from ovca.image.fetch.base import Fetcher, FetchOptions, Opened
from ovca.image.fetch.http import HttpFetcher
from ovca.image.fetch.proxies import PORTS, chosen
from ovca.image.fetch.rates import LowSpeed

OCTETS = 'latin-1'
"""Each byte is a character: a greeting may be in any encoding, and a path is the bytes that the URI says."""
CONTROL = re.compile(r'[\x00-\x1f\x7f]')
MOST = 1024 * 1024
"""Bytes of all replies of a server, its greeting included, before a file is there."""
FIRST_READ = 16 * 1024
READ = 256 * 1024
ANONYMOUS = credentials.Login('anonymous', 'ovca@')


class FtpFetcher(Fetcher):
    """Reads by RETR, as anonymous unless a login is known. What MDTM and SIZE say is what a part is held against.

    The path is that of RFC 1738: below the folder of the login; ``//`` at its beginning means the root.
    """

    def __init__(self, uri: str, options: FetchOptions) -> None:
        super().__init__(uri, options)
        self._secure = urlsplit(uri).scheme.lower() == 'ftps' or options.ftp_tls == 'require'
        self._proxied: HttpFetcher | None = None
        self._waiting: tuple[socket.socket, ...] = ()
        """The connections that are waited for."""

    def stream(self, part: Path, stopped: Callable[[], bool]) -> Iterator[bytes]:
        """As the base does it; at the end the connection to a proxy is closed."""
        try:
            yield from super().stream(part, stopped)
        finally:
            if self._proxied is not None:
                self._proxied.close()

    def interrupt(self) -> None:
        """Shut the connections for reading: who waits for bytes or for a reply gets the end of them."""
        if self._proxied is not None:
            self._proxied.interrupt()
        for waiting in self._waiting:
            with suppress(OSError):  # it has ended by itself meanwhile
                socket.socket.shutdown(waiting, socket.SHUT_RD)

    def _open(self, offset: int, validator: str | None) -> Opened:
        try:
            if chosen(self.uri, self.options.proxies, self.options.no_proxy):
                return self._by_proxy(offset, validator)
            path = _octets(unquote_to_bytes(urlsplit(self.uri).path)).removeprefix('/')
            port = urlsplit(self.uri).port
        except ValueError as exc:
            raise SourceError(self.shown, 'this is not a usable URI', id='bad-uri') from exc
        if not path or CONTROL.search(path):
            raise SourceError(self.shown, 'this is not a usable URI', id='bad-uri')
        ftp = self._connection(port or PORTS['ftp'])
        try:
            return self._retrieve(ftp, path, offset, validator)
        except BaseException:
            ftp.close()
            raise

    def _by_proxy(self, offset: int, validator: str | None) -> Opened:
        if self._secure:
            raise SourceError(
                self.shown,
                'FTP over TLS does not go through an HTTP proxy; put the host into [update] no_proxy',
                id='proxy-ftps',
            )
        if self._proxied is None:
            self._proxied = HttpFetcher(self.uri, self.options)
            self._proxied.pace = self.pace
            # Squid 5 takes the beginning of a range twice into account: it gives 206, and bytes from twice as far on.
            self._proxied.whole = True
        self._proxied.notice, self._proxied.size = self.notice, self.size
        return self._proxied._open(offset, validator)

    def _connection(self, port: int) -> ftplib.FTP:
        """A connection that is logged in. :raises SourceError: it is hopeless. :raises OSError: try again."""
        host = urlsplit(self.uri).hostname or ''
        login = credentials.login(self.uri, self.options.credentials_file) or ANONYMOUS
        options = self.options
        ftp: ftplib.FTP = _Bounded(encoding=OCTETS)
        if self._secure:
            context = tls.context(options.ca_file, options.client_certificate, options.client_key)
            ftp = _Secure(context=context, encoding=OCTETS)
        try:
            ftp.connect(host, port, options.connect_timeout)
            _patience(ftp, options.read_timeout)
            if isinstance(ftp, _Secure):
                ftp.auth()
            ftp.login(_octets(login.user.encode()), _octets(login.password.encode()))
            if isinstance(ftp, _Secure):
                ftp.prot_p()
            ftp.set_pasv(options.ftp_passive)
            ftp.voidcmd('TYPE I')
        except BaseException as exc:
            ftp.close()
            self._explain(exc)
            if isinstance(exc, ValueError):  # a name that no host can have, or a login of two lines; it is not shown
                raise SourceError(self.shown, 'this is not a usable URI', id='bad-uri') from None
            raise
        return ftp

    def _retrieve(self, ftp: ftplib.FTP, path: str, offset: int, validator: str | None) -> Opened:
        try:
            size, found = _facts(ftp, path)
            start = offset if found is not None and validator == found else 0
            if start and start == size:
                ftp.close()
                return Opened(start, size, found, iter(()))
            try:
                data, announced = ftp.ntransfercmd(f'RETR {path}', start or None)
            except ftplib.error_perm as exc:
                if not start or not str(exc).startswith(('500', '501', '502', '504')):
                    raise
                start = 0  # it knows no REST
                data, announced = ftp.ntransfercmd(f'RETR {path}')
        except Exception as exc:
            self._explain(exc)
            raise
        return Opened(start, size if size is not None or start else announced, found, self._chunks(ftp, data))

    def _chunks(self, ftp: ftplib.FTP, data: socket.socket) -> Iterator[bytes]:
        largest = self.pace.piece(READ)
        size = min(FIRST_READ, largest)
        watch = LowSpeed(self.options.low_speed_limit, self.options.low_speed_time)
        data.settimeout(self.options.read_timeout)
        self._waiting = (data, *([ftp.sock] if ftp.sock else []))
        try:
            with data:
                while True:
                    before = time.monotonic()
                    piece = data.recv(size)
                    watch.saw(len(piece), time.monotonic() - before)
                    if not piece:
                        break
                    yield piece
                    size = min(2 * size, largest)
                if isinstance(data, ssl.SSLSocket):
                    with suppress(OSError):  # many servers do not answer to a farewell
                        data.unwrap()
            try:
                ftp.voidresp()  # 226, or why the transfer was broken off
            except (ftplib.Error, EOFError) as exc:
                raise OSError(f'the server broke off ({_code(exc)})') from exc
        finally:
            self._waiting = ()
            ftp.close()

    def _explain(self, exc: BaseException) -> None:
        """Raise what an error means for the download. No reply is taken over: it may hold what must not be shown."""
        if isinstance(exc, ssl.SSLCertVerificationError):
            raise SourceError(
                self.shown, 'its certificate is not trusted; set [update] ca_file', id='certificate-untrusted'
            ) from exc
        if isinstance(exc, ftplib.error_perm):
            code = _code(exc)
            if code == '530':
                raise SourceError(
                    self.shown,
                    'the server refuses the login (530); write it into [update] credentials_file or the URI',
                    id='source-login',
                ) from None
            if self._secure and code in ('500', '502', '504', '534'):
                raise SourceError(
                    self.shown,
                    f'the server speaks no FTP over TLS ({code}); see [update] ftp_tls',
                    id='ftp-no-tls',
                ) from None
            raise SourceError(self.shown, f'the server refuses ({code})', id='source-refused') from None
        if isinstance(exc, ftplib.Error | EOFError):
            raise OSError(f'the server does not go on ({_code(exc)})') from None
        if isinstance(exc, OvcaError) or not isinstance(exc, OSError):
            return
        if type(exc) is not OSError or exc.errno:
            raise OSError(f'no connection ({exc.strerror or type(exc).__name__})') from exc


class _Bounded(ftplib.FTP):
    """Hears no more of a server than it may say: the library would gather a reply of lines without end."""

    _heard = 0

    def getline(self) -> str:
        line = super().getline()
        self._heard += len(line) + 1
        if self._heard > MOST:
            raise OSError(f'the server says more than {MOST} bytes beside the file')
        return line


class _Secure(_Bounded, ftplib.FTP_TLS):
    """FTPS; the connection for the data takes up the TLS session of the other one, as many servers demand."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        plain, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        try:
            secure = self.context.wrap_socket(plain, server_hostname=self.host, session=session)
        except BaseException:
            plain.close()
            raise
        return secure, size


def _octets(data: bytes) -> str:
    """What ftplib sends as these bytes."""
    return data.decode(OCTETS)


def _patience(ftp: ftplib.FTP, seconds: float) -> None:
    ftp.timeout = seconds
    sock: Any = ftp.sock
    sock.settimeout(seconds)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # it says nothing while the data comes


def _facts(ftp: ftplib.FTP, path: str) -> tuple[int | None, str | None]:
    """The length of a file, and what changes when it does; None for what the server does not tell."""
    size, changed = None, None
    try:
        with suppress(ValueError):  # a reply that holds no number
            size = ftp.size(path)
        changed = ftp.sendcmd(f'MDTM {path}').removeprefix('213').strip()
    except ftplib.error_perm as exc:
        if _code(exc) == '550':
            raise
    return size, f'{changed}-{size}' if changed and size is not None else None


def _code(exc: BaseException) -> str:
    """The three digits of a reply."""
    text = str(exc)[:3]
    return text if text.isdigit() else type(exc).__name__
