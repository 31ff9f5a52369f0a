"""Telling systemd: ready, alive, stopping (sd_notify(3))."""

from __future__ import annotations

import os
import socket


def notify(text: str) -> None:
    """Send one message to the service manager; without one nothing happens."""
    address = os.environ.get('NOTIFY_SOCKET')
    if not address:
        return
    if address.startswith('@'):
        address = '\0' + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(text.encode(), address)
