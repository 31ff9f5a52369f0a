"""A Redfish service with sessions, of which it has few; of sushy-emulator's none does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROOT = '/redfish/v1'
SYSTEM = f'{ROOT}/Systems/1'
SESSIONS = f'{ROOT}/SessionService/Sessions'
TREE: dict[str, dict[str, Any]] = {
    ROOT: {
        'Id': 'RootService',
        'Name': 'Root',
        'RedfishVersion': '1.0.0',
        'Systems': {'@odata.id': f'{ROOT}/Systems'},
        'SessionService': {'@odata.id': f'{ROOT}/SessionService'},
        'Links': {'Sessions': {'@odata.id': SESSIONS}},
    },
    SYSTEM: {'Id': '1', 'Name': 'mn2', 'PowerState': 'On', 'Actions': {'#ComputerSystem.Reset': {'target': SYSTEM}}},
}


class Sessions:
    """What a BMC with ``room`` for so many sessions knows; it lets nobody in by another way."""

    def __init__(self, room: int) -> None:
        self.room, self.opened = room, 0
        self.live: dict[str, str] = {}
        """Their tokens by their addresses."""
        self.deaf = False
        """The next request but a login is cut, as by a BMC that restarts its network."""
        self.asked: list[str] = []

    def address(self, port: int) -> str:
        return f'http://127.0.0.1:{port}{SYSTEM}'


@contextmanager
def few_sessions(room: int) -> Iterator[tuple[str, Sessions]]:
    """The address of the system behind such a BMC, and the BMC."""
    bmc = Sessions(room)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bmc.asked.append(f'GET {self.path}')
            known = TREE.get(self.path.rstrip('/'))
            if bmc.deaf and self.path.rstrip('/') != ROOT:
                bmc.deaf = False
                self.connection.close()
            elif self.path.rstrip('/') != ROOT and self.headers.get('X-Auth-Token') not in bmc.live.values():
                self.answer(401)
            else:
                self.answer(200 if known else 404, {'@odata.id': self.path, **(known or {})})

        def do_POST(self) -> None:
            bmc.asked.append(f'POST {self.path}')
            self.rfile.read(int(self.headers.get('Content-Length', 0)))
            if self.path.rstrip('/') != SESSIONS or len(bmc.live) >= bmc.room:
                self.answer(503)
                return
            bmc.opened += 1
            where, token = f'{SESSIONS}/{bmc.opened}', f'token {bmc.opened}'
            bmc.live[where] = token
            self.answer(201, {}, {'X-Auth-Token': token, 'Location': where})

        def do_DELETE(self) -> None:
            bmc.asked.append(f'DELETE {self.path}')
            mine = self.headers.get('X-Auth-Token') in bmc.live.values()
            self.answer(204 if mine and bmc.live.pop(self.path, None) else 401)

        def answer(
            self, status: int, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if status != 204:
                self.wfile.write(json.dumps(body or {}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    try:
        yield bmc.address(server.server_port), bmc
    finally:
        server.shutdown()
        server.server_close()
