"""The fake keeps the contract of the power drivers."""

from __future__ import annotations

import pytest

from ovca.power.base import Bmc, PowerDriver
from ovca.power.fake import FakeMachine, FakePower, Vices
from ovca.testing import contracts

BMC = Bmc('mn1', 'fake://operator:hunter2@bmc1.example.com/1', 'operator', 'hunter2', poll=0.01)


class TestFake(contracts.PowerContract):
    name = 'fake'

    @pytest.fixture(autouse=True)
    def _machine(self) -> None:
        self.machine = FakeMachine(vices=Vices(off_delay=2))

    def make_driver(self) -> PowerDriver:
        return FakePower(BMC, machine=self.machine)

    def make_unreachable(self) -> PowerDriver:
        return FakePower(BMC, machine=FakeMachine(vices=Vices(unreachable=True)))
