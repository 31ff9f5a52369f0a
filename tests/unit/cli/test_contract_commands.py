"""Every command of the core keeps the contract of the commands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cliff import lister, show

from ovca import plugins
from ovca.image.build import build, keygen
from ovca.provision.site import state
from ovca.testing import contracts
from ovca.testing.appliance import open_database
from tests.operated import Operated
from tests.published import publish
from tests.unit.cli.test_site import STATE as SITE

NAMES = [extension.name for extension in plugins.extensions('ovca.cli') if extension.core]
TABLES = [name for name in NAMES if issubclass(plugins.load_one('ovca.cli', name), lister.Lister | show.ShowOne)]
ARGUMENTS: dict[str, Sequence[str]] = {
    # Clocks and disks have other facts each time.
    'check': ('nodes', 'lease', 'operation', 'version-path', 'schema', 'bmc', 'certificates'),
    'image-show': ('1.1.0',),
}
CHANGING = (
    *('backup-create', 'backup-list', 'backup-restore', 'backup-show', 'backup-verify'),
    *('channel-build', 'image-build', 'image-keygen', 'image-sign', 'image-verify'),
)
"""They need files of their own; their data is read by classes like :class:`TestImageBuild`, here or in test_backup."""


class TestCommands(contracts.CommandContract):
    @pytest.fixture(autouse=True, params=NAMES)
    def _command(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param


class TestTables(contracts.TableContract):
    # `check` and `config-check` print their table, and tell by the status that something is wrong.
    exit_codes = (0, 3, 6)

    @pytest.fixture(autouse=True, params=[name for name in TABLES if name not in CHANGING])
    def _command(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
        self.name, self.arguments = request.param, ARGUMENTS.get(request.param, ())
        self.operated = Operated(tmp_path).started().image()
        keygen(tmp_path / 'keys', 'vendor')
        for node in ('mn1', 'mn2'):
            state.save(replace(SITE, node=node), tmp_path / 'shared')
        self.operated.configure('mn1', f'key_folder = {tmp_path / "keys"}\n[notify]\ndrivers = log\n')
        self.operated.move(self.operated.update(), 'INSTALL_1', 'the standby is installed')
        self.operated.service().submit('download', uri='https://example.com/x.zip')
        yield
        self.operated.close()

    def config_file(self) -> str | os.PathLike[str]:
        return self.operated.config_file


class TestImageBuild(contracts.TableContract):
    name = 'image-build'

    @pytest.fixture(autouse=True)
    def _tree(self, tmp_path: Path) -> None:
        self.tmp_path, self.built = tmp_path, 0
        (tmp_path / 'tree/etc').mkdir(parents=True)
        (tmp_path / 'tree/etc/release').write_text('x\n')

    def make_arguments(self) -> Sequence[str]:
        self.built += 1
        output = self.tmp_path / f'{self.built}.iso.zip'
        return ('--image-version', '1.1.0', '--mgmt', str(self.tmp_path / 'tree'), str(output))


class TestImageKeygen(contracts.TableContract):
    name = 'image-keygen'

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder, self.made = tmp_path / 'new', 0

    def make_arguments(self) -> Sequence[str]:
        self.made += 1
        return (f'vendor{self.made}', '--folder', str(self.folder), '--no-password')


class TestChannelBuild(contracts.TableContract):
    name = 'channel-build'

    @pytest.fixture(autouse=True)
    def _bundles(self, tmp_path: Path) -> None:
        (tmp_path / 'tree').mkdir()
        (tmp_path / 'tree/file').write_text('x')
        secret, _ = keygen(tmp_path / 'new', 'vendor')
        build(tmp_path / 'www/x.zip', version='1.1.0', mgmt=tmp_path / 'tree', secret_key=secret)
        self.arguments = (str(tmp_path / 'www'), '--secret-key', str(secret), '--expires', '2030-01-01')


class TestImageSign(contracts.TableContract):
    name = 'image-sign'

    @pytest.fixture(autouse=True)
    def _bundle(self, tmp_path: Path) -> None:
        (tmp_path / 'tree').mkdir()
        (tmp_path / 'tree/file').write_text('x')
        build(tmp_path / 'x.zip', version='1.1.0', mgmt=tmp_path / 'tree')
        self.arguments = (str(tmp_path / 'x.zip'), '--secret-key', str(keygen(tmp_path / 'new', 'vendor')[0]))


class TestImageVerify(contracts.TableContract):
    name = 'image-verify'
    arguments = ('1.1.0',)

    @pytest.fixture(autouse=True)
    def _published(self, _an_appliance: None, tmp_path: Path) -> None:
        database = open_database(self.config.load())
        publish(self.config, tmp_path, database)
        database.dispose()
