"""The contract of ``ovca.power``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ovca.exceptions import PowerError
from ovca.power.base import BootDevice, Capability, NotCapable, PowerDriver, PowerState
from ovca.testing.contracts.base import (
    DriverContract,
    assert_no_secret,
    assert_sentence,
    eventually,
    raised,
    secrets_in,
)

__all__ = ['PowerContract']

OVERRIDES = {
    Capability.BOOT_ONCE: ('_set_boot_once',),
    Capability.MEDIA: ('_insert_media', '_eject_media'),
}


class PowerContract(DriverContract):
    """A power driver: :meth:`make_driver` gives drivers of one machine, :meth:`make_unreachable` one that fails."""

    group = 'ovca.power'
    base = PowerDriver
    patience = 10.0
    """Seconds within which the machine is on or off after it was told to be."""
    media_url = 'http://127.0.0.1:9/ovca.iso'
    """An ISO that the BMC of the tests can attach; needed with the capability MEDIA only."""

    def make_driver(self) -> PowerDriver:
        """Return a new driver of the same machine at each call; its BMC answers, and has a password."""
        self.missing('make_driver()')

    def make_unreachable(self) -> PowerDriver:
        """Return a driver whose BMC does not answer, with a password and a short timeout."""
        self.missing('make_unreachable()')

    def make(self) -> PowerDriver:
        """One driver."""
        return self.make_driver()

    def is_seen(self, state: PowerState) -> bool:
        """Whether a driver that knows nothing of earlier orders reads this state, soon."""
        reader = self.make_driver()
        return eventually(lambda: reader.state() is state, self.patience)

    def test_the_state_is_one_of_the_enum(self) -> None:
        """``state()`` answers with a member of PowerState, and not with the BMC's own word."""
        state = self.make_driver().state()
        assert isinstance(state, PowerState), f'state() answers {state!r}'

    def test_on_is_seen_by_another_driver(self) -> None:
        """The state is read from the machine and not remembered, and ``on()`` switches the machine on."""
        self.make_driver().off_and_wait(self.patience)

        self.make_driver().on()

        assert self.is_seen(PowerState.ON), 'after on(), another driver of the machine does not read "on"'

    def test_off_and_wait_returns_when_the_machine_is_off(self) -> None:
        """After ``off_and_wait()`` a driver that gave no order reads "off"."""
        self.make_driver().on()
        assert self.is_seen(PowerState.ON), 'after on(), another driver of the machine does not read "on"'

        self.make_driver().off_and_wait(self.patience)

        state = self.make_driver().state()
        assert state is PowerState.OFF, f'off_and_wait() returned, and another driver of the machine reads {state}'

    def test_orders_may_be_repeated(self) -> None:
        """``on()`` on a machine that is on and ``off()`` on one that is off change nothing and are no errors."""
        driver = self.make_driver()
        driver.off_and_wait(self.patience)
        driver.on()
        assert self.is_seen(PowerState.ON), 'after on(), another driver of the machine does not read "on"'
        driver.on()
        assert self.is_seen(PowerState.ON), 'a second on() switched the machine off'

        driver.off_and_wait(self.patience)
        driver.off()
        assert self.is_seen(PowerState.OFF), 'a second off() switched the machine on'

    def test_a_cycle_ends_with_the_machine_on(self) -> None:
        """``cycle()`` powers off, sees it, and powers on."""
        driver = self.make_driver()

        driver.cycle(self.patience)

        assert self.is_seen(PowerState.ON), 'after cycle() the machine is not on'

    def test_after_close_it_can_be_used_again(self) -> None:
        """``close()`` lets go of what is held at the BMC, raises nothing, and may be called at any time."""
        driver = self.make_driver()
        driver.close()
        before = driver.state()
        driver.close()
        driver.close()

        state = driver.state()
        assert state is before, f'state() answers {before}, and after close() {state}'
        self.make_unreachable().close()

    def test_what_it_declares_it_can_do(self) -> None:
        """Each declared capability works, on a machine that is off."""
        driver = self.make_driver()
        driver.off_and_wait(self.patience)
        for capability, calls in self._uses(driver).items():
            if capability in driver.capabilities:
                for call in calls:
                    call()

    def test_what_it_can_do_it_declares(self) -> None:
        """A method that the driver has written is declared as a capability; else nobody would ever call it."""
        driver = self.make_driver()
        for capability, methods in OVERRIDES.items():
            written = [name for name in methods if getattr(type(driver), name) is not getattr(PowerDriver, name)]
            if capability not in driver.capabilities:
                assert not written, f'{", ".join(written)} is there, but {capability} is not in capabilities'

    def test_what_it_lacks_is_refused_before_anything_is_touched(self) -> None:
        """Without the capability, the call ends with NotCapable and never reaches the BMC."""
        driver = self.make_unreachable()
        for capability, calls in self._uses(driver).items():
            if capability not in driver.capabilities:
                for call in calls:
                    raised(call, NotCapable, f'{capability} is not declared, and was asked for')

    def test_an_unreachable_bmc_is_an_error_that_names_it(self) -> None:
        """Whatever is asked of a BMC that does not answer ends with a PowerError that names node and BMC."""
        driver = self.make_unreachable()
        host = urlsplit(driver.bmc.place).hostname or driver.bmc.place
        for doing, call in self._calls(driver).items():
            text = str(raised(call, PowerError, f'{doing}, on a BMC that does not answer'))
            assert_sentence(text, f'the error of {doing}')
            assert driver.bmc.node in text, f'{doing}: the error does not name the node {driver.bmc.node}: {text}'
            assert host in text, f'{doing}: the error does not name the BMC {host}: {text}'

    def test_no_error_shows_a_secret(self) -> None:
        """Neither the password nor one within the address is in an error or in the driver's description."""
        driver = self.make_unreachable()
        secrets = secrets_in(driver.bmc.address, driver.bmc.password)
        assert secrets, 'give the Bmc of make_unreachable() a password, so that the test can look for it'
        for doing, call in self._calls(driver).items():
            assert_no_secret(str(raised(call, PowerError, doing)), secrets, f'the error of {doing}')
        assert_no_secret(repr(driver), [s for s in secrets if s], 'repr() of the driver')

    def test_an_unreachable_bmc_never_counts_as_off(self) -> None:
        """``off_and_wait()`` ends with an error when "off" was not seen."""
        driver = self.make_unreachable()
        raised(lambda: driver.off_and_wait(0.2), PowerError, 'off_and_wait() on a BMC that does not answer')

    def _calls(self, driver: PowerDriver) -> dict[str, Callable[[], Any]]:
        found: dict[str, Callable[[], Any]] = {'state()': driver.state, 'on()': driver.on, 'off()': driver.off}
        for capability, calls in self._uses(driver).items():
            if capability in driver.capabilities:
                found |= {f'{capability} ({number})': call for number, call in enumerate(calls)}
        return found

    def _uses(self, driver: PowerDriver) -> dict[Capability, list[Callable[[], Any]]]:
        return {
            Capability.BOOT_ONCE: [lambda: driver.set_boot_once(BootDevice.NETWORK)],
            Capability.MEDIA: [lambda: driver.insert_media(self.media_url), driver.eject_media],
        }
