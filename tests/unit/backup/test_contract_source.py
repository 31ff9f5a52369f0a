"""The fake keeps the contract of the sources of backups."""

from __future__ import annotations

import pytest

from ovca.backup.base import BackupSource
from ovca.backup.fake import FakeSettings, FakeSource
from ovca.testing import contracts


class TestFake(contracts.BackupContract):
    name = 'fake'

    @pytest.fixture(autouse=True)
    def _settings(self) -> None:
        self.settings = FakeSettings('as an operator has set it')

    def make_driver(self) -> BackupSource:
        return FakeSource(self.config.load(), settings=self.settings)

    def make_broken(self) -> BackupSource:
        return FakeSource(self.config.load(), settings=FakeSettings(broken='its cable is out; plug it in'))

    def state(self) -> object:
        return self.settings.text

    def change(self) -> None:
        self.settings.text = 'lost'
