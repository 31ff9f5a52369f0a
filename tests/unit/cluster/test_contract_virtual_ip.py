"""The virtual IP keeps the contract of the roles, in a network of its own."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.cluster import roles
from ovca.cluster.roles import Role, VirtualIp
from ovca.testing import contracts
from tests.conftest import missing_peer

CLONE_NEWNET = 0x40000000


@pytest.fixture
def network() -> Iterator[None]:
    """This thread, and what it starts, lives in a network that nobody else sees."""
    if os.geteuid() != 0:
        missing_peer('a network of its own needs root')
    if shutil.which('ip') is None:
        missing_peer('a network of its own needs the program ip: apt-get install iproute2')
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET):
            missing_peer(f'this machine gives no network of its own: {os.strerror(ctypes.get_errno())}')
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True, timeout=10)
        yield
        assert libc.setns(before, CLONE_NEWNET) == 0
    finally:
        os.close(before)


class TestVirtualIp(contracts.RoleContract):
    name = 'virtual-ip'

    @pytest.fixture(autouse=True)
    def _address(self, network: None, _an_appliance: None) -> None:
        self.config.set('cluster', virtual_ip='192.0.2.7/24', virtual_ip_interface='lo')

    def kill(self, role: Role) -> None:
        subprocess.run(['ip', 'addr', 'del', '192.0.2.7/24', 'dev', 'lo'], check=True, timeout=10)

    def make_broken(self) -> Role:
        self.config.set('cluster', virtual_ip_interface='none0')
        return VirtualIp(self.config.load())


def test_an_address_of_ipv6_is_added_alone_however_it_is_written(network: None, tmp_path: Path) -> None:
    from ovca.testing.appliance import Config

    if not Path('/proc/net/if_inet6').exists():
        missing_peer('this machine has no IPv6')
    config = Config(tmp_path)
    config.set('cluster', virtual_ip='FD00:0::7', virtual_ip_interface='lo')
    role = VirtualIp(config.load())

    role.start()

    shown = subprocess.run(['ip', 'addr', 'show', 'dev', 'lo'], capture_output=True, text=True, check=True, timeout=10)
    assert (' fd00::7/128 ' in shown.stdout, role.running()) == (True, True)
    role.stop()
    assert not role.running()


def test_without_an_interface_nothing_is_added(network: None, tmp_path: Path) -> None:
    from ovca.testing.appliance import Config

    config = Config(tmp_path)
    config.set('cluster', virtual_ip='192.0.2.7/24')
    role = VirtualIp(config.load())

    role.start()

    shown = subprocess.run(['ip', 'addr', 'show'], capture_output=True, text=True, check=True, timeout=10).stdout
    assert '192.0.2.7' not in shown


@pytest.mark.parametrize('arping', ['#!/bin/sh\nexec sleep 30\n', 'no program\0'])
def test_an_address_is_added_although_the_neighbours_cannot_be_told(
    network: None, tmp_path: Path, arping: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ovca.testing.appliance import Config

    program = tmp_path / 'bin/arping'
    program.parent.mkdir()
    program.write_text(arping)
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{program.parent}:{os.environ["PATH"]}')
    monkeypatch.setattr(roles, 'TELLING', 0.2)
    config = Config(tmp_path)
    config.set('cluster', virtual_ip='192.0.2.7/24', virtual_ip_interface='lo')
    role = VirtualIp(config.load())

    role.start()  # a master whose service ends there, and is started anew, ends there for ever

    assert role.running()
    assert 'arping' in caplog.text
