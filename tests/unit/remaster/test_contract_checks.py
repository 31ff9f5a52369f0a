"""The checks of the core keep their contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovca.db.models import Lease, Node
from ovca.remaster import checks
from ovca.remaster.checks import cluster, image, machines, power
from ovca.remaster.fakes import FakeCheck
from ovca.testing import contracts
from tests.published import publish


class TestNodes(contracts.CheckContract):
    name = 'nodes'

    def make_passing(self) -> checks.Check:
        with self._database.write() as session:
            session.get_one(Node, 'mn2').health = 'healthy'
        return cluster.Nodes(self.context())

    def make_failing(self) -> checks.Check:
        with self._database.write() as session:
            session.get_one(Node, 'mn2').health = 'unhealthy'
        return cluster.Nodes(self.context())


class TestLease(contracts.CheckContract):
    name = 'lease'

    def make_passing(self) -> checks.Check:
        return self.check(acting=True)

    def make_failing(self) -> checks.Check:
        return self.check(acting=False)

    def check(self, *, acting: bool) -> checks.Check:
        with self._database.write() as session:
            session.get_one(Lease, 'management').acting = acting
        return cluster.LeaseHeld(self.context())


class TestVersionPath(contracts.CheckContract):
    name = 'version-path'

    @pytest.fixture(autouse=True)
    def _image(self, _an_appliance: None, tmp_path: Path) -> None:
        publish(self.config, tmp_path, self._database)

    def make_passing(self) -> checks.Check:
        return image.VersionPath(self.context('1.1.0'))

    def make_failing(self) -> checks.Check:
        return image.VersionPath(self.context('9.9.9'))


class TestImage(contracts.CheckContract):
    name = 'image'

    @pytest.fixture(autouse=True)
    def _image(self, _an_appliance: None, tmp_path: Path) -> None:
        publish(self.config, tmp_path, self._database)

    def make_passing(self) -> checks.Check:
        return self.check('ovca 1.1.0\n')

    def make_failing(self) -> checks.Check:
        return self.check('ovca 1.1.1\n')

    def check(self, text: str) -> checks.Check:
        """The published file, with this text in it."""
        (path,) = self.config.shared.rglob('mgmt_image/**/ovca-release')
        path.chmod(0o644)
        path.write_text(text)
        return image.ImageVerified(self.context('1.1.0'))


class TestUnknownImages(contracts.CheckContract):
    name = 'unknown-images'

    def make_passing(self) -> checks.Check:
        return image.UnknownImages(self.context())

    def make_failing(self) -> checks.Check:
        folder = self.config.shared / 'mgmt_image/1.2.0'
        folder.mkdir(parents=True)
        (folder / 'published.json').touch()
        return image.UnknownImages(self.context())


class TestBmc(contracts.CheckContract):
    name = 'bmc'

    def make_passing(self) -> checks.Check:
        self.config.set('power', driver='fake')
        return power.BmcReachable(self.context())

    def make_failing(self) -> checks.Check:
        nobody = 'http://127.0.0.1:1/redfish/v1/Systems/1'
        self.config.set('power', driver='redfish', bmc={'mn1': nobody, 'mn2': nobody}, timeout=0.5)
        return power.BmcReachable(self.context())


class TestSpace(contracts.CheckContract):
    name = 'space'

    def make_passing(self) -> checks.Check:
        self.config.set('image', space_reserve=0)
        return machines.Space(self.context())

    def make_failing(self) -> checks.Check:
        self.config.set('image', space_reserve=2**50)
        return machines.Space(self.context())


class TestFake(contracts.CheckContract):
    name = 'fake'

    def make_passing(self) -> checks.Check:
        return FakeCheck(self.context())

    def make_failing(self) -> checks.Check:
        check = FakeCheck(self.context())
        check.problem = 'the doors are open'
        return check
