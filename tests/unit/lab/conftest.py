"""A lab without ovca in it: the nodes' disks hold a stub service."""

import sys

import pytest
from labkit import install_stub

from ovca.lab import spec
from ovca.lab.hardware import PowerSupply, write_reboot


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
