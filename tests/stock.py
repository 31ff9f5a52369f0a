"""Keys and images made once for all labs of a run of the tests, however many processes share the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fasteners
import pytest

from ovca.lab import factory
from ovca.lab.images import Recipe

VERSIONS = ('1.0.0', '1.1.0')
"""What is there: the software that this is, under two versions, with no change."""

Stock = Callable[[str | None], Path]
"""The folder for labs whose database is at a URL; on SQLite without one."""


def shared_folder(folders: pytest.TempPathFactory) -> Path:
    """The temporary folder that the processes of one run have in common."""
    base = folders.getbasetemp()
    return base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base


def stock(folders: pytest.TempPathFactory) -> Stock:
    """Where it is, and what makes it when it is not there yet."""
    base = shared_folder(folders)

    def made(database: str | None) -> Path:
        extras = ('redfish',) if database is None else ('postgresql', 'redfish')
        folder = base / f'stock-{"-".join(extras)}'
        with fasteners.InterProcessLock(base / 'stock.lock'):
            if not folder.exists():
                making = folder.with_suffix('.making')
                shutil.rmtree(making, ignore_errors=True)
                factory.make_stock(making, [Recipe(version, extras=extras) for version in VERSIONS])
                making.rename(folder)
        return folder

    return made
