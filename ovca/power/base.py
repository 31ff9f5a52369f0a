"""Power drivers: what the appliance may ask of a machine's BMC.

A driver writes the private methods, one each; the base keeps the promises: every foreign error becomes a
:class:`~ovca.exceptions.PowerError` that names node, BMC and what to do and holds no secret, and a machine counts as
off only when its BMC was *read* to say so, never because an order was accepted.
"""

from __future__ import annotations

import enum
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

from ovca.exceptions import PowerError

__all__ = ['Bmc', 'BmcFailed', 'BootDevice', 'Capability', 'NotCapable', 'NotOff', 'PowerDriver', 'PowerState']

LOG = logging.getLogger(__name__)

GROUP = 'ovca.power'


class PowerState(enum.StrEnum):
    """What a BMC says of its machine."""

    ON = 'on'
    OFF = 'off'
    UNKNOWN = 'unknown'


class BootDevice(enum.StrEnum):
    """What the next boot starts from."""

    NETWORK = 'network'
    DISK = 'disk'
    MEDIA = 'media'


class Capability(enum.Enum):
    """What not every BMC can do."""

    BOOT_ONCE = 'choosing the next boot'
    MEDIA = 'virtual media'


@dataclass(frozen=True)
class Bmc:
    """Where a node's BMC is and how to talk to it; times in seconds."""

    node: str
    address: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 10.0
    verify: bool | str = True
    """Whether its certificate is checked, or the file of the authorities that it is checked against."""
    poll: float = 0.5

    @property
    def place(self) -> str:
        """The address without user and password, fit for messages."""
        try:
            parts = urlsplit(self.address)
        except ValueError:  # an address in brackets that is none
            return self.address.rpartition('@')[2]
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition('@')[2]))

    def without_secrets(self, text: str) -> str:
        """The text without the password."""
        return text.replace(self.password, '***') if self.password else text


class BmcFailed(PowerError):
    """A BMC did not answer, or refused an order."""

    def __init__(self, bmc: Bmc, doing: str, cause: str, advice: str = '', *, id: str | None = None) -> None:
        self.node, self.doing = bmc.node, doing
        advice = advice or 'look at the BMC, the way to it, and [power]'
        self._told = f'{doing} failed: {cause}; {advice}'  # for a sentence that names the BMC itself
        super().__init__(bmc.without_secrets(f'{bmc.node}: BMC {bmc.place}: {self._told}'), id=id)


class NotOff(PowerError):
    """A machine was told to power off, and was not seen to be off in time."""

    def __init__(self, bmc: Bmc, timeout: float, last: str) -> None:
        self.node = bmc.node
        super().__init__(
            bmc.without_secrets(
                f'{bmc.node}: BMC {bmc.place} was told to power it off, but {timeout:g} s later {last}; look at the '
                f'machine, nothing is done to it or instead of it until it is seen to be off'
            )
        )


class NotCapable(PowerError):
    """The driver cannot do what is asked."""

    def __init__(self, bmc: Bmc, driver: str, capability: Capability) -> None:
        super().__init__(f'{bmc.node}: the power driver {driver} lacks {capability.value}; use another driver')


