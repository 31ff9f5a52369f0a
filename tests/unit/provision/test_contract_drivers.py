"""The provision drivers of the core keep their contract."""

from __future__ import annotations

from ovca.testing import contracts


class TestIpxe(contracts.ProvisionContract):
    name = 'ipxe'


class TestProcess(contracts.ProvisionContract):
    name = 'process'


class TestFake(contracts.ProvisionContract):
    name = 'fake'
