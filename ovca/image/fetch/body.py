"""The content of an HTTP answer, in pieces that are as large as the way allows.

A read by way of urllib3 costs more of a processor than the copy of what it brings, which is what has just arrived, and
with TLS no more than 16 KiB. So only the first reads go that way, and bring all that came together with the head of the
answer; the others go to the socket itself, if the answer tells its length.
"""

from __future__ import annotations

import io
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import urllib3

PATIENCE = 0.5
"""Seconds after which a piece is given although it is small."""
RECORD = 16 * 1024
"""The most that a read of TLS gives (RFC 8446, section 5.1)."""


class Body:
    """Reads the content of ``response`` as it is on the line; closing that is the caller's.

    ``last`` says that nothing more will be asked by the same connection: only then its socket may be read. ``shut``
    says whether another thread shut it.
    """

    def __init__(self, response: Any, shut: Callable[[], bool], *, last: bool = True) -> None:
        self._raw, self._shut, self._last = response.raw, shut, last
        line = getattr(self._raw.connection, 'sock', None)
        self._line: socket.socket | None = line if isinstance(line, socket.socket) else None
        self._plain = type(line) is socket.socket
        self._direct = False
        """Whether the socket itself is read."""
        self._came = self._left = 0
        self._silence = 0.0
        self._broken: OSError | None = None

    def piece(self, size: int) -> bytes:
        """The next bytes: ``size`` of them, or those of :data:`PATIENCE` seconds; none at the end.

        :raises OSError: the connection broke. What came before was given.
        """
        if self._broken is not None:
            raise self._broken
        if self._last and self._came >= io.DEFAULT_BUFFER_SIZE:  # what was read with the head has been given
            self._last = False
            self._take_over()
        try:
            # Of a socket the kernel gathers a piece, for as long as it was told to wait.
            data = self._received(size, socket.MSG_WAITALL) if self._direct and self._plain else self._gathered(size)
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise _broken(exc) from exc
        self._came += len(data)
        return data

    def _gathered(self, size: int) -> bytes:
        """What several reads bring; joined once, and not at all where the first one brings it all."""
        held: list[bytes] = []
        length, begun = 0, time.monotonic()
        while length < size and time.monotonic() - begun <= PATIENCE:
            try:
                data = self._taken(size - length, patient=not held)
            except TimeoutError:
                if not held:
                    raise
                break
            except (urllib3.exceptions.HTTPError, OSError) as exc:
                if not held:
                    raise
                self._broken = _broken(exc)
                break
            if not data or (not self._plain and self._shut()):  # of TLS that was shut comes what is still encrypted
                break
            held.append(data)
            length += len(data)
        return held[0] if len(held) == 1 else b''.join(held)

    def _take_over(self) -> None:
        left = self._raw.length_remaining
        if self._line is None or left is None or self._raw.chunked:
            return
        self._direct, self._left, self._silence = True, left, self._line.gettimeout() or 0.0
        self._line.settimeout(None if self._plain else PATIENCE)
        if self._plain:
            times = struct.pack('ll', 0, int(PATIENCE * 1_000_000))
            self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, times)

    def _taken(self, size: int, *, patient: bool) -> bytes:
        if self._direct:
            return self._received(min(size, RECORD), patient=patient)
        data: bytes = self._raw.read1(size, decode_content=False)
        return data

    def _received(self, size: int, flags: int = 0, *, patient: bool = True) -> bytes:
        """Read from the socket. :raises TimeoutError: nothing came for long; not ``patient``, for a moment."""
        assert self._line is not None
        begun = time.monotonic()
        while True:
            try:
                data = self._line.recv(min(size, self._left), flags)
            except (BlockingIOError, TimeoutError):
                if not patient or 0 < self._silence <= time.monotonic() - begun:
                    raise TimeoutError from None
                continue
            if self._left and not data:
                raise ConnectionError
            self._left -= len(data)
            return data


def _broken(exc: Exception) -> OSError:
    return OSError(f'the connection broke ({type(exc).__name__})')
