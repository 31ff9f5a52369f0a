"""A source in memory: for tests, and as the shortest example of a driver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovca.backup.base import BackupSource, SourceFailed

if TYPE_CHECKING:
    from oslo_config import cfg

FILE = 'settings'


@dataclass
class FakeSettings:
    """What there is to be saved; both nodes' sources may share it."""

    text: str = ''
    broken: str | None = None
    """Why it can be neither read nor written."""


class FakeSource(BackupSource):
    """Saves and puts back a :class:`FakeSettings`."""

    def __init__(self, conf: cfg.ConfigOpts, *, settings: FakeSettings | None = None) -> None:
        super().__init__(conf)
        self.settings = settings or FakeSettings()

    def save(self, folder: Path) -> None:
        self._reach()
        (folder / FILE).write_text(self.settings.text)

    def restore(self, folder: Path) -> None:
        self._reach()
        self.settings.text = (folder / FILE).read_text()

    def _reach(self) -> None:
        if self.settings.broken:
            raise SourceFailed(f'the fake settings cannot be reached: {self.settings.broken}')
