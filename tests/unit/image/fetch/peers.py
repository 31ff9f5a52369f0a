"""Real servers and proxies as processes of their own, on free ports of this machine; and one that misbehaves."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ovca.image.fetch.rates import Pace
from tests.conftest import free_port, missing_peer

SEND = 16 * 1024
PATIENCE = 30.0


class Peer:
    """A program that listens on a port; it is stopped with the test."""

    def __init__(self, program: str, package: str, folder: Path) -> None:
        found = shutil.which(program) or shutil.which(program, path='/usr/sbin:/sbin')
        if found is None:
            missing_peer(f'{program} is not installed: apt-get install {package}')
        self.program, self.folder, self.port = found, folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / 'output.log'
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        with self.log.open('ab') as log:
            self._process = subprocess.Popen([self.program, *arguments], cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f'{self.program} does not start: {self.log.read_text(errors="replace")[-2000:]}')

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE)

    def shows(self, text: str) -> bool:
        """Whether that is in the log; some programs write it a moment later."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen() and time.monotonic() < deadline:
            time.sleep(0.05)
        return text in self.seen()

    def seen(self) -> str:
        """What the program has logged of its requests."""
        path = self.folder / 'access.log'
        return path.read_text() if path.exists() else ''


class Nginx(Peer):
    """Serves the folder ``www``; ``more`` stands in its block ``server``."""

    def __init__(self, folder: Path, more: str = '', *, tls: bool = False) -> None:
        super().__init__('nginx', 'nginx-light', folder)
        self.scheme = 'https' if tls else 'http'
        self.www = folder / 'www'
        self.www.mkdir(exist_ok=True)
        (folder / 'nginx.conf').write_text(f"""
            daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
            events {{ }}
            http {{
              log_format ranges '$request_method $uri $status "$http_range" "$remote_user" "$http_authorization"';
              access_log {folder}/access.log ranges;
              client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
              uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
              limit_conn_zone $server_port zone=all:1m;
              server {{ listen 127.0.0.1:{self.port} {'ssl' if tls else ''}; root {self.www}; {more} }}
            }}
        """)

    def run(self) -> None:
        self.start('-p', str(self.folder), '-c', str(self.folder / 'nginx.conf'))

    @property
    def uri(self) -> str:
        return f'{self.scheme}://127.0.0.1:{self.port}/image'


class Squid(Peer):
    """A caching proxy that keeps nothing; with ``users`` (a file of htpasswd) it wants a login.

    Started by root it becomes another user, who may not look into the folder of a test; so it has one of its own.
    """

    def __init__(self, *, users: Path | None = None, certificate: Path | None = None) -> None:
        folder = Path(tempfile.mkdtemp(prefix='ovca-squid-'))
        super().__init__('squid', 'squid', folder)
        folder.chmod(0o777)
        users, certificate = (Path(shutil.copy(file, folder)) if file else None for file in (users, certificate))
        for path in folder.iterdir():
            path.chmod(0o644)
        listen = f'https_port 127.0.0.1:{self.port} tls-cert={certificate}' if certificate else ''
        rules = 'acl allowed src 127.0.0.0/8'
        if users is not None:
            helper = '/usr/lib/squid/basic_ncsa_auth'
            rules = f'auth_param basic program {helper} {users}\nacl allowed proxy_auth REQUIRED'
        (folder / 'squid.conf').write_text(
            '\n'.join(
                [
                    rules,
                    listen or f'http_port 127.0.0.1:{self.port}',
                    'http_access allow allowed',
                    'http_access deny all',
                    'cache deny all',
                    'icp_port 0',
                    'shutdown_lifetime 0 seconds',
                    'pinger_enable off',
                    'visible_hostname squid.example.com',
                    f'pid_filename {folder}/squid.pid',
                    f'access_log stdio:{folder}/access.log',
                    f'cache_log {folder}/cache.log',
                    f'coredump_dir {folder}',
                    'ftp_passive on',
                    'ftp_user anonymous@example.com',
                    'logfile_rotate 0',
                    'netdb_filename none',
                    '',
                ]
            )
        )

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> None:
        name = f'ovca{self.port}'  # squid's shared memory bears it
        self.start('-N', '-n', name, '-f', str(self.folder / 'squid.conf'))

    @property
    def address(self) -> str:
        return f'127.0.0.1:{self.port}'


