"""An HTTP server in a thread: uvicorn, bound before it is said to be started, gone when it is said to be stopped."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from ovca.exceptions import ServiceUnavailable
from ovca.provision.tls import Certificate

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette


class HttpServer:
    """Serves one application on one address; with a certificate by HTTPS."""

    def __init__(
        self, app: Starlette, host: str, port: int, *, certificate: Certificate | None = None
    ) -> None:
        self.app, self.host, self.port, self.certificate = app, host, port, certificate
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def running(self) -> bool:
        """Whether the address is still bound by this object."""
        return self._socket is not None

    def start(self) -> None:
        """Bind, listen, and serve. Port 0 takes a free one, which :attr:`port` then names.

        :raises ServiceUnavailable: the address is taken, or not on this machine.
        """
        import uvicorn

        listener = socket.socket(socket.AF_INET6 if ':' in self.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen(128)
        except OSError as exc:
            listener.close()
            raise ServiceUnavailable(
                f'{self.host}:{self.port} cannot be listened on: {exc.strerror}; see what else uses it'
            ) from exc
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            lifespan='off',
            timeout_graceful_shutdown=1,
            timeout_keep_alive=5,
            limit_concurrency=200,
            ssl_certfile=str(self.certificate.certificate) if self.certificate else None,
            ssl_keyfile=str(self.certificate.key) if self.certificate else None,
        )
        server = uvicorn.Server(config)
        self._server, self._socket = server, listener
        self._thread = threading.Thread(
            target=server.run, kwargs={'sockets': [listener]}, name=f'http-{self.port}', daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop, within about a second; open transfers are cut. Stopping twice is fine."""
        server, thread, listener = self._server, self._thread, self._socket
        if server is None or thread is None or listener is None:
            return
        server.should_exit = True
        thread.join(0.8)
        if thread.is_alive():
            server.force_exit = True
            thread.join(2)
        listener.close()
        self._server = self._thread = self._socket = None
