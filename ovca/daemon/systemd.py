"""Telling systemd: ready, alive, stopping (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket

LOG = logging.getLogger(__name__)


def notify(text: str) -> None:
    """Send one message to the service manager; without one, or while it does not listen, nothing happens.

    A manager that is executed anew is away for a moment, and that must not end, or hold up, what serves.
    """
    address = os.environ.get('NOTIFY_SOCKET')
    if not address:
        return
    if address.startswith('@'):
        address = '\0' + address[1:]
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        with socket.socket(socket.AF_UNIX, kind) as channel:
            channel.sendto(text.encode(), address)
    except OSError as exc:
        LOG.warning('%s was not told to the service manager: %s', text, exc)
