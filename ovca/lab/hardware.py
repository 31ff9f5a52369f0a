"""The power supply of a machine: starting it, and taking its power away."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ovca.files import write_json
from ovca.lab import processes, spec
from ovca.lab.machine import environment, mark_of, service_environment

REBOOT = """#!{python} -ISB
# The reset button of {name}; ovca knows it as [cluster] reboot_command.
import json, os, signal, sys
try:
    machine = json.load(open({pid!r}))
    stat = open('/proc/%d/stat' % machine['pid']).read().rpartition(')')[2].split()
    if int(stat[19]) != machine['started']:
        raise OSError('its process has ended')
    os.kill(machine['pid'], signal.SIGHUP)
except (OSError, ValueError, KeyError) as exc:
    sys.exit('{name} has no power: %s' % exc)
"""


def write_card(node: spec.NodeSpec) -> None:
    """Put the node's network card into the machine, as the kernel would show it, with a cable in it."""
    card = node.network / 'eth0'
    card.mkdir(parents=True, exist_ok=True)
    (card / 'address').write_text(f'{node.mac}\n')
    (card / 'carrier').write_text('1\n')


class PowerSupply:
    """One machine's power. Its BMC and whoever pulls the plug may use it at the same time."""

    def __init__(self, lab: spec.LabSpec, node: spec.NodeSpec) -> None:
        self.lab, self.node = lab, node

    def machine(self) -> processes.Process | None:
        """The machine's process; None: it is off."""
        return processes.Process.read(self.node.pid)

    def on(self) -> None:
        """Start the machine; nothing happens when it runs."""
        with self._switch():
            self._on()

    def _on(self) -> None:
        if self.machine() is not None:
            return
        # What a machine that died by itself has left.
        processes.extinguish(-1, mark_of(self.lab, self.node))
        started = processes.spawn(
            [sys.executable, '-m', 'ovca.lab.machine', str(self.lab.folder), self.node.name],
            log=self.node.log,
            env={**os.environ, processes.MARK: mark_of(self.lab, self.node)},
            cwd=self.lab.folder,
        )
        found = processes.Process.of(started.pid)
        if found is not None:
            found.write(self.node.pid)

    def off(self) -> None:
        """Take the power away: all of the machine's processes are dead when this returns."""
        with self._switch():
            self._off()

    def _off(self) -> None:
        machine = self.machine()
        if machine is not None:
            with suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)  # in one stroke, as power goes
        processes.extinguish(machine.pid if machine else -1, mark_of(self.lab, self.node))
        self.node.pid.unlink(missing_ok=True)
        self.node.service_pid.unlink(missing_ok=True)

    @contextmanager
    def _switch(self) -> Iterator[None]:
        """One hand at a time, or a machine that is just starting is not seen by who takes its power away."""
        self.node.hardware.mkdir(parents=True, exist_ok=True)
        with (self.node.hardware / 'power.lock').open('w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def press_button(self) -> None:
        """Ask the machine to power off by itself."""
        machine = self.machine()
        if machine is not None:
            machine.kill(signal.SIGTERM)

    def set_next_boot(self, device: str) -> None:
        write_json(self.node.boot_device, {'next': device})

    def next_boot(self) -> str:
        return str(spec.read_json(self.node.boot_device).get('next', 'disk'))


def write_reboot(node: spec.NodeSpec, python: str) -> Path:
    """Write the node's reset button outside its disk; return its path."""
    button = node.hardware / 'reboot'
    button.parent.mkdir(parents=True, exist_ok=True)
    button.write_text(REBOOT.format(python=python, name=node.name, pid=str(node.pid)))
    button.chmod(0o755)
    return button


def command(lab: spec.LabSpec, node: spec.NodeSpec, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command line and environment of ``ovca`` as on the node: the software of its disk only."""
    terminal = {key: os.environ[key] for key in ('TERM', 'COLUMNS', 'LINES', 'NO_COLOR') if key in os.environ}
    boot = {'OVCA_BOOT_ID': node.boot_id.read_text().strip()} if node.boot_id.exists() else {}
    env = environment({**service_environment(node), **terminal, **boot})
    return [lab.python, '-S', '-m', 'ovca', *argv], env


def write_shell(lab: spec.LabSpec, node: spec.NodeSpec) -> Path:
    """Write ``hw/ovca``: the node's command, for people who type."""
    words, _ = command(lab, node, [])
    settings = [f'{key}={value}' for key, value in service_environment(node).items()]
    script = node.hardware / 'ovca'
    script.parent.mkdir(parents=True, exist_ok=True)
    boot = f'OVCA_BOOT_ID="$(cat {shlex.quote(str(node.boot_id))})"'
    script.write_text(f'#!/bin/sh\n# ovca as on {node.name}.\nexec env {boot} {shlex.join([*settings, *words])} "$@"\n')
    script.chmod(0o755)
    return script
