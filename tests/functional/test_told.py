"""What an image brings besides the nodes' own software is applied, and somebody is told how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.lab.images import Plugin
from tests.functional.conftest import Appliance, appliance_in
from tests.stock import Stock

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(240)]
SHELVES = """
from pathlib import Path

from ovca.remaster.components import Component, ComponentError

SHELF = Path({shelf!r})


class Shelves(Component):
    def applied(self):
        return SHELF.read_text() if SHELF.exists() else None

    def apply(self, version, tree):
        if (tree / 'release').read_text() != f'hmp {{version}}\\n':
            raise ComponentError('this tree is of another version')
        SHELF.write_text(version)
"""


@pytest.fixture
def appliance(tmp_path: Path, stocked: Stock) -> Iterator[Appliance]:
    """Two nodes with 1.0.0, whose operator lets a command be run for each message."""
    notify = {'drivers': 'command', 'command': f"sh -c 'cat >> {tmp_path / 'told'}'"}
    yield from appliance_in(tmp_path / 'lab', stocked, overrides={'notify': notify})


def test_after_an_update_its_components_are_in_force_and_its_end_was_told_once(
    appliance: Appliance, tmp_path: Path
) -> None:
    shelf, told = tmp_path / 'shelf', tmp_path / 'told'
    shelves = Plugin(
        'ovca-shelves',
        {'ovca_shelves.py': SHELVES.format(shelf=str(shelf))},
        {'ovca.component': {'hmp': 'ovca_shelves:Shelves'}},
        configuration='[remaster]\ncomponents = hmp\n',
    )

    appliance.request('update', uri=appliance.serve('1.1.0', plugins=(shelves,)))

    assert appliance.ended().state == 'DONE', appliance.story()
    (event,) = appliance.until('the component is applied', lambda: appliance.events('component'))
    assert (event.node, event.detail) == (appliance.master, 'hmp: 1.1.0 is in force (before: nothing)')
    assert shelf.read_text() == '1.1.0'
    appliance.until('the end is told', lambda: told.exists() and '"ended"' in told.read_text())
    appliance.until('it is told whole', lambda: told.read_text().endswith('\n'))
    messages = [json.loads(line) for line in told.read_text().splitlines()]
    (message,) = [each for each in messages if each['kind'] == 'ended']
    assert (message['kind'], message['node'], message['state']) == ('ended', appliance.master, 'DONE')
