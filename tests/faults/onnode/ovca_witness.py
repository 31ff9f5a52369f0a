"""A role that is a process of its own, as a real service is: it goes on when ovcad dies, and ends with the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ovca_witness_service as service  # type: ignore[import-not-found]

from ovca.cluster.roles import Role, RoleError

if TYPE_CHECKING:
    from oslo_config import cfg


class Witness(Role):
    """Starts and stops the service."""

    api = 1

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        # The mark that everything of a machine in the lab carries.
        self.lab, _, self.node = os.environ['OVCA_LAB_MACHINE'].rpartition(':')

    def start(self) -> None:
        if self.running():
            return
        program = Path(__file__).with_name('ovca_witness_service.py')
        subprocess.Popen([sys.executable, '-ISB', str(program), self.lab, self.node], stdin=subprocess.DEVNULL)
        self._wait(self.running, 'start')

    def stop(self) -> None:
        pid = service.process(self.lab, self.node)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            self._wait(lambda: not self.running(), 'stop')

    def running(self) -> bool:
        return service.process(self.lab, self.node) is not None

    def _wait(self, true: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 5
        while not true():
            if time.monotonic() > end:
                raise RoleError(f'the witness does not {what}')
            time.sleep(0.01)
