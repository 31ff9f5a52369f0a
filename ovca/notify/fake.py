"""A notifier that remembers: for tests, and as the shortest example of a driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovca.notify.base import Message, Notifier

if TYPE_CHECKING:
    from oslo_config import cfg


class FakeNotifier(Notifier):
    """Keeps what it is told in :attr:`sent`; while :attr:`broken` holds a text, it takes nothing and says so."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self.sent: list[Message] = []
        self.tried = 0
        """How often it was called."""
        self.broken: str | None = None

    def _send(self, message: Message) -> None:
        self.tried += 1
        if self.broken:
            raise ConnectionRefusedError(self.broken)
        self.sent.append(message)
