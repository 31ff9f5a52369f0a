"""The power driver, against a strip."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import pytest
from ovca_hello.strip import StripPower
from ovca_hello.toy import PASSWORD, USER, ToyStrip

from ovca.exceptions import PowerError
from ovca.power.base import Bmc, PowerDriver
from ovca.testing import contracts


@pytest.fixture
def strip() -> Iterator[ToyStrip]:
    """A strip of eight outlets, all off."""
    server = ToyStrip()
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestContract(contracts.PowerContract):
    name = 'strip'

    @pytest.fixture(autouse=True)
    def _strip(self, strip: ToyStrip) -> None:
        self.bmc = Bmc('mn1', strip.outlet(3), USER, PASSWORD, poll=0.02)

    def make_driver(self) -> PowerDriver:
        return StripPower(self.bmc)

    def make_unreachable(self) -> PowerDriver:
        return StripPower(Bmc('mn1', 'http://127.0.0.1:1/outlets/3', USER, PASSWORD, timeout=0.5, poll=0.02))


def test_one_outlet_is_switched_and_no_other(strip: ToyStrip) -> None:
    StripPower(Bmc('mn1', strip.outlet(3), USER, PASSWORD)).on()

    assert [number for number, on in strip.on.items() if on] == [3]


def test_a_wrong_password_is_said_without_it(strip: ToyStrip) -> None:
    bmc = Bmc('mn1', strip.outlet(3), USER, 'open-sesame')

    with pytest.raises(PowerError, match=r'it refuses user otto; set \[power\] user') as caught:
        StripPower(bmc).state()

    assert 'open-sesame' not in str(caught.value)


def test_an_outlet_that_is_not_there_is_said(strip: ToyStrip) -> None:
    bmc = Bmc('mn1', strip.outlet(3), USER, PASSWORD)

    with pytest.raises(PowerError, match=r'it answers 404; look whether \[power\] bmc'):
        StripPower(dataclasses.replace(bmc, address=strip.outlet(99))).state()