class Tinyproxy(Peer):
    def __init__(self, folder: Path, *more: str) -> None:
        super().__init__('tinyproxy', 'tinyproxy', folder)
        lines = [
            f'Port {self.port}',
            'Listen 127.0.0.1',
            'Timeout 60',
            f'LogFile "{folder}/access.log"',
            'MaxClients 20',
        ]
        (folder / 'tinyproxy.conf').write_text('\n'.join([*lines, 'LogLevel Connect', *more, '']))

    def run(self) -> None:
        self.start('-d', '-c', str(self.folder / 'tinyproxy.conf'))

    @property
    def address(self) -> str:
        return f'127.0.0.1:{self.port}'


class Origin(ThreadingHTTPServer):
    """Serves one content with validators and ranges, counts what it sends, and misbehaves on demand."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.content = b''
        self.etag: str | None = '"one"'
        self.headers: dict[str, str] = {}
        """Set in each answer; an empty value takes one away."""
        self.ranges = True
        self.shift = 0
        """By so much a range is beside the one that was asked for."""
        self.cuts: list[int] = []
        """After how many bytes the next answers break off."""
        self.always_cut: int | None = None
        self.statuses: list[tuple[int, dict[str, str]]] = []
        self.stall_at: int | None = None
        """From here on a byte comes every tenth of a second."""
        self.rate: int | None = None
        """The bytes a second of each connection."""
        self.shared: Pace | None = None
        """Holds the rate of all connections together. Each gets its turn: a lock would let one starve the others."""
        self.line = threading.Lock()
        self.busy: set[socket.socket] = set()
        self.most = 0
        """How many answers were under way at most; not those that their client is no longer there for."""
        self.partial = False
        """It gives 206 whatever it is asked for."""
        self.reason: str | None = None
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.sent = 0

    @property
    def uri(self) -> str:
        return f'http://127.0.0.1:{self.server_port}/image'

    def asked(self) -> list[str | None]:
        return [headers.get('Range') for headers in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests are about."""


def _is_there(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b''
    except BlockingIOError:
        return True
    except OSError:
        return False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: Origin

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND)
        super().setup()

    def do_GET(self) -> None:
        server = self.server
        content = server.content  # before anybody sees the request: a test may change it from then on
        server.requests.append(dict(self.headers))
        server.paths.append(self.path)
        if server.statuses:
            status, headers = server.statuses.pop(0)
            self._head(status, {'Content-Length': '0', **headers})
            return
        size = len(content)
        match = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        start, stop = 0, size
        ranged = bool(match) and server.ranges and self.headers.get('If-Range') in (None, server.etag)
        if match and ranged:
            start, stop = int(match[1]), min(size, int(match[2] or size) + 1)
            if start >= size:
                self._head(416, {'Content-Range': f'bytes */{size}', 'Content-Length': '0'})
                return
            start += server.shift
        headers = {'Content-Length': str(stop - start)}
        if server.etag:
            headers['ETag'] = server.etag
        if ranged:
            headers['Content-Range'] = f'bytes {start}-{stop - 1}/{size}'
        self._head(206 if ranged or server.partial else 200, {**headers, **server.headers})
        cut = server.cuts.pop(0) if server.cuts else server.always_cut
        with server.line:
            server.busy.add(self.connection)
            server.most = max(server.most, sum(map(_is_there, server.busy)))
        try:
            self._body(memoryview(content)[start:stop], start, cut)
        finally:
            with server.line:
                server.busy.discard(self.connection)

    def _body(self, data: memoryview, start: int, cut: int | None) -> None:
        at = 0
        while at < len(data):
            if cut is not None and at >= cut:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            slow = self.server.stall_at is not None and start + at >= self.server.stall_at
            if slow:
                time.sleep(0.1)
            self._wait()
            piece = data[at : at + (1 if slow else SEND)]
            self.wfile.write(piece)
            at += len(piece)
            self.server.sent += len(piece)

    def _wait(self) -> None:
        if self.server.rate:
            time.sleep(SEND / self.server.rate)
        if self.server.shared:
            time.sleep(self.server.shared.spend(SEND))

    def _head(self, status: int, headers: dict[str, str]) -> None:
        headers = {'Date': self.date_time_string(), **headers}
        self.send_response_only(status, self.server.reason)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something holds, for half a minute at most."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
