"""The interface of a power driver, and the promises that its base keeps."""

from __future__ import annotations

import enum
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from ovca.exceptions import PowerError


class PowerState(enum.StrEnum):
    """What a BMC says of its machine."""

    ON = 'on'
    OFF = 'off'
    UNKNOWN = 'unknown'


class BootDevice(enum.StrEnum):
    """What a machine boots from."""

    NETWORK = 'network'
    DISK = 'disk'


@dataclass(frozen=True)
class Bmc:
    """Where a BMC is and how to talk to it; times in seconds."""

    node: str
    address: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 10.0
    verify: bool = True
    poll: float = 0.5


class NotOff(PowerError):
    """A machine was powered off, but was not seen to be off in time."""

    def __init__(self, bmc: Bmc, timeout: float, state: PowerState) -> None:
        super().__init__(
            f'{bmc.node}: its BMC {bmc.address} was told to power it off, but {timeout:g} s later the machine is '
            f'{state}; look at the machine, nothing is done to it or instead of it until it is seen to be off'
        )


class PowerDriver(ABC):
    """Power control of one machine; entry-point group ``ovca.power``.

    A driver writes the abstract methods and raises :exc:`~ovca.exceptions.PowerError` for whatever goes wrong. An
    order that a BMC has accepted is no proof of anything: :meth:`off_and_wait` reads the state until it is OFF.
    """

    api = 1

    def __init__(self, bmc: Bmc, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.bmc, self._clock = bmc, clock

    @abstractmethod
    def state(self) -> PowerState:
        """Read the machine's power state."""

    @abstractmethod
    def on(self) -> None:
        """Order power on; a machine that is on stays so."""

    @abstractmethod
    def off(self) -> None:
        """Order power off, at once and without asking the machine."""

    @abstractmethod
    def set_boot_once(self, device: BootDevice) -> None:
        """Choose the device of the next boot only."""

    def insert_media(self, url: str) -> None:
        """Attach an ISO as virtual media, where the driver can."""
        raise PowerError(f'{self.bmc.node}: this power driver has no virtual media; boot from the network')

    def eject_media(self) -> None:
        """Detach the virtual media, where the driver can."""

    def off_and_wait(self, timeout: float) -> None:
        """Power off, and return once the machine was *seen* to be off.

        :raises NotOff: it was not, within ``timeout`` seconds.
        """
        end = self._clock() + timeout
        self.off()
        while True:
            state = self.state()
            if state is PowerState.OFF:
                return
            if self._clock() >= end:
                raise NotOff(self.bmc, timeout, state)
            time.sleep(min(self.bmc.poll, max(0.0, end - self._clock())))

    def cycle(self, timeout: float) -> None:
        """Power off, see it off, power on."""
        if self.state() is not PowerState.OFF:
            self.off_and_wait(timeout)
        self.on()
