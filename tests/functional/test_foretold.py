"""What is foretold of a BMC and of the database is what real services do: told, done, and compared."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PostgresServer
from tests.faults.injector import Injector
from tests.faults.plan import Fault
from tests.functional.conftest import Appliance, appliance_in
from tests.stock import Stock

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(240)]


@pytest.fixture
def on_postgresql(
    tmp_path: Path, stocked: Stock, postgresql_server: PostgresServer, postgresql_url: str
) -> Iterator[Appliance]:
    """An appliance on a server that is running again afterwards."""
    try:
        yield from appliance_in(tmp_path / 'lab', stocked, database=postgresql_url)
    finally:
        postgresql_server.stop()
        postgresql_server.restart()


@contextmanager
def standing_still(appliance: Appliance, node: str) -> Iterator[None]:
    """All that runs on the node is stopped meanwhile, and goes on where it was."""
    hands, frozen = Injector(appliance.lab, None), Fault('freeze', node, '', 0.0, 0.0)
    hands.begin(frozen)
    try:
        yield
    finally:
        hands.end(frozen)


def explained(appliance: Appliance, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(appliance.ovca(node, 'update-explain', '-f', 'json').stdout)
    return found


def test_a_new_master_whose_peer_has_a_dead_bmc_is_rolled_back_as_foretold(appliance: Appliance) -> None:
    old, new = appliance.master, appliance.standby
    appliance.request('update', uri=appliance.serve('1.1.0'), pause_before_commit=True)
    appliance.until('it waits for a person', lambda: appliance.events('waits'))

    foretold = explained(appliance, new)['if_bmc_of_other_node_fails']
    appliance.lab.set_vice(old, 'unreachable', True)
    update = appliance.ended()

    assert re.match(
        rf'{new} is not healthy as long as it cannot ask the BMC of {old}, and has failed after 4 s of that; if it is '
        rf'not mended, the update ends as FAILED_ROLLED_BACK: {old} serves with 1\.0\.0',
        foretold,
    ), foretold
    assert (update.state, appliance.master) == ('FAILED_ROLLED_BACK', old), appliance.story()
    assert appliance.wiped() == [new]


def test_a_database_that_is_stopped_while_a_node_is_installed_lets_it_go_on_where_it_stood(
    on_postgresql: Appliance, postgresql_server: PostgresServer
) -> None:
    appliance, second, first = on_postgresql, on_postgresql.master, on_postgresql.standby
    appliance.request('update', uri=appliance.serve('1.1.0'))
    appliance.until('the first node is wiped', lambda: appliance.wiped())
    with standing_still(appliance, first):  # else it may be written before the question is answered
        foretold = explained(appliance, second)['if_database_fails']
    epoch = max(event.epoch for event in appliance.events() if event.epoch)
    log = appliance.lab.node(second).log

    postgresql_server.stop()
    appliance.until('it stops serving', lambda: 'stops serving until the database is back' in log.read_text())
    time.sleep(2)  # longer than the lease lasts: nobody else may take it when the database is back
    postgresql_server.restart()
    appliance.until('it serves again', lambda: log.read_text().count(f'acts as master, epoch {epoch}') == 2)
    appliance.in_state('VERIFY_1')

    assert foretold.startswith('nothing is decided and nothing more is wiped; after 2 s '), foretold
    assert f'When the database is back {second} serves again and the update goes on where it stood' in foretold
    assert (appliance.master, appliance.wiped()) == (second, [first]), appliance.story()
    (again,) = [event.detail for event in appliance.events('lease') if 'serves again' in event.detail]
    assert float(again.split()[-2]) >= 2, again
