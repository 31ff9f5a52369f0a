from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ovca import testing

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a throw-away distribution: ``install(name, {group: {entry: 'module:object'}}, module=SOURCE)``."""
    folder = tmp_path / 'site'
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def write(name: str, entry_points: Mapping[str, Mapping[str, str]], **modules: str) -> None:
        testing.write_distribution(folder, name, entry_points, **modules)
        importlib.invalidate_caches()

    yield write
    for name in {path.stem for path in folder.glob('*.py')} & set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration that says nothing."""
    path = tmp_path / 'ovca.conf'
    path.write_text('')
    return path
