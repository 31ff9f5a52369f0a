"""A lab without ovca in it: the nodes' disks hold a stub service."""

import os
import sys
from pathlib import Path

import pytest
from labkit import install_stub

from ovca.lab import spec
from ovca.lab.hardware import PowerSupply, write_reboot
from tests.stock import shared_folder, stock


@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory):
    """Trees of dependencies are made once for all tests here, in whatever process, and leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        folder = Path(os.environ.get('OVCA_LAB_CACHE') or shared_folder(tmp_path_factory) / 'cache')
        patch.setenv('OVCA_LAB_CACHE', str(folder))
        yield folder


@pytest.fixture(scope='session')
def stocked(tmp_path_factory):
    """Keys and images that are made once."""
    return stock(tmp_path_factory)


@pytest.fixture
def lab(tmp_path):
    made = spec.new(tmp_path, database=f'sqlite:///{tmp_path}/db', version='1.0.0')
    made.save()
    for node in made.nodes:
        write_reboot(node, sys.executable)
        install_stub(node)
    yield made
    for node in made.nodes:
        PowerSupply(made, node).off()
