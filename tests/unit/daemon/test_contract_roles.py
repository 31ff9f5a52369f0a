"""The boot service and the status server on the virtual IP keep the contract of the roles."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ovca.cluster.roles import Role
from ovca.daemon.roles import BootService, StatusService
from ovca.daemon.status import status_app
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


class TestStatusService(contracts.RoleContract):
    name = 'status-service'
    in_process = True

    @pytest.fixture(autouse=True)
    def _ports(self, _an_appliance: None) -> Iterator[None]:
        self.config.set('cluster', address='127.0.0.1', virtual_ip='127.200.0.9', port=free_port('127.200.0.9'))
        self.taken: list[socket.socket] = []
        yield
        for each in self.taken:
            each.close()

    def make_role(self) -> Role:
        role = StatusService(self.config.load())
        role.app = status_app(dict, lambda: None)
        return role

    def kill(self, role: Role) -> None:
        assert isinstance(role, StatusService)
        assert role._server is not None
        role._server.stop()

    def make_broken(self) -> Role:
        self.taken.append(socket.create_server(('127.200.0.9', self.config.load().cluster.port)))
        return self.make_role()
