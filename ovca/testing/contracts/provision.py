"""The contract of ``ovca.provision``."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from ovca.exceptions import ProvisionError
from ovca.provision.authority import Order
from ovca.provision.base import ProvisionDriver
from ovca.testing.appliance import Config
from ovca.testing.contracts.base import DriverContract, assert_no_secret, raised

__all__ = ['ProvisionContract']

ORDER = Order(
    node='mn2',
    update=7,
    attempt=3,
    version='1.1.0-b852928',
    digest='d1' * 32,
    boot_token='t0ken-of-the-b00t',
    boot_url='http://192.0.2.10:6641',
    tls_url='https://192.0.2.10:6642',
    tls_fingerprint='f2' * 32,
    iso='mgmt_image/1.1.0/ovca-1.1.0.iso',
    shared_storage='/nfs/shared_storage',
    root='/mnt/sysimage',
)
TEXTS = [field.name for field in dataclasses.fields(Order) if field.type == 'str']
NOT_A_WORD = ('', 'two words', 'line\nbreak', 'x\t', 'bell\a')


class ProvisionContract(DriverContract):
    """A provision driver, made from the configuration."""

    group = 'ovca.provision'
    base = ProvisionDriver

    @pytest.fixture(autouse=True)
    def _an_appliance(self, tmp_path: Path) -> None:
        self.config = Config(tmp_path / 'appliance')

    def make_driver(self) -> ProvisionDriver:
        """Return the driver, as the service makes it; ``self.config`` is its configuration."""
        driver: ProvisionDriver = self.loaded()(self.config.load())
        return driver

    def make(self) -> ProvisionDriver:
        """One driver."""
        return self.make_driver()

    def test_the_install_script_carries_the_whole_order(self) -> None:
        """Each fact of the order is in the script: the installer gets it from nowhere else."""
        script = self.make_driver().install_script(ORDER)

        assert isinstance(script, str), f'the script is no text, but {script!r}'
        for field in dataclasses.fields(ORDER):
            value = str(getattr(ORDER, field.name))
            assert value in script, f'{field.name} ({value}) is not in the install script'

    def test_the_same_order_makes_the_same_script(self) -> None:
        """A machine that asks twice is told the same."""
        driver = self.make_driver()
        assert driver.install_script(ORDER) == driver.install_script(ORDER), 'two scripts for one order differ'
        assert driver.local_script() == driver.local_script(), 'two scripts for the local disk differ'

    def test_the_local_script_installs_nothing(self) -> None:
        """A machine without an order boots its disk: the script is the same whatever was ordered before."""
        driver = self.make_driver()
        before = driver.local_script()
        install = driver.install_script(ORDER)

        assert before.strip(), 'the script for the local disk is empty; firmware needs to be told what to do'
        assert driver.local_script() == before, 'the script for the local disk changed with an order'
        assert install != before, 'the install script is the one for the local disk'
        for secret in (ORDER.boot_token, ORDER.tls_fingerprint):
            assert secret not in before, 'the script for the local disk carries an order'

    def test_a_fact_that_is_not_one_word_makes_no_script(self) -> None:
        """A space or a line break in a fact could give the firmware orders of its own; it is a ProvisionError."""
        driver = self.make_driver()
        for name in TEXTS:
            for value in NOT_A_WORD:
                order = dataclasses.replace(ORDER, **cast(Any, {name: value}))
                exc = raised(partial(driver.install_script, order), ProvisionError, f'{name} is {value!r}')
                assert name in str(exc), f'the error does not name {name}: {exc}'
                if name != 'boot_token':
                    assert_no_secret(str(exc), [ORDER.boot_token], 'the error')
