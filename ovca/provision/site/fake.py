"""A site item whose settings are in memory: for tests, and as the shortest example of one that no file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovca.provision.site.base import SiteItem

if TYPE_CHECKING:
    from oslo_config import cfg


class FakeItem(SiteItem):
    """Keeps :attr:`settings`; while :attr:`broken` holds a text, nothing can be read or set."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self.settings: str | None = None
        self.broken: str | None = None

    def _save(self, root: Path) -> bytes | None:
        self._reach()
        return None if self.settings is None else self.settings.encode()

    def _restore(self, root: Path, data: bytes) -> None:
        self._reach()
        self.settings = data.decode()

    def _reach(self) -> None:
        if self.broken:
            raise ConnectionRefusedError(self.broken)
