"""The plugin on the nodes of a whole appliance."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from ovca_hello.banner import path_of

from ovca.lab.lab import Lab

pytestmark = pytest.mark.functional
OVERRIDES = {
    'hello': {'language': 'de'},
    'cluster': {'roles': 'virtual-ip,boot-service,hello-banner'},
    'check': {'enabled': 'hello-outlets'},
    'health': {'interval': 0.5, 'timeout': 5, 'checks': 'hello-banner'},
}


@pytest.fixture(scope='module')
def lab(ovca_lab: Callable[..., Lab]) -> Lab:
    return ovca_lab('ovca-plugin-hello', overrides=OVERRIDES)


def test_only_the_acting_master_has_the_banner(lab: Lab) -> None:
    master = lab.wait_until_healthy()

    found = {node: path_of(lab.conf(node)) for node in ('mn1', 'mn2')}

    assert [name for name, path in found.items() if path.exists()] == [master]
    assert found[master].read_text() == f'Guten Tag, {master}! You are the master.\n'


def test_the_command_runs_on_a_node_with_the_software_of_its_disk(lab: Lab) -> None:
    done = lab.run(lab.wait_for_master(), ['hello-list', '-f', 'json'], check=True)

    assert {row['greeting'] for row in json.loads(done.stdout)} == {'Guten Tag, mn1!', 'Guten Tag, mn2!'}


def test_the_check_is_one_of_those_before_an_update(lab: Lab) -> None:
    done = lab.run(lab.wait_for_master(), ['check', '-f', 'json'])

    results = {row['id']: row['result'] for row in json.loads(done.stdout)}
    assert results['hello-outlets'] == 'passed', done.stdout
