from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ovca.conf import storage

Install = Callable[..., None]


@pytest.fixture
def install(ovca_install: Install) -> Install:
    """Install a throw-away distribution: ``install(name, {group: {entry: 'module:object'}}, module=SOURCE)``."""
    return ovca_install


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration that says nothing."""
    path = tmp_path / 'ovca.conf'
    path.write_text('')
    return path


@pytest.fixture
def not_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's folder is on the node's own disk, whatever the machine has mounted for such folders."""
    monkeypatch.setattr(storage, 'ROOT', tmp_path)
