"""An HTTP server in a thread: uvicorn, bound before it is said to be started, gone when it is said to be stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from ovca.exceptions import ServiceUnavailable
from ovca.provision.tls import Certificate

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ovca.provision.bounded import Bounds, Guests
    from ovca.provision.quiet import QuietServer

LOG = logging.getLogger(__name__)
START_TIMEOUT = 10.0


class HttpServer:
    """Serves one application on one address; with a certificate by HTTPS. It can be started again after a stop.

    Nobody can cost it more than ``bounds`` allow; without any, those of :class:`~ovca.provision.bounded.Bounds` hold.
    """

    def __init__(
        self,
        app: Starlette,
        host: str,
        port: int,
        *,
        certificate: Certificate | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.app, self.host, self.port, self.certificate, self.bounds = app, host, port, certificate, bounds
        self._server: QuietServer | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def running(self) -> bool:
        """Whether the address is still bound by this object."""
        return self._socket is not None

    def start(self) -> None:
        """Bind, listen, and serve. Port 0 takes a free one, which :attr:`port` then names. Starting twice is fine.

        :raises ServiceUnavailable: the address is taken, or not on this machine.
        """
        if self.running:
            return
        import uvicorn

        from ovca.provision.bounded import HEADER_BYTES, Bounds, Guests
        from ovca.provision.quiet import QuietServer

        guests = Guests(self.bounds or Bounds(), f'{self.host}:{self.port}')
        context = self._tls()
        listener = self._listen(guests)
        config = uvicorn.Config(
            guests.guard(self.app),
            # Whatever else is installed: what the bounds are tried with.
            http='h11',
            ws='none',
            h11_max_incomplete_event_size=HEADER_BYTES,
            # Who asks is who is connected, whatever a header says.
            proxy_headers=False,
            server_header=False,
            # A line for each request that is no HTTP would let anybody fill the log.
            log_level=logging.ERROR,
            log_config=None,
            access_log=False,
            lifespan='off',
            timeout_graceful_shutdown=1,
            timeout_keep_alive=5,
        )
        config.load()
        config.ssl = context  # it would make one of files
        server = QuietServer(config, guests)
        self.port = listener.getsockname()[1]
        self._server, self._socket = server, listener
        self._thread = threading.Thread(
            target=self._run, args=(server, listener, guests), name=f'http-{self.port}', daemon=True
        )
        self._thread.start()
        end = time.monotonic() + START_TIMEOUT
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                self.stop()
                raise ServiceUnavailable(
                    f'the server on {self.host}:{self.port} does not come up; see the log for the cause', id='no-server'
                )
            time.sleep(0.005)

    def _tls(self) -> ssl.SSLContext | None:
        try:
            return self.certificate.context() if self.certificate is not None else None
        except ssl.SSLError as exc:
            raise ServiceUnavailable(
                f'the server on {self.host}:{self.port} does not come up: its certificate and key do not fit: {exc}',
                id='no-server',
            ) from exc

    def _listen(self, guests: Guests) -> socket.socket:
        from ovca.provision.bounded import Listener

        listener = Listener(socket.AF_INET6 if ':' in self.host else socket.AF_INET)
        listener.guests = guests
        try:
            # Without it a restart waits for connections of the run before; it never shares a port that is in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(128)
        except OSError as exc:
            listener.close()
            raise ServiceUnavailable(
                f'{self.host}:{self.port} cannot be listened on: {exc.strerror}; see what else uses the address',
                id='address-in-use',
            ) from exc
        return listener

    @staticmethod
    def _run(server: QuietServer, listener: socket.socket, guests: Guests) -> None:
        async def serve() -> None:
            await server.serve(sockets=[listener])
            # What still hangs here would keep its client waiting on a server that is gone.
            for connection in list(server.server_state.connections):
                transport = getattr(connection, 'transport', None)
                if transport is not None:
                    transport.abort()
            await asyncio.sleep(0)

        try:
            asyncio.run(serve())
        except Exception:
            LOG.exception('the HTTP server ended')
        finally:
            guests.dismiss()

    def stop(self) -> None:
        """Stop within a second; open transfers are cut. Stopping twice is fine."""
        server, thread, listener = self._server, self._thread, self._socket
        if server is None or thread is None or listener is None:
            return
        server.end()
        thread.join(0.5)
        if thread.is_alive():
            server.force_exit = True
            thread.join(0.45)
        if thread.is_alive():
            LOG.warning('a request on %s:%s still runs; its answer goes nowhere', self.host, self.port)
        listener.close()
        self._server = self._thread = self._socket = None
