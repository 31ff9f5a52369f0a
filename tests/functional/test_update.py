"""Whole updates in the process lab: what an operator lives through, with real processes, disks, BMCs and databases."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.db.models import Node
from ovca.image import verify_root
from tests.functional.conftest import Appliance, appliance_in, broken
from tests.stock import Stock

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(240)]
PATH = ['REQUESTED', 'INSTALL_1', 'VERIFY_1', 'PROVING', 'INSTALL_2', 'VERIFY_2', 'DONE']


def test_an_update_changes_both_nodes_and_the_roles(appliance_on_each: Appliance) -> None:
    appliance = appliance_on_each
    master, standby = appliance.master, appliance.standby
    keys = {n: (appliance.lab.node(n).root / 'etc/ovca.conf').read_bytes() for n in (master, standby)}

    appliance.request('update', uri=appliance.serve('1.1.0'))

    assert appliance.ended().state == 'DONE', appliance.story()
    assert appliance.states() == PATH
    assert appliance.wiped() == [standby, master]
    assert appliance.master == standby
    for node in (master, standby):
        root = appliance.lab.node(node).root
        assert appliance.version(node) == '1.1.0'
        assert json.loads((root / 'var/lib/ovca/evidence.json').read_bytes())['node'] == node
        assert verify_root(root, appliance.lab.spec.shared / 'mgmt_image/1.1.0/files.json') == []
        assert (root / 'etc/ovca.conf').read_bytes() == keys[node], 'a site setting was lost in the wipe'


@pytest.fixture
def unhurried(tmp_path: Path, stocked: Stock) -> Iterator[Appliance]:
    """A lease that a restart of the service does not outlast, however busy this machine is."""
    yield from appliance_in(
        tmp_path / 'lab', stocked, overrides={'cluster': {'ttl': 15, 'renew_interval': 3, 'self_demote': 12}}
    )


def test_a_killed_master_service_goes_on_and_fences_nobody(unhurried: Appliance) -> None:
    appliance = unhurried
    master, standby = appliance.master, appliance.standby
    appliance.request('update', uri=appliance.serve('1.1.0'))
    appliance.in_state('INSTALL_1')

    appliance.lab.kill_service(master)

    assert appliance.ended().state == 'DONE', appliance.story()
    assert appliance.wiped() == [standby, master]
    claims = [e.detail for e in appliance.events('lease') if ' claimed the lease' in e.detail]
    assert len(claims) == 1, 'somebody claimed, and so fenced, when the service was only restarted'
    assert any(f'{master} re-claimed' in e.detail for e in appliance.events('lease'))


def test_a_power_cut_of_the_master_during_the_first_install_loses_nothing(appliance: Appliance) -> None:
    master, standby = appliance.master, appliance.standby
    appliance.request('update', uri=appliance.serve('1.1.0'))
    appliance.step(standby, 'installing')

    appliance.lab.cut_power(master)

    update = appliance.ended()
    assert update.state in ('DONE', 'ABORTED', 'FAILED_ROLLED_BACK', 'FAILED_DEGRADED'), appliance.story()
    assert appliance.version(appliance.master) in ('1.0.0', '1.1.0')
    if update.state == 'DONE':
        assert [appliance.version(n) for n in (master, standby)] == ['1.1.0', '1.1.0']
    else:
        assert appliance.version(master) == '1.0.0'


def test_an_unhealthy_image_leaves_the_old_software_serving(appliance: Appliance) -> None:
    master, standby = appliance.master, appliance.standby

    appliance.request('update', uri=appliance.serve('1.1.0', plugins=broken('True')))

    update = appliance.ended()
    assert update.state == 'FAILED_DEGRADED', appliance.story()
    assert appliance.master == master
    assert appliance.version(master) == '1.0.0'
    assert appliance.wiped() == [standby]
    assert appliance.one(Node, standby).quarantined


def test_an_image_that_is_unhealthy_only_as_master_rolls_back(appliance: Appliance) -> None:
    master, standby = appliance.master, appliance.standby

    appliance.request('update', uri=appliance.serve('1.1.0', plugins=broken('self.context.acting()')))

    update = appliance.ended()
    assert update.state == 'FAILED_ROLLED_BACK', appliance.story()
    assert update.proven_at is None
    assert appliance.master == master
    assert appliance.version(master) == '1.0.0'
    assert appliance.wiped() == [standby]


def test_a_network_boot_at_the_wrong_moment_boots_from_disk(appliance: Appliance) -> None:
    master, standby = appliance.master, appliance.standby
    appliance.lab.set_vice(standby, 'repeat_network_boot', True)

    appliance.request('update', uri=appliance.serve('1.1.0'))

    # After its install the machine boots from the network again, and again: no grant is armed, so it boots its disk.
    assert appliance.ended().state == 'DONE', appliance.story()
    assert appliance.wiped() == [standby, master]


MIGRATION = '''
"""A migration that only the new image has."""
import sqlalchemy as sa
from alembic import op

revision = '{revision}'
down_revision = '{before}'
branch_labels = depends_on = None


def upgrade():
    op.create_table('of_1_1_0', sa.Column('id', sa.Integer(), primary_key=True))
'''


def test_an_image_brings_a_migration_and_a_module_of_its_own(appliance: Appliance) -> None:
    from ovca.db import schema

    mine = schema.head()
    new = f'{int(mine) + 1:04}'
    files = {
        f'usr/lib/ovca/ovca/db/migrations/versions/{new}_of_1_1_0.py': MIGRATION.format(revision=new, before=mine),
        'usr/lib/ovca/ovca/only_in_1_1_0.py': 'WORD = "new"\n',
    }
    before = schema.current(appliance.database)

    appliance.request('update', uri=appliance.serve('1.1.0', files=files))

    assert appliance.ended().state == 'DONE', appliance.story()
    appliance.until('the schema is migrated', lambda: schema.current(appliance.database) == new)
    assert before == mine
    for node in ('mn1', 'mn2'):
        assert (appliance.lab.node(node).root / 'usr/lib/ovca/ovca/only_in_1_1_0.py').exists()


def test_both_nodes_go_back_if_the_manifest_and_the_operator_allow_it(appliance: Appliance) -> None:
    appliance.request('update', uri=appliance.serve('1.1.0', downgrade_to='1.0.0'))
    assert appliance.ended().state == 'DONE', appliance.story()

    refused = appliance.answer(appliance.request('activate', version='1.0.0'))
    allowed = appliance.answer(appliance.request('activate', version='1.0.0', allow_downgrade=True))

    assert (refused.state, allowed.state) == ('failed', 'done'), allowed.error
    assert 'was not asked for' in refused.error
    appliance.until('the downgrade ends', lambda: appliance.update().id == 2 and appliance.update().finished_at)
    assert appliance.update().state == 'DONE', appliance.story()
    assert [appliance.version(n) for n in ('mn1', 'mn2')] == ['1.0.0', '1.0.0']


def test_ctrl_c_in_the_command_stops_nothing_and_the_other_node_can_watch(appliance: Appliance) -> None:
    master = appliance.master
    url = appliance.serve('1.1.0')
    command = appliance.lab.popen(
        master,
        ['update', url, '--yes'],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    appliance.in_state('INSTALL_1')

    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=30)

    assert command.returncode == 130, said
    assert 'update-watch' in said
    assert 'Traceback' not in said
    assert appliance.ended().state == 'DONE', appliance.story()
    appliance.ready()
    done = appliance.ovca(appliance.master, 'update-watch')
    assert done.returncode == 0, done.stderr
    assert json.loads(appliance.ovca(appliance.standby, 'update-list', '-f', 'json').stdout)[0]['state'] == 'DONE'
