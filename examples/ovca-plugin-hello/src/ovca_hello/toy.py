"""A power strip without hardware, for tests and for playing: ``python -m ovca_hello.toy``."""

from __future__ import annotations

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER, PASSWORD = 'otto', 'geheim'
OUTLETS = 8


class ToyStrip(ThreadingHTTPServer):
    """Serves ``/outlets/1`` to ``/outlets/8`` on a free port of this machine."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(('127.0.0.1', port), _Handler)
        self.on = dict.fromkeys(range(1, OUTLETS + 1), False)

    def outlet(self, number: int) -> str:
        """The address of an outlet, as ``[power] bmc`` has it."""
        return f'http://127.0.0.1:{self.server_port}/outlets/{number}'


class _Handler(BaseHTTPRequestHandler):
    server: ToyStrip

    def do_GET(self) -> None:
        self._answer(None)

    def do_PUT(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers['Content-Length']))))

    def _answer(self, order: dict[str, bool] | None) -> None:
        wanted = 'Basic ' + base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()
        _, _, number = self.path.rpartition('/outlets/')
        if self.headers.get('Authorization') != wanted:
            self.send_error(401)
        elif not number.isdigit() or int(number) not in self.server.on:
            self.send_error(404)
        else:
            if order is not None:
                self.server.on[int(number)] = order['on']
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({'on': self.server.on[int(number)]}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """A toy is quiet."""


if __name__ == '__main__':
    strip = ToyStrip(int(sys.argv[1]) if sys.argv[1:] else 0)
    print(f'{strip.outlet(1)} and on to {OUTLETS}, user {USER}, password {PASSWORD}; end it with Ctrl-C', flush=True)
    strip.serve_forever()
