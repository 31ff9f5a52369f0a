"""The site items of the core keep their contract."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ovca.provision.site.base import SiteItem
from ovca.provision.site.fake import FakeItem
from ovca.testing import contracts


class _Files(contracts.SiteContract):
    laid: ClassVar[str] = ''

    def prepare(self, item: SiteItem, root: Path) -> None:
        path = root / self.laid
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('by hand')
        path.chmod(0o600)


class TestConfiguration(_Files):
    name, laid = 'configuration', 'etc/ovca.conf'


class TestSshHostKeys(_Files):
    name, laid = 'ssh-host-keys', 'etc/ssh/ssh_host_ed25519_key'


class TestCertificates(_Files):
    name, laid = 'certificates', 'usr/local/share/ca-certificates/site/ours.crt'


class TestNetwork(_Files):
    name, laid = 'network', 'etc/network/interfaces'


class TestFiles(_Files):
    name, laid = 'files', 'etc/rack/rack.conf'

    def make_item(self) -> SiteItem:
        self.config.set('provision', root=self.root, site_files=['etc/rack/*'])
        return super().make_item()


class TestFake(contracts.SiteContract):
    name = 'fake'

    def prepare(self, item: SiteItem, root: Path) -> None:
        assert isinstance(item, FakeItem)
        item.settings = 'on'

    def forget(self, item: SiteItem) -> None:
        assert isinstance(item, FakeItem)
        item.settings = None

    def make_broken(self) -> SiteItem:
        item = self.make_item()
        assert isinstance(item, FakeItem)
        item.broken = 'nobody is there'
        return item
