"""The notifiers of the core keep their contract."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from ovca import notify
from ovca.notify.base import Notifier
from ovca.notify.fake import FakeNotifier
from ovca.testing import contracts


class TestCommand(contracts.NotifyContract):
    name = 'command'

    @pytest.fixture(autouse=True)
    def _command(self, _an_appliance: None, tmp_path: Path) -> None:
        self.inbox = tmp_path / 'inbox'
        self.config.set('notify', command=f'/bin/sh -c "cat >> {self.inbox}"')

    def make_broken(self) -> Notifier:
        self.config.set('notify', command='/bin/sh -c "echo nobody is there >&2; exit 3"')
        return notify.load_one(self.config.load(), self.name)

    def received(self) -> Sequence[str]:
        return self.inbox.read_text().splitlines() if self.inbox.exists() else []


class TestLog(contracts.NotifyContract):
    name = 'log'
    can_fail = False

    @pytest.fixture(autouse=True)
    def _log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, 'ovca.notify.log')
        self.caplog = caplog

    def received(self) -> Sequence[str]:
        return [record.getMessage() for record in self.caplog.records if record.name == 'ovca.notify.log']


class TestFake(contracts.NotifyContract):
    name = 'fake'

    @pytest.fixture(autouse=True)
    def _none_yet(self) -> None:
        self.drivers: list[FakeNotifier] = []

    def make_driver(self) -> Notifier:
        driver = notify.load_one(self.config.load(), self.name)
        assert isinstance(driver, FakeNotifier)
        self.drivers.append(driver)
        return driver

    def make_broken(self) -> Notifier:
        driver = FakeNotifier(self.config.load())
        driver.broken = 'nobody is there'
        return driver

    def received(self) -> Sequence[str]:
        return [str(message.as_dict()) for driver in self.drivers for message in driver.sent]
