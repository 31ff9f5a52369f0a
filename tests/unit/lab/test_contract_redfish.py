"""The Redfish driver keeps the contract of the power drivers; the peer is the emulator of the lab's BMCs."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.lab.lab import Lab
from ovca.lab.spec import LabSpec
from ovca.power.base import Bmc, PowerDriver
from ovca.power.redfish import RedfishPower
from ovca.testing import contracts

pytestmark = pytest.mark.extra('lab')


@pytest.fixture
def bmc(lab: LabSpec) -> Iterator[Bmc]:
    appliance = Lab(lab)
    try:
        appliance.start(power=False)
        yield dataclasses.replace(appliance.power('mn1').bmc, poll=0.05)
    finally:
        appliance.stop()


@pytest.fixture
def iso(tmp_path: Path) -> Iterator[str]:
    """An ISO that the emulator can fetch, as it does when media is inserted."""
    (tmp_path / 'www').mkdir()
    (tmp_path / 'www' / 'ovca.iso').write_bytes(b'iso')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / 'www')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}).start()
    yield f'http://127.0.0.1:{server.server_port}/ovca.iso'
    server.shutdown()
    server.server_close()


class TestRedfish(contracts.PowerContract):
    name = 'redfish'

    @pytest.fixture(autouse=True)
    def _emulator(self, bmc: Bmc, iso: str) -> None:
        self.bmc, self.media_url = bmc, iso

    def make_driver(self) -> PowerDriver:
        return RedfishPower(self.bmc)

    def make_unreachable(self) -> PowerDriver:
        nobody = 'http://operator:hunter2@127.0.0.1:1/redfish/v1/Systems/1'
        return RedfishPower(Bmc('mn1', nobody, 'operator', 'hunter2', timeout=0.5, poll=0.05))
