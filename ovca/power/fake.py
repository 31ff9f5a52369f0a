"""A machine in memory, with the vices of real BMCs: for tests, and as the shortest example of a driver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ovca.power.base import Bmc, BootDevice, Capability, PowerDriver, PowerState

__all__ = ['FakeMachine', 'FakePower', 'Vices']


@dataclass
class Vices:
    """What is wrong with a BMC; change it at any time."""

    off_delay: int = 0
    """So many readings still say "on" after the order to power off."""
    stuck_on: bool = False
    """Orders to power off are accepted, and nothing happens."""
    unreachable: bool = False
    """Every call fails."""
    lose_replies: int = 0
    """So many orders are carried out, and their answers are lost."""
    ignore_boot_device: bool = False
    """The boot device is accepted and forgotten."""
    repeat_network_boot: bool = False
    """A network boot that should happen once happens at every boot."""


@dataclass
class FakeMachine:
    """The machine behind a BMC; several drivers may talk to one."""

    power: PowerState = PowerState.OFF
    next_boot: BootDevice = BootDevice.DISK
    media: str | None = None
    vices: Vices = field(default_factory=Vices)
    boots: list[BootDevice] = field(default_factory=list)
    """What each boot started from."""
    orders: list[str] = field(default_factory=list)
    on_boot: Callable[[BootDevice], None] | None = None
    """Called at each boot."""
    on_off: Callable[[], None] | None = None
    """Called when the power goes."""
    _off_in: int | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def read(self) -> PowerState:
        """Return the power state; a delayed "off" comes nearer with each reading."""
        with self._lock:
            if self._off_in is not None:
                self._off_in -= 1
                if self._off_in < 0:
                    self._gone()
            return self.power

    def turn_on(self) -> None:
        with self._lock:
            self.orders.append('on')
            if self.power is PowerState.ON:
                return
            self.power, device = PowerState.ON, self.next_boot
            if not (device is BootDevice.NETWORK and self.vices.repeat_network_boot):
                self.next_boot = BootDevice.DISK
            self.boots.append(device)
        if self.on_boot:
            self.on_boot(device)

    def turn_off(self) -> None:
        with self._lock:
            self.orders.append('off')
            if self.power is PowerState.OFF or self.vices.stuck_on:
                return
            if not self.vices.off_delay:
                self._gone()
            elif self._off_in is None:
                self._off_in = self.vices.off_delay

    def choose(self, device: BootDevice) -> None:
        with self._lock:
            self.orders.append(f'boot {device}')
            if not self.vices.ignore_boot_device:
                self.next_boot = device

    def _gone(self) -> None:
        self._off_in, self.power = None, PowerState.OFF
        if self.on_off:
            self.on_off()


class FakePower(PowerDriver):
    """A driver of a :class:`FakeMachine`."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.BOOT_ONCE, Capability.MEDIA})

    def __init__(self, bmc: Bmc, *, machine: FakeMachine | None = None, **timing: Any) -> None:
        super().__init__(bmc, **timing)
        self.machine = machine or FakeMachine()

    def _state(self) -> PowerState:
        self._reach()
        return self.machine.read()

    def _on(self) -> None:
        self._reach()
        self.machine.turn_on()
        self._reply()

    def _off(self) -> None:
        self._reach()
        self.machine.turn_off()
        self._reply()

    def _set_boot_once(self, device: BootDevice) -> None:
        self._reach()
        self.machine.choose(device)
        self._reply()

    def _insert_media(self, url: str) -> None:
        self._reach()
        self.machine.media = url

    def _eject_media(self) -> None:
        self._reach()
        self.machine.media = None

    def _reach(self) -> None:
        if self.machine.vices.unreachable:
            raise ConnectionRefusedError('the connection is refused')

    def _reply(self) -> None:
        if self.machine.vices.lose_replies > 0:
            self.machine.vices.lose_replies -= 1
            raise TimeoutError('no answer in time')
