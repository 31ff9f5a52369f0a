"""The boot service keeps the contract of the roles."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ovca.cluster.roles import Role
from ovca.daemon.roles import BootService
from ovca.provision.fake import FakeAuthority
from ovca.testing import contracts
from tests.conftest import free_port


class TestBootService(contracts.RoleContract):
    name = 'boot-service'
    in_process = True

    @pytest.fixture(autouse=True)
    def _ports(self, _an_appliance: None) -> Iterator[None]:
        self.config.set('cluster', virtual_ip='127.0.0.1', boot_port=free_port(), boot_tls_port=free_port())
        self.config.set('provision', driver='process')
        self.taken: list[socket.socket] = []
        yield
        for each in self.taken:
            each.close()

    def make_role(self) -> Role:
        role = BootService(self.config.load())
        role.authority = FakeAuthority()
        return role

    def kill(self, role: Role) -> None:
        assert isinstance(role, BootService)
        for server in role._servers:
            server.stop()

    def make_broken(self) -> Role:
        self.taken.append(socket.create_server(('127.0.0.1', self.config.load().cluster.boot_tls_port)))
        return self.make_role()
