"""The fake keeps the contract of the roles."""

from __future__ import annotations

import pytest

from ovca.cluster.fakes import FakeRole, FakeService
from ovca.cluster.roles import Role
from ovca.testing import contracts


class TestFake(contracts.RoleContract):
    name = 'fake'

    @pytest.fixture(autouse=True)
    def _service(self) -> None:
        self.service = FakeService()

    def make_role(self) -> Role:
        return FakeRole(self.config.load(), service=self.service)

    def kill(self, role: Role) -> None:
        self.service.serving = False

    def make_broken(self) -> Role:
        return FakeRole(self.config.load(), service=FakeService(broken='no licence'))
