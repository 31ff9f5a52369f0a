"""pyftpdlib as an FTP server in a thread."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

# Else it writes each session to the stderr that pytest has at its first start, which is closed when the test is over.
LOG = logging.getLogger('pyftpdlib')
LOG.addHandler(logging.NullHandler())
LOG.propagate = False


class Ftpd:
    """Serves a folder to anonymous and to otto, whose password is ``geheim``; with a certificate by TLS only."""

    def __init__(self, folder: Path, certificate: Path | None = None, *, encoding: str = 'utf-8') -> None:
        self.folder = folder
        self.commands: list[str] = []
        self.logins: list[str] = []
        self.cuts: list[int] = []
        """After how many bytes the next transfers break off."""
        self.stall_at: int | None = None
        outer = self

        class Data(DTPHandler):
            """Breaks off."""

            cut: int | None = None

            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.cut = outer.cuts.pop(0) if outer.cuts else None

            def send(self, data: bytes) -> int:
                sent = self.get_transmitted_bytes()
                if self.cut is not None and sent >= self.cut:
                    self.cmd_channel.close()
                    self.close()
                    return 0
                if outer.stall_at is not None and sent >= outer.stall_at:
                    return 0
                return int(super().send(data))

        class Control(TLS_FTPHandler if certificate else FTPHandler):  # type: ignore[misc]
            """Notes what is asked."""

            use_sendfile = False
            auth_failed_timeout = 0.05

            def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
                outer.commands.append(f'{cmd} {arg}'.strip() if cmd != 'PASS' else 'PASS')
                super().pre_process_command(line, cmd, arg)

            def on_login(self, username: str) -> None:
                outer.logins.append(username)

        Control.encoding, Control.banner = encoding, 'Grüß Gott'
        Control.authorizer = DummyAuthorizer()
        Control.authorizer.add_user('otto', 'geheim', str(folder), perm='elr')
        Control.authorizer.add_anonymous(str(folder))
        if certificate:
            Control.certfile = str(certificate)
            Control.tls_control_required = Control.tls_data_required = True
        else:
            Control.dtp_handler = Data
        self._loop = IOLoop()
        self._server = FTPServer(('127.0.0.1', 0), Control, ioloop=self._loop)
        self.port = self._server.address[1]
        self.scheme = 'ftps' if certificate else 'ftp'
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._loop.loop(timeout=0.02, blocking=False)
        self._server.close_all()

    @property
    def uri(self) -> str:
        return f'{self.scheme}://127.0.0.1:{self.port}/image'

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
