"""A machine in memory: for tests, and as the shortest example of a driver."""

from __future__ import annotations

from ovca.exceptions import PowerError
from ovca.power.base import Bmc, BootDevice, PowerDriver, PowerState


class FakePower(PowerDriver):
    """Keeps the machine's state in itself; the attributes that follow give it the vices of real BMCs."""

    def __init__(self, bmc: Bmc) -> None:
        super().__init__(bmc)
        self.power = PowerState.OFF
        self.boot_once: BootDevice | None = None
        self.orders: list[str] = []
        self.unreachable = False
        self.stays_on = False
        """Orders to power off are accepted, and ignored."""

    def state(self) -> PowerState:
        self._answer()
        return self.power

    def on(self) -> None:
        self._order('on')
        self.power = PowerState.ON

    def off(self) -> None:
        self._order('off')
        if not self.stays_on:
            self.power = PowerState.OFF

    def set_boot_once(self, device: BootDevice) -> None:
        self._order(f'boot {device}')
        self.boot_once = device

    def _order(self, text: str) -> None:
        self._answer()
        self.orders.append(text)

    def _answer(self) -> None:
        if self.unreachable:
            raise PowerError(f'{self.bmc.node}: its BMC {self.bmc.address} does not answer')
