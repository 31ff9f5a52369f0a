"""Roles: what starts when a node begins to act as master, and stops before it ceases to."""

from __future__ import annotations

import logging
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ovca.conf.addresses import bare
from ovca.exceptions import OvcaError

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['Role', 'RoleError']

LOG = logging.getLogger(__name__)
GROUP = 'ovca.role'
TELLING = 10.0
"""Seconds, at most, in which the neighbours of a new address are told of it."""


class RoleError(OvcaError):
    """A role service did not start or stop."""

    id = 'role-failed'


class Role(ABC):
    """One service that only the acting master has; entry-point group ``ovca.role``.

    A driver writes :meth:`start`, :meth:`stop` and :meth:`running`. The entry point's name is what an operator writes
    into ``[cluster] roles``; roles start in that order and stop in the reverse one.

    *When it is called.* ovcad builds the role once, at its start, on each node whose configuration names it;
    ``__init__`` must not connect anywhere, and a ``ConfigError`` from it stops ovcad. :meth:`start` is called whenever
    the node begins to act as master: after a take-over, a hand-over, or a restart of ovcad, when the service may run
    already. :meth:`stop` is called when it ceases to act, when ovcad ends, and whenever it is not sure: also for
    a service that never ran. :meth:`running` is asked before the lease is given away.

    *From which thread.* From several, but :meth:`start` and :meth:`stop` never at the same time.

    *How long it may take.* Seconds. :meth:`start` and :meth:`stop` hold up the take-over or hand-over that they are
    part of, and nobody serves meanwhile; the lease is kept while roles start. A master that has lost the database stops
    its roles after ``[cluster] self_demote`` seconds; what has not stopped when the lease's ``ttl`` is over ends when
    the other node powers this one off. So give every command a time-out.

    *What errors mean.* Raise :class:`RoleError` (or another ``OvcaError``) with a sentence for the operator. When
    :meth:`start` fails, the other roles are started all the same, and the node is unhealthy until the next start.
    When :meth:`stop` fails it is an alarm in the log, and a hand-over is given up as long as :meth:`running` is true.
    Any other exception is a mistake in the program and ends ovcad, which is started again.

    *What must be idempotent.* Both: to start what runs, and to stop what does not, changes nothing and is no error.
    :meth:`running` looks at the world and not at a flag: it is asked by a new process about what an old one started.
    When in doubt it says True.

    .. code-block:: python

        class Nfs(Role):
            api = 1

            def start(self) -> None:
                self._systemctl('start')

            def stop(self) -> None:
                self._systemctl('stop')

            def running(self) -> bool:
                return subprocess.run(['systemctl', 'is-active', '--quiet', 'nfs-server'], timeout=10).returncode == 0

            def _systemctl(self, verb: str) -> None:
                done = subprocess.run(['systemctl', verb, 'nfs-server'], timeout=20, capture_output=True, text=True)
                if done.returncode:
                    raise RoleError(f'nfs-server: {done.stderr.strip()}; see `systemctl status nfs-server`')
    """

    api: ClassVar[int] = 1

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
            self._tell_neighbours()

    def _tell_neighbours(self) -> None:
        """A switch that still sends to the old node would make the master deaf; it finds out by itself, only later."""
        if ':' in self._bare() or not _have('arping'):
            return
        words = ['arping', '-c', '2', '-A', '-I', self.conf.cluster.virtual_ip_interface, self._bare()]
        try:
            subprocess.run(words, capture_output=True, timeout=TELLING, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            LOG.warning('%s serves, and its neighbours were not told: %s', self._bare(), exc)

    def stop(self) -> None:
        if self.conf.cluster.virtual_ip_interface and self.running():
            self._ip('addr', 'del', self._address(), 'dev', self.conf.cluster.virtual_ip_interface)

    def running(self) -> bool:
        interface = self.conf.cluster.virtual_ip_interface
        if not interface:
            return False
        return f' {self._bare()}/' in self._ip('addr', 'show', 'dev', interface)

    def _bare(self) -> str:
        return bare(self.conf.cluster.virtual_ip)

    def _address(self) -> str:
        address = str(self.conf.cluster.virtual_ip)
        return address if '/' in address else f'{address}/{128 if ":" in address else 32}'

    def _ip(self, *words: str) -> str:
        try:
            done = subprocess.run(
                ['ip', *words], capture_output=True, text=True, errors='replace', timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise RoleError(f'ip {" ".join(words)}: {exc}', id='virtual-ip') from exc
        if done.returncode:
            raise RoleError(f'ip {" ".join(words)}: {done.stderr.strip()}', id='virtual-ip')
        return done.stdout


def _have(program: str) -> bool:
    import shutil

    return shutil.which(program) is not None
