"""Roles: what starts when a node begins to act as master, and stops before it ceases to."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ovca.exceptions import OvcaError

if TYPE_CHECKING:
    from oslo_config import cfg

GROUP = 'ovca.role'


class RoleError(OvcaError):
    """A role service did not start or stop."""


class Role(ABC):
    """One service of the master; entry-point group ``ovca.role``.

    :meth:`start` and :meth:`stop` are idempotent. A hand-over goes on only when :meth:`running` says that nothing is
    left, so it must look at the world and not at a flag.
    """

    api = 1

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @abstractmethod
    def start(self) -> None:
        """Start it; return when it serves. :raises RoleError: it does not."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it; return when it is gone. :raises RoleError: it is not."""

    @abstractmethod
    def running(self) -> bool:
        """Whether it serves on this node."""


class VirtualIp(Role):
    """The virtual IP, added to ``[cluster] virtual_ip_interface``; without an interface there is nothing to add."""

    def start(self) -> None:
        if self.conf.cluster.virtual_ip_interface and not self.running():
            self._ip('addr', 'add', self._address(), 'dev', self.conf.cluster.virtual_ip_interface)
            # Tell the neighbours; a switch that still sends to the old node would make the master deaf.
            subprocess.run(
                ['arping', '-c', '2', '-A', '-I', self.conf.cluster.virtual_ip_interface, self._bare()],
                capture_output=True,
                timeout=10,
                check=False,
            ) if _have('arping') else None

    def stop(self) -> None:
        if self.conf.cluster.virtual_ip_interface and self.running():
            self._ip('addr', 'del', self._address(), 'dev', self.conf.cluster.virtual_ip_interface)

    def running(self) -> bool:
        interface = self.conf.cluster.virtual_ip_interface
        if not interface:
            return False
        return f' {self._bare()}/' in self._ip('addr', 'show', 'dev', interface)

    def _bare(self) -> str:
        return str(self.conf.cluster.virtual_ip).split('/')[0]

    def _address(self) -> str:
        address = str(self.conf.cluster.virtual_ip)
        return address if '/' in address else f'{address}/32'

    def _ip(self, *words: str) -> str:
        try:
            done = subprocess.run(['ip', *words], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise RoleError(f'ip {" ".join(words)}: {exc}') from exc
        if done.returncode:
            raise RoleError(f'ip {" ".join(words)}: {done.stderr.strip()}')
        return done.stdout


def _have(program: str) -> bool:
    import shutil

    return shutil.which(program) is not None
