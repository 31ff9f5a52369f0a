"""The role, and the health check that looks after it."""

from __future__ import annotations

from ovca_hello.banner import Banner, BannerFolder, path_of

from ovca.cluster.health import HealthCheck
from ovca.cluster.roles import Role
from ovca.testing import contracts
from ovca.testing.appliance import Config


class TestRole(contracts.RoleContract):
    name = 'hello-banner'

    def kill(self, role: Role) -> None:
        path_of(role.conf).unlink()

    def make_broken(self) -> Role:
        self.config.set('hello', banner='/no/such/folder/banner')
        return Banner(self.config.load())


class TestHealth(contracts.HealthContract):
    name = 'hello-banner'

    def make_healthy(self) -> HealthCheck:
        self.config.set('hello', banner='banner')
        return BannerFolder(self.context())

    def make_unhealthy(self) -> HealthCheck:
        self.config.set('hello', banner='/no/such/folder/banner')
        return BannerFolder(self.context())


def test_the_banner_greets_in_the_language_of_the_configuration(ovca_config: Config) -> None:
    ovca_config.set('hello', language='fr')
    conf = ovca_config.load()

    Banner(conf).start()

    assert path_of(conf).read_text() == 'Bonjour, mn1! You are the master.\n'
