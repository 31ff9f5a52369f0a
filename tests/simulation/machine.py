"""A simulated machine: its BMC, its firmware, and what runs on it: nothing, an installer, or a node's service."""

from __future__ import annotations

import argparse
import json
import logging
from typing import TYPE_CHECKING, Any

from ovca.cluster.fakes import FakeService
from ovca.power.base import BootDevice, PowerState
from ovca.power.fake import FakeMachine, FakePower
from ovca.provision import installer
from ovca.provision.boot import answered, boot_script
from ovca.provision.bounded import Pace
from ovca.provision.client import Service, heeded
from tests.simulation.network import ask_boot_service
from tests.simulation.scheduler import Process

if TYPE_CHECKING:
    from tests.simulation.appliance import Appliance
    from tests.simulation.node import Running

PACE = Pace(logging.getLogger(__name__))
FIRMWARE = 0.6
"""Seconds from power on to the boot device."""
STARTING = 0.3
"""Seconds from the boot device to the service."""
RESTART = 1.0
"""Seconds until a service that has ended is started again."""
STEP = 0.3
"""Seconds that one step of an installer takes."""


class Bmc(FakePower):
    """A driver whose every order is an effect, before and after which something may break."""

    appliance: Appliance

    def _on(self) -> None:
        self.appliance.effect(f'power on {self.bmc.node}', super()._on)

    def _off(self) -> None:
        self.appliance.effect(f'power off {self.bmc.node}', super()._off)

    def _set_boot_once(self, device: BootDevice) -> None:
        self.appliance.effect(f'boot {self.bmc.node} from {device}', lambda: FakePower._set_boot_once(self, device))

    def _reach(self) -> None:
        self.appliance.reach_bmc(self.bmc.node)
        super()._reach()