class PowerDriver(ABC):
    """One machine's BMC; entry-point group ``ovca.power``.

    A driver writes :meth:`_state`, :meth:`_on` and :meth:`_off`; when it can choose the next boot also
    :meth:`_set_boot_once`, and with virtual media :meth:`_insert_media` and :meth:`_eject_media`, and says so in
    :attr:`capabilities`. The base waits, repeats orders, and turns the library's errors into sentences without secrets.
    The entry point's name is what an operator writes into ``[power] driver``.

    *When it is called.* A driver is built for each task, with the :class:`Bmc` of one machine: the address from
    ``[power] bmc``, which only the driver understands, and the user and password. Nothing is connected in ``__init__``.
    At the end of the task it is closed: what a driver keeps open at the BMC, which has room for a few sessions only, it
    gives back in :meth:`_close`. The health of a node asks one driver for the peer's state all the time, and another
    one when that has failed; an install chooses the network for the next boot and cycles the power; a take-over powers
    the other node off. ovcad imports the class at its start.

    *From which thread.* From one at a time for each driver; several drivers may talk to one BMC at once.

    *How long it may take.* A private method blocks for a few times ``bmc.timeout`` seconds at most. Do not wait for an
    order to take effect: :meth:`off_and_wait` does that.

    *What errors mean.* The exceptions named by :meth:`_foreign` (``OSError``, unless a driver says more) become a
    :exc:`PowerError`; :meth:`_explain` may give the cause and the advice in better words, and :meth:`_situation` the id
    under which ``ovca help`` explains it. They mean that nothing is known: an order may have been carried out and its
    answer lost. Others are mistakes in the program. A machine of which nothing is known is never taken for off:
    :meth:`_state` returns OFF only if the BMC was read to say so in this very call, and UNKNOWN or an error in every
    other case.

    *What must be idempotent.* All orders: each may be repeated, to a machine that is on, off, or neither yet. An order
    to power off works at once and without asking the operating system.

    .. code-block:: python

        class Pdu(PowerDriver):
            api = 1
            capabilities = frozenset()

            def _state(self) -> PowerState:
                return PowerState(self._ask('status'))

            def _on(self) -> None:
                self._ask('on')

            def _off(self) -> None:
                self._ask('off')

            def _ask(self, verb: str) -> str:
                with socket.create_connection((self.bmc.address, 4000), self.bmc.timeout) as channel:
                    channel.sendall(f'{verb}\\n'.encode())
                    return channel.recv(16).decode().strip()
    """

    api: ClassVar[int] = 1
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    def __init__(
        self,
        bmc: Bmc,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bmc, self._clock, self._sleep = bmc, clock, sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is held at the BMC; that it cannot be asked is no error. The driver can be used again."""
        try:
            with self._talking('closing'):
                self._close()
        except PowerError as exc:
            LOG.debug('%s', exc)

    def state(self) -> PowerState:
        """Read the power state. :raises PowerError: it cannot be read."""
        with self._talking('reading the power state'):
            return self._state()

    def on(self) -> None:
        """Order power on; a machine that is on stays so."""
        with self._talking('power on'):
            self._on()

    def off(self) -> None:
        """Order power off, at once and without asking the machine. The order proves nothing: :meth:`off_and_wait`."""
        with self._talking('power off'):
            self._off()

    def off_and_wait(self, timeout: float) -> None:
        """Power off, and return only when the machine was *seen* to be off.

        The order is repeated while the machine stays on, and reading goes on through lost answers.

        :raises NotOff: it was not seen within ``timeout`` seconds; then nothing is known.
        """
        end = self._clock() + timeout
        repeat = max(5.0, timeout / 4)
        ordered: float | None = None
        while True:
            try:
                state = self.state()
                if state is PowerState.OFF:
                    return
                last = f'it says {state}'
                if ordered is None or self._clock() - ordered >= repeat:
                    LOG.info('%s: BMC %s: orders power off', self.bmc.node, self.bmc.place)
                    ordered = self._clock()
                    self.off()
                    if self.state() is PowerState.OFF:
                        return
            except BmcFailed as exc:
                last = exc._told
            except PowerError as exc:
                last = str(exc)
            if self._clock() >= end:
                raise NotOff(self.bmc, timeout, last)
            self._sleep(min(self.bmc.poll, max(0.0, end - self._clock())))

    def cycle(self, timeout: float) -> None:
        """Power off, see it off, power on: more than a reset button can promise."""
        self.off_and_wait(timeout)
        self.on()

    def set_boot_once(self, device: BootDevice) -> None:
        """Let the next boot, and only that, start from ``device``.

        A BMC may ignore "once", or the device; that is why an install needs a grant as well. A read-back would prove
        nothing and is not made.
        """
        self._need(Capability.BOOT_ONCE)
        with self._talking(f'setting the next boot to {device}'):
            self._set_boot_once(device)

    def insert_media(self, url: str) -> None:
        """Attach the ISO at ``url`` as a virtual drive."""
        self._need(Capability.MEDIA)
        with self._talking('inserting virtual media'):
            self._insert_media(url)

    def eject_media(self) -> None:
        """Detach whatever is attached."""
        self._need(Capability.MEDIA)
        with self._talking('ejecting virtual media'):
            self._eject_media()

    def _need(self, capability: Capability) -> None:
        if capability not in self.capabilities:
            raise NotCapable(self.bmc, type(self).__name__, capability)

    @contextmanager
    def _talking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except PowerError:
            raise
        except self._foreign() as exc:
            cause, advice = self._explain(exc)
            raise BmcFailed(self.bmc, doing, cause, advice, id=self._situation(exc)) from exc

    # What a driver writes.

    @abstractmethod
    def _state(self) -> PowerState: ...

    @abstractmethod
    def _on(self) -> None: ...

    @abstractmethod
    def _off(self) -> None: ...

    def _set_boot_once(self, device: BootDevice) -> None:
        raise NotImplementedError

    def _insert_media(self, url: str) -> None:
        raise NotImplementedError

    def _eject_media(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        """Give back what is held at the BMC, as a session, within ``bmc.timeout`` seconds; there may be nothing."""
        return None

    def _foreign(self) -> tuple[type[Exception], ...]:
        """The exceptions by which the driver's library tells of the world."""
        return (OSError,)

    def _explain(self, exc: Exception) -> tuple[str, str]:
        """Return the cause in a few words, and what to do (empty: the usual advice)."""
        return str(exc) or type(exc).__name__, ''

    def _situation(self, exc: Exception) -> str | None:
        """Return the id of the page that explains the error; None for the general one, ``bmc-failed``."""
        return 'bmc-silent' if isinstance(exc, (ConnectionError, TimeoutError)) else None
