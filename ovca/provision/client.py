"""The installer's side of the boot service: one pinned HTTPS client, and progress that nobody has to hear.

Standard library only: it runs on the machine that is to become a node.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

PROGRESS_EVERY = 0.2
TEXT_LIMIT = 500


class InstallError(Exception):
    """The install cannot go on; the text is for the operator."""


class Denied(InstallError):
    """The boot service says no."""


class Impostor(InstallError):
    """Whoever answers is not the boot service that the boot script names; nothing was sent to it."""


class Service:
    """The boot service's HTTPS half, pinned by its certificate's fingerprint.

    ``identity`` goes with each request; it holds the nonce, so it is neither printed nor kept on a disk.
    """

    def __init__(
        self,
        url: str,
        fingerprint: str,
        identity: dict[str, Any],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != 'https' or not parts.hostname:
            raise InstallError(f'{url!r} is not the HTTPS address of a boot service')
        self._host, self._port = parts.hostname, parts.port or 443
        self._fingerprint, self._identity = fingerprint.lower(), identity
        self._clock, self._sleep = clock, sleep

    def post(self, name: str, body: dict[str, Any], *, timeout: float = 10) -> dict[str, Any]:
        """Send one request, once.

        :raises Impostor: the certificate is not the pinned one. :raises Denied: the service says no.
        :raises OSError: it does not answer, or cannot do it now.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # No authority vouches for a certificate that lives as long as the service; the fingerprint does.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)
        try:
            connection.connect()
            der = connection.sock.getpeercert(binary_form=True) or b''
            if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), self._fingerprint):
                raise Impostor(
                    f'{self._host}:{self._port} shows another certificate than the boot script names; nothing was sent'
                )
            data = json.dumps({**self._identity, **body})
            connection.request('POST', f'/v1/{name}', data, {'Content-Type': 'application/json'})
            response = connection.getresponse()
            answer = _object(response.read())
        except http.client.HTTPException as exc:
            raise OSError(f'the boot service gave no whole answer ({type(exc).__name__})') from exc
        finally:
            connection.close()
        return heeded(answer, response.status)

    def insist(self, name: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request again until it is answered, for about ``seconds``; it is idempotent for the nonce it carries.

        :raises InstallError: the answer is no. :raises OSError: there is none.
        """
        end = self._clock() + seconds
        while True:
            try:
                return self.post(name, body, timeout=max(1.0, min(10.0, end - self._clock())))
            except OSError:
                if self._clock() >= end:
                    raise
                self._sleep(0.2)


def heeded(answer: dict[str, Any], status: int) -> dict[str, Any]:
    """The answer, when it is one to go on with. :raises Denied, OSError: as :meth:`Service.post`."""
    said = str(answer.get('error', f'status {status}'))
    if status in (400, 403, 413):
        raise Denied(said)
    if status != 200:
        raise OSError(f'the boot service cannot do it now: {said}')
    return answer


def _object(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


class Reporter:
    """Tells how far an install is, beside it: a service that is gone must not slow an install down.

    Only the newest state is sent, at most every 0.2 s.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._latest: tuple[float, str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='progress', daemon=True)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(3)

    @property
    def running(self) -> bool:
        """Whether something may still be sent."""
        return self._thread.is_alive()

    def tell(self, percent: float, text: str) -> None:
        """Note the state; it is sent when its time comes."""
        self._latest = (percent, text[:TEXT_LIMIT])

    def _run(self) -> None:
        sent = None
        while not self._stop.wait(PROGRESS_EVERY):
            latest = self._latest
            if latest is None or latest == sent:
                continue
            try:
                self._service.post('progress', {'percent': latest[0], 'text': latest[1]}, timeout=2)
            except (OSError, InstallError):
                continue  # the next one may be heard
            sent = latest