class Machine:
    """The hardware of one node."""

    def __init__(self, appliance: Appliance, name: str) -> None:
        self.appliance, self.name = appliance, name
        self.fake = FakeMachine(on_boot=self._boots, on_off=self._goes_off)
        self.process: Process | None = None
        """The installer, or the service."""
        self.running: Running | None = None
        """The service, while it runs."""
        self.service = FakeService()
        """What the role starts outside of the service: it outlives it, as an address outlives whoever added it."""
        self.installing: str | None = None
        """How far an installer is: ``asks``, ``granted``, ``wipes``."""
        self.attempt: tuple[int, int] | None = None
        """Update and attempt of the installer's order."""
        self.boots = 0
        self.off_since = self.alive_at = 0.0
        """When it was seen to be off, and when a service of it was last alive."""

    @property
    def on(self) -> bool:
        """Whether it has power."""
        return self.fake.power is PowerState.ON

    @property
    def serves(self) -> bool:
        """Whether the appliance's address is on this machine."""
        return self.on and self.service.serving

    def _goes_off(self) -> None:
        self.appliance.note(f'{self.name} is off')
        self._halt()
        self.off_since = self.appliance.scheduler.now

    def _halt(self) -> None:
        self._ends()
        self.service.serving = False
        self.appliance.disks.states.pop(self.name, None)

    def _ends(self) -> None:
        if self.running is not None:
            self.alive_at = self.appliance.scheduler.now
        if self.process is not None:
            self.appliance.scheduler.kill(self.process)
        self.process = self.running = self.installing = self.attempt = None

    def lose_power(self, returns: float | None) -> None:
        """The power is gone at once; after so many seconds it comes back, and the machine starts as it likes to."""
        if self.on:
            self.fake.power = PowerState.OFF
            self._goes_off()
        if returns is not None:
            self.appliance.later(returns, f'power returns to {self.name}', self.power_returns)

    def power_returns(self) -> None:
        """As by the button, or after an outage."""
        self.fake.turn_on()

    def reset(self, device: BootDevice | None = None) -> None:
        """Boot again at once."""
        if not self.on:
            return
        self._halt()
        if device is None:
            device, self.fake.next_boot = self.fake.next_boot, BootDevice.DISK
        self._boots(device)

    def _boots(self, device: BootDevice) -> None:
        self.boots += 1
        self.appliance.note(f'{self.name} boots from {device}')
        self.process = Process(f'{self.name} firmware {self.boots}')
        self.appliance.scheduler.start(self.process, 'firmware', lambda: self._firmware(device), FIRMWARE)

    # Firmware.

    def _firmware(self, device: BootDevice) -> None:
        if device is BootDevice.NETWORK and self._install():
            self.appliance.effect(f'{self.name} reboots', self.reset)
            return
        self.installing = self.attempt = None
        self.appliance.scheduler.sleep(STARTING)
        self.start_service()

    def start_service(self) -> None:
        """Start what is on the disk, if that is a system; the process that asks for it ends."""
        if not self.on:
            return
        if self.process is not None:
            self.appliance.scheduler.kill(self.process)
        self.process = self.running = self.installing = None
        self.appliance.disks.states.pop(self.name, None)
        digest, _, _ = self.appliance.disks.state(self.name)
        if digest is None:
            self.appliance.note(f'{self.name} has no bootable disk')
            return
        self.appliance.start_service(self)

    def kill_service(self) -> None:
        """Its process dies; the service manager starts it again. What serves beside it goes on."""
        if self.running is None or self.process is None:
            return
        self.appliance.note(f'{self.name}: the service is killed')
        self._ends()
        boot = self.boots
        self.appliance.later(RESTART, f'{self.name}: the service is started again', lambda: self._again(boot))

    def _again(self, boot: int) -> None:
        if self.on and self.boots == boot and self.running is None:
            self.start_service()

    # The installer.

    def _install(self) -> bool:
        """Ask for the boot script and do what it says; return whether a system was installed."""
        try:
            script = ask_boot_service(
                self.appliance,
                f'{self.name} asks for its boot script',
                lambda role: boot_script(role.authority, role.driver, self.appliance.macs[self.name], '', PACE),
            )
        except OSError:
            return False
        lines = script.splitlines()
        if lines[0] != 'install':
            return False
        facts = dict(line.partition('=')[::2] for line in lines[1:])
        order = argparse.Namespace(
            **{**facts, 'root': str(self.appliance.disks.root(self.name))},
            real=False,
            disk_boot_command=None,
            patience=3.0,
        )
        order.update, order.attempt = int(order.update), int(order.attempt)
        token = order.__dict__.pop('boot_token')
        self.installing, self.attempt = 'asks', (order.update, order.attempt)
        status = installer.run(
            order,
            token,
            connect=lambda url, fingerprint, identity: Line(self, url, fingerprint, identity),
            reporter=lambda service: Told(self, service),
            sync=lambda: None,
        )
        return status == installer.DONE

    def granted(self, nonce: str) -> None:
        """The installer has the right to wipe."""
        self.installing = 'granted'
        self.appliance.watch.granted(self, nonce)

    def wipes(self) -> None:
        """The first file is about to go."""
        if self.installing == 'granted':
            self.appliance.watch.wipes(self)
            self.installing = 'wipes'


class Line(Service):
    """The installer's way to the boot service; it may be cut, and what is said may arrive late or twice."""

    def __init__(self, machine: Machine, url: str, fingerprint: str, identity: dict[str, Any]) -> None:
        appliance = machine.appliance
        super().__init__(
            url,
            fingerprint,
            identity,
            clock=lambda: appliance.scheduler.now,
            sleep=appliance.scheduler.sleep,
        )
        self._machine = machine

    def post(self, name: str, body: dict[str, Any], *, timeout: float = 10) -> dict[str, Any]:
        machine = self._machine
        data = json.dumps({**self._identity, **body}).encode()
        answer, status = ask_boot_service(
            machine.appliance,
            f'{machine.name} says {name}',
            lambda role: answered(role.authority, name, data, '', PACE),
        )
        heeded(answer, status)
        if name == 'grant':
            machine.granted(self._identity['nonce'])
        return answer


class Told:
    """Progress of the installer, told as it comes; each step of it takes a while."""

    def __init__(self, machine: Machine, service: Service) -> None:
        self._machine, self._service = machine, service

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, percent: float, text: str) -> None:
        appliance = self._machine.appliance
        if percent == 0:
            self._machine.wipes()
        appliance.point(f'{self._machine.name} install {percent:g}')
        appliance.scheduler.sleep(STEP)
