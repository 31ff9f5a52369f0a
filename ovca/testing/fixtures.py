"""Fixtures for the tests of plugins: ``pytest_plugins = ['ovca.testing.fixtures']`` in the tests' ``conftest.py``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovca.testing.appliance import Config, open_database
from ovca.testing.distributions import packed, write_distribution

if TYPE_CHECKING:
    from ovca.db.engine import Database
    from ovca.lab.lab import Lab

__all__ = ['ovca_config', 'ovca_database', 'ovca_install', 'ovca_lab']


@pytest.fixture
def ovca_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a throw-away package: ``ovca_install(name, {group: {entry: 'module:object'}}, module=SOURCE)``."""
    folder = tmp_path / 'site'
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def write(name: str, entry_points: Mapping[str, Mapping[str, str]], **modules: str) -> None:
        write_distribution(folder, name, entry_points, **modules)
        importlib.invalidate_caches()

    yield write
    for name in {path.stem for path in folder.glob('*.py')} & set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def ovca_config(tmp_path: Path) -> Config:
    """The configuration of the node mn1, whose peer is mn2: a file that :func:`ovca.testing.run` takes.

    ``ovca_config.set('hello', language='de')`` changes it, ``ovca_config.load()`` reads it as ovca does.
    """
    return Config(tmp_path / 'appliance')


@pytest.fixture
def ovca_database(ovca_config: Config) -> Iterator[Database]:
    """The database of ``ovca_config``, with the tables and two healthy nodes; mn1 acts as master."""
    database = open_database(ovca_config.load())
    yield database
    database.dispose()


@pytest.fixture(scope='module')
def ovca_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Lab]]:
    """Make a whole appliance in the process lab, with a package on its nodes, and wait until it is healthy.

    ``lab = ovca_lab('ovca-plugin-hello', overrides={'hello': {'language': 'de'}})``: the package as it is installed
    here, and options of the nodes. It takes some seconds; the lab stays for the tests of one module. See
    :class:`ovca.lab.lab.Lab` for what can be done with it.
    """
    pytest.importorskip('sushy_tools', reason="the process lab needs: pip install 'ovca[lab]'")
    from ovca.lab.lab import Lab

    labs: list[Lab] = []

    def make(*packages: str, overrides: Mapping[str, Mapping[str, Any]] | None = None, **options: Any) -> Lab:
        folder = tmp_path_factory.mktemp('lab') / 'appliance'
        plugins = tuple(packed(name) for name in packages)
        lab = Lab.create(folder, overrides=overrides, plugins=plugins, **options)
        labs.append(lab)
        lab.start()
        lab.wait_until_healthy()
        return lab

    yield make
    for lab in labs:
        lab.stop()
