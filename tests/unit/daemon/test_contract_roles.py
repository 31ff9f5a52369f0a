"""The boot service and the status server on the virtual IP keep the contract of the roles."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.cluster.roles import Role
from ovca.daemon.roles import BootService, StatusService
from ovca.daemon.status import status_app
from ovca.provision.fake import FakeAuthority
from ovca.testing import contracts
from ovca.testing.appliance import Config
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


@pytest.mark.parametrize(
    ('virtual_ip', 'host'),
    [('192.0.2.10/24', '192.0.2.10'), ('FD00:0::10/64', '[fd00::10]'), ('fd00::10', '[fd00::10]')],
)
def test_the_boot_service_is_named_as_urls_name_it(tmp_path: Path, virtual_ip: str, host: str) -> None:
    config = Config(tmp_path)
    config.set('cluster', virtual_ip=virtual_ip)
    role = BootService(config.load())

    assert (role.boot_url, role.tls_facts[0]) == (f'http://{host}:6641', f'https://{host}:6642')


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
