"""What several connections bring, as ratios against one, from servers on this machine.

    python bench/fetch.py [--size 80] [--rate 512] [--runs 1] [--free-size 512] [--free-runs 5]

Where the server gives each connection so many KiB a second, four connections have to be at least 3.5 times as fast as
one, the time in which they are tried included. Where it gives what it can, nothing may be lost by them: the time may be
1.1 of that of one. The first is a server of our own, as nginx counts by request and gives the first second of each for
nothing; the second is nginx. The ways are run in turn, and medians are compared. Exit status 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ovca.image.fetch.base import FetchOptions
from ovca.image.fetch.http import HttpFetcher
from ovca.image.fetch.rates import Pace

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log stderr crit; worker_processes 1;
events {{ }}
http {{
  access_log off; sendfile on; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run nginx; give its address."""
    program = shutil.which('nginx') or shutil.which('nginx', path='/usr/sbin')
    if program is None:
        sys.exit('nginx is not installed: apt-get install nginx-light')
    with socket.create_server(('127.0.0.1', 0)) as probe:
        port = probe.getsockname()[1]
    (folder / 'nginx.conf').write_text(CONFIGURATION.format(folder=folder, port=port))
    server = subprocess.Popen([program, '-p', str(folder), '-c', str(folder / 'nginx.conf')])
    try:
        for _ in range(250):
            try:
                socket.create_connection(('127.0.0.1', port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f'http://127.0.0.1:{port}'
    finally:
        server.terminate()
        server.wait()


class Slow(BaseHTTPRequestHandler):
    """Gives each connection so many bytes a second, whatever is asked for on it."""

    protocol_version = 'HTTP/1.1'
    content = b''
    rate = 0

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        self.pace = Pace(self.rate)
        super().setup()

    def do_GET(self) -> None:
        size = len(self.content)
        asked = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        start, stop = (int(asked[1]), int(asked[2] or size - 1) + 1) if asked else (0, size)
        self.send_response(206 if asked else 200)
        self.send_header('ETag', '"one"')
        self.send_header('Accept-Ranges', 'bytes')
        self.send_header('Content-Length', str(stop - start))
        if asked:
            self.send_header('Content-Range', f'bytes {start}-{stop - 1}/{size}')
        self.end_headers()
        for at in range(start, stop, 8192):
            piece = self.content[at : min(at + 8192, stop)]
            time.sleep(self.pace.spend(len(piece)))
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


class SlowServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that is not needed any more is closed in the middle."""


@contextmanager
def slowed(content: bytes, rate: int) -> Iterator[str]:
    """Run the server that slows each connection; give its address."""
    handler = type('Handler', (Slow,), {'content': content, 'rate': rate})
    server = SlowServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()


def seconds(uri: str, size: int, connections: int, folder: Path) -> float:
    """Fetch a source into a part file; return how long that took."""
    part = folder / 'part'
    source = HttpFetcher(uri, FetchOptions({}, connections=connections))
    begin = time.perf_counter()
    got = sum(len(data) for data in source.stream(part, lambda: False))
    took = time.perf_counter() - begin
    if got != size:
        raise RuntimeError(f'{got} bytes came instead of {size}')
    for path in (part, part.with_name('part.json')):
        path.unlink()
    return took


def compared(uri: str, size: int, runs: int, folder: Path) -> tuple[float, float]:
    """The medians of one connection and of up to four, run in turn."""
    pairs = [(seconds(uri, size, 1, folder), seconds(uri, size, 4, folder)) for _ in range(runs)]
    return statistics.median(one for one, _ in pairs), statistics.median(four for _, four in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=80, metavar='<MiB>', help='to fetch slowly (default: 80)')
    parser.add_argument('--rate', type=int, default=512, metavar='<KiB/s>', help='of a connection (default: 512)')
    parser.add_argument('--runs', type=int, default=1, metavar='<number>', help='of the slow ones (default: 1)')
    parser.add_argument('--free-size', type=int, default=512, metavar='<MiB>', help='to fetch fast (default: 512)')
    parser.add_argument('--free-runs', type=int, default=5, metavar='<number>', help='of the fast ones (default: 5)')
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='ovca-bench-') as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / 'www').mkdir()
        with (folder / 'www/image').open('wb') as stream:
            for _ in range(given.free_size):
                stream.write(os.urandom(2**20))
        with served(folder) as address:
            free = compared(f'{address}/image', given.free_size * 2**20, given.free_runs, folder)
        with slowed(os.urandom(given.size * 2**20), given.rate * 1024) as address:
            slow = compared(f'{address}/image', given.size * 2**20, given.runs, folder)
    rows = [
        (f'{given.rate} KiB/s a connection', *slow, slow[0] / slow[1], 'times as fast, at least 3.5'),
        ('without a limit', *free, free[1] / free[0], 'of the time, at most 1.1'),
    ]
    print(f'{"server":24} {"one, s":>8} {"four, s":>8} {"ratio":>6}')
    for what, one, four, ratio, bound in rows:
        print(f'{what:24} {one:8.2f} {four:8.2f} {ratio:6.2f}  {bound}')
    return int(slow[0] / slow[1] < 3.5 or free[1] / free[0] > 1.1)


if __name__ == '__main__':
    sys.exit(main())
