"""Does to a lab what a fault says, and takes it back; whatever is not there at that instant cannot be hurt."""

from __future__ import annotations

import contextlib
import os
import resource
import signal

from ovca.lab import hardware, machine, processes
from ovca.lab.lab import Lab
from ovca.lab.processes import Process
from ovca.lab.spec import LabError
from tests.conftest import PostgresServer
from tests.faults.plan import Fault

FULL = 1 << 20
"""Bytes that a file may have while the disk is "full": less than an image, its libraries and a database's journal."""
VICES: dict[str, tuple[str, object]] = {
    'bmc-dead': ('unreachable', True),
    'bmc-stuck': ('stuck_on', True),
    'bmc-slow': ('off_delay', 2.0),
}


class Injector:
    """The hands that break things in one lab."""

    def __init__(self, lab: Lab, server: PostgresServer | None) -> None:
        self.lab, self.server = lab, server
        self._stopped: dict[Fault, list[Process]] = {}

    def begin(self, fault: Fault) -> None:
        """Let it happen. :raises LabError: there is nothing that it could happen to."""
        match fault.kind:
            case 'kill':
                self.lab.kill_service(fault.node)
            case 'pause':
                self._stop(fault, [self._service(fault.node)])
            case 'freeze':
                self._stop(fault, self._members(fault.node))
            case 'power-cut':
                self.lab.cut_power(fault.node)
            case 'cut':
                self.lab.cut(fault.node, fault.what)
            case 'silence':
                self.lab.silence(fault.node, fault.what)
            case 'full-disk':
                self._limit(fault.node, FULL)
            case 'database-restart':
                self._server().stop()
            case _:
                self.lab.set_vice(fault.node, *VICES[fault.kind])

    def end(self, fault: Fault) -> None:
        """Take it back, for good."""
        match fault.kind:
            case 'pause' | 'freeze':
                for process in self._stopped.pop(fault, []):
                    process.kill(signal.SIGCONT)
            case 'power-cut':
                # The power comes back; a machine that was on before is switched on, as firmware does.
                hardware.PowerSupply(self.lab.spec, self.lab.node(fault.node)).on()
            case 'cut' | 'silence':
                self.lab.mend(fault.node, fault.what)
            case 'full-disk':
                self._limit(fault.node, resource.RLIM_INFINITY)
            case 'database-restart':
                self._server().again()
            case 'kill':
                pass
            case _:
                self.lab.set_vice(fault.node, VICES[fault.kind][0], None)

    def _stop(self, fault: Fault, found: list[Process]) -> None:
        self._stopped[fault] = [process for process in found if process.kill(signal.SIGSTOP)]

    def _service(self, node: str) -> Process:
        found = Process.read(self.lab.node(node).service_pid)
        if found is None:
            raise LabError(f'no service runs on {node}')
        return found

    def _members(self, node: str) -> list[Process]:
        spec = self.lab.node(node)
        supply = hardware.PowerSupply(self.lab.spec, spec)
        power = supply.machine()
        if power is None:
            raise LabError(f'{node} has no power')
        return list(processes.members(power.pid, machine.mark_of(self.lab.spec, spec)))

    def _limit(self, node: str, size: int) -> None:
        """Bound the size of files that what runs on a node may write: beyond it, as with a full disk, writing fails.

        The firmware is left alone; what it starts meanwhile has the disk of before.
        """
        with contextlib.suppress(LabError):
            for process in self._members(node):
                with contextlib.suppress(ProcessLookupError):
                    if os.getpgid(process.pid) != process.pid:
                        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def _server(self) -> PostgresServer:
        if self.server is None:
            raise LabError('this lab has no database server')
        return self.server
