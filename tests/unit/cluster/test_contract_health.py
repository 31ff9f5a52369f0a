"""The health checks of the core keep their contract."""

from __future__ import annotations

import dataclasses
import json

import pytest

import ovca
from ovca.cluster import health_checks
from ovca.cluster.fakes import FakeHealth
from ovca.cluster.health import HealthCheck
from ovca.db.engine import Database
from ovca.testing import contracts


class TestDatabase(contracts.HealthContract):
    name = 'database'

    def make_healthy(self) -> HealthCheck:
        return health_checks.Database(self.context())

    def make_unhealthy(self) -> HealthCheck:
        lost = Database(f'sqlite:///{self.config.folder}/gone/ovca.sqlite')
        return health_checks.Database(dataclasses.replace(self.context(), database=lost))


class TestSharedStorage(contracts.HealthContract):
    name = 'shared-storage'

    def make_healthy(self) -> HealthCheck:
        self.config.set('image', shared_storage=self.config.shared)
        return health_checks.SharedStorage(self.context())

    def make_unhealthy(self) -> HealthCheck:
        self.config.set('image', shared_storage=self.config.folder / 'gone')
        return health_checks.SharedStorage(self.context())


class TestMountedStorage(contracts.HealthContract):
    name = 'shared-storage'

    @pytest.fixture(autouse=True)
    def own_disk(self, not_mounted: None) -> None:
        """Storage in the test's folder is that of a node with nothing mounted."""

    def make_healthy(self) -> HealthCheck:
        self.config.set('image', shared_storage_mounted=False)
        return health_checks.SharedStorage(self.context())

    def make_unhealthy(self) -> HealthCheck:
        self.config.set('image', shared_storage_mounted=True)
        return health_checks.SharedStorage(self.context())


class TestPeerBmc(contracts.HealthContract):
    name = 'peer-bmc'

    def make_healthy(self) -> HealthCheck:
        self.config.set('power', driver='fake')
        return health_checks.PeerBmc(self.context())

    def make_unhealthy(self) -> HealthCheck:
        self.config.set('power', driver='redfish', bmc={'mn2': 'http://127.0.0.1:1/redfish/v1/Systems/1'}, timeout=0.5)
        return health_checks.PeerBmc(self.context())


class TestSoftware(contracts.HealthContract):
    name = 'software'

    def make_healthy(self) -> HealthCheck:
        return self.check(ovca.__version__)

    def make_unhealthy(self) -> HealthCheck:
        return self.check('0.0.1')

    def check(self, version: str) -> HealthCheck:
        """A node on whose disk this version was installed."""
        path = self.config.folder / version / 'etc/ovca/installed.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({'version': version}))
        self.config.set('provision', root=self.config.folder / version)
        return health_checks.Software(self.context())


class TestFake(contracts.HealthContract):
    name = 'fake'

    def make_healthy(self) -> HealthCheck:
        return FakeHealth(self.context())

    def make_unhealthy(self) -> HealthCheck:
        check = FakeHealth(self.context())
        check.problem = 'the fan stands still'
        return check
