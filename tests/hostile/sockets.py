"""Sockets as strangers and honest nodes use them."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable

from ovca.provision.server import HttpServer


def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def connect(server: HttpServer, *, source: str = '127.0.0.1', timeout: float = 20.0) -> socket.socket:
    """A connection that comes from this address."""
    return socket.create_connection((server.host, server.port), timeout=timeout, source_address=(source, 0))


def unverified() -> ssl.SSLContext:
    """TLS without a look at the certificate, as a stranger does it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def ended(connection: socket.socket) -> bool:
    """Whether the other side has ended the connection; what it still sends is passed over."""
    try:
        while connection.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def asked(server: HttpServer, path: str = '/', *, source: str = '127.0.0.1', method: str = 'GET') -> tuple[int, bytes]:
    """An honest question, and its answer."""
    kind = http.client.HTTPSConnection if server.certificate else http.client.HTTPConnection
    more = {'context': unverified()} if server.certificate else {}
    connection = kind(server.host, server.port, timeout=20, source_address=(source, 0), **more)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
