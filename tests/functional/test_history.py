"""What an update leaves, and who follows it, whatever happens to the nodes meanwhile."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.conftest import Appliance, appliance_in
from tests.stock import Stock

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(240)]


@pytest.fixture
def apart(tmp_path: Path, stocked: Stock, postgresql_url: str) -> Iterator[Appliance]:
    """Two nodes whose way to the database can be cut."""
    yield from appliance_in(tmp_path / 'lab', stocked, database=postgresql_url)


def test_a_master_that_dies_at_the_end_leaves_the_report_to_its_successor(appliance: Appliance) -> None:
    folder = appliance.lab.spec.shared / 'report'
    folder.write_text('in the way')
    appliance.request('update', uri=appliance.serve('1.1.0'))
    update = appliance.ended()
    assert update.state == 'DONE', appliance.story()
    dead, heir = appliance.master, appliance.standby
    assert appliance.events('report') == []

    folder.unlink()
    appliance.lab.cut_power(dead)

    (event,) = appliance.until('the report is in the journal', lambda: appliance.events('report'))
    data = (folder / f'update-{update.id}.json').read_bytes()
    assert (event.update_id, event.node) == (update.id, heir)
    assert hashlib.sha256(data).hexdigest() in event.detail
    assert json.loads(data)['events'][-1]['to_state'] == 'DONE'
    shown = json.loads(appliance.ovca(heir, 'update-show', '-f', 'json', check=True).stdout)
    assert shown['report'] == event.detail
    assert {step['step'] for step in shown['steps']} == {'boot', 'install', 'proof'}
    appliance.ready()  # its successor has switched the dead one on again
    assert len(appliance.events('report')) == 1


def test_who_follows_hears_from_the_other_node_while_the_database_is_away(apart: Appliance, tmp_path: Path) -> None:
    uri, standby = apart.serve('1.1.0'), apart.standby
    # Its power cycle does not happen yet: the standby is not wiped while somebody asks there.
    apart.lab.set_vice(standby, 'stuck_on', True)
    apart.request('update', uri=uri, pause_before_commit=True)
    apart.in_state('INSTALL_1')
    out = tmp_path / 'watched'
    with (
        out.open('w') as stream,
        apart.lab.popen(standby, ['update-watch', '-f', 'json'], stdout=stream, stderr=subprocess.STDOUT) as watching,
    ):
        apart.until('it follows', lambda: '"update"' in out.read_text())
        apart.lab.cut(standby, 'database')
        apart.until('the other node tells', lambda: '"told_by": "mn' in out.read_text())
        # Now the virtual IP alone is left, and the update goes on: its own node is wiped under the one who follows.
        apart.lab.cut(standby, 'peer')
        apart.lab.set_vice(standby, 'stuck_on', None)
        apart.until('the virtual IP tells', lambda: f'{standby} is wiped' in out.read_text())
        apart.lab.mend(standby)
        apart.request('continue')

        assert watching.wait(120) == 0, out.read_text()

    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert (told[-1]['kind'], told[-1]['state']) == ('end', 'DONE')
    ids = [each['id'] for each in told if each['kind'] == 'event']
    assert ids == sorted(set(ids)), 'each event is told once'
    # The report may be written before or after the follower has seen the end.
    reports = {event.id for event in apart.events() if event.kind == 'report'}
    assert [id for id in ids if id not in reports] == [
        event.id for event in apart.events() if event.update_id and event.kind != 'report'
    ]
