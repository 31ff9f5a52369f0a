"""The fake keeps the contract of the components."""

from __future__ import annotations

import pytest

from ovca.remaster.components import Component
from ovca.remaster.fakes import FakeComponent, FakeDevice
from ovca.testing import contracts


class TestFake(contracts.ComponentContract):
    name = 'fake'

    @pytest.fixture(autouse=True)
    def _device(self) -> None:
        self.device = FakeDevice()

    def make_driver(self) -> Component:
        return FakeComponent(self.config.load(), device=self.device)

    def make_broken(self) -> Component:
        return FakeComponent(self.config.load(), device=FakeDevice(failures=5))
