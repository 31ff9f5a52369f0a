"""Contract tests: what the interfaces of ovca promise, as tests that an author's driver inherits.

There is one class for each entry-point group. A subclass in a test module says how the driver is made, and pytest
finds the tests in it::

    from ovca.testing import contracts


    class TestStrip(contracts.PowerContract):
        name = 'strip'

        @pytest.fixture(autouse=True)
        def _strip(self, strip):
            self.strip = strip

        def make_driver(self):
            return StripPower(Bmc('mn1', self.strip.url, 'otto', 'secret'))

        def make_unreachable(self):
            return StripPower(Bmc('mn1', 'http://127.0.0.1:1/outlets/1', 'otto', 'secret', timeout=0.5))

The package has to be installed, for its entry points are tested as well.
"""

from __future__ import annotations

from ovca.testing.contracts.backup import BackupContract
from ovca.testing.contracts.base import Contract, DriverContract
from ovca.testing.contracts.check import CheckContract
from ovca.testing.contracts.command import CommandContract, TableContract
from ovca.testing.contracts.component import ComponentContract
from ovca.testing.contracts.fetch import FetchContract
from ovca.testing.contracts.health import HealthContract
from ovca.testing.contracts.notify import NotifyContract
from ovca.testing.contracts.power import PowerContract
from ovca.testing.contracts.provision import ProvisionContract
from ovca.testing.contracts.role import RoleContract
from ovca.testing.contracts.site import SiteContract

__all__ = [
    'BackupContract',
    'CheckContract',
    'CommandContract',
    'ComponentContract',
    'Contract',
    'DriverContract',
    'FetchContract',
    'HealthContract',
    'NotifyContract',
    'PowerContract',
    'ProvisionContract',
    'RoleContract',
    'SiteContract',
    'TableContract',
]
