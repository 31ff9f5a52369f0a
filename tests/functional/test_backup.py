"""The database of an appliance is lost, and comes back from a backup."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ovca import conf
from ovca.backup import restoration
from ovca.backup.aftermath import RESTORED
from ovca.backup.shelf import Shelf
from ovca.db import schema
from ovca.db.models import Update
from tests.functional.conftest import Appliance

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(300)]


def lose_the_database(appliance: Appliance) -> None:
    """All that it held is gone, as after the loss of its disk."""
    file = appliance.database.file
    appliance.database.dispose()
    if file is not None:
        for path in file.parent.glob(f'{file.name}*'):
            path.unlink()
    else:
        with appliance.database.write() as session:
            session.execute(text('DROP SCHEMA public CASCADE'))
            session.execute(text('CREATE SCHEMA public'))
    assert schema.current(appliance.database) is None


def restored(appliance: Appliance, id: str) -> restoration.Outcome:
    """Both nodes are off, the database is lost and comes back from a backup, and both nodes are on again."""
    for node in ('mn1', 'mn2'):
        appliance.lab.cut_power(node)
    lose_the_database(appliance)
    configuration = conf.load(str(appliance.lab.node('mn1').root / 'etc/ovca.conf'))
    with Shelf(appliance.lab.spec.shared / 'backup').open(id) as (_, reader):
        outcome = restoration.carry_out(configuration, appliance.database, reader, replace=False, who='a test')
    for node in ('mn1', 'mn2'):
        appliance.lab.power_on(node)
    return outcome


def test_after_an_older_backup_the_image_that_runs_is_taken_up_again_and_installs_a_node(appliance: Appliance) -> None:
    made = appliance.ovca(appliance.master, 'backup-create', '-f', 'value', '-c', 'id')
    assert made.returncode == 0, made.stderr
    appliance.request('update', uri=appliance.serve('1.1.0'))
    appliance.until('the update is there', lambda: appliance.update() is not None)
    assert appliance.ended().state == 'DONE', appliance.story()
    appliance.ready()

    outcome = restored(appliance, made.stdout.strip())
    appliance.ready()

    assert outcome.unknown_images == ('1.1.0',)
    assert appliance.images() == ['1.0.0']
    assert appliance.version('mn1') == appliance.version('mn2') == '1.1.0'
    refused = appliance.ovca(appliance.master, 'node-reinstall', appliance.standby, '--yes')
    assert '[no-running-image]' in refused.stderr
    # This download removed the image that both nodes run.
    fetched = appliance.answer(appliance.request('download', uri=appliance.serve('1.2.0')))
    assert fetched.state == 'done', fetched.error
    taken = appliance.ovca(appliance.master, 'image-adopt', '1.1.0')
    assert taken.returncode == 0, taken.stderr
    assert appliance.images() == ['1.0.0', '1.1.0', '1.2.0']
    node = appliance.standby
    again = appliance.ovca(appliance.master, 'node-reinstall', node, '--yes')
    assert again.returncode == 0, again.stderr
    assert appliance.ended().state == 'DONE', appliance.story()
    assert appliance.version(node) == '1.1.0'
    assert appliance.wiped()[-1:] == [node]


@pytest.mark.parametrize('database_url', ['sqlite', 'postgresql'], indirect=True)
def test_after_the_loss_of_the_database_a_backup_from_within_an_update_lets_the_next_update_succeed(
    appliance_on_each: Appliance,
) -> None:
    # The hardest one: the backup tells of an update that is open, and that has come to its end since.
    appliance = appliance_on_each
    appliance.request('update', uri=appliance.serve('1.1.0'))
    appliance.in_state('INSTALL_1')
    made = appliance.ovca(appliance.master, 'backup-create', '-f', 'value', '-c', 'id')
    assert made.returncode == 0, made.stderr
    assert appliance.ended().state == 'DONE', appliance.story()
    shelf = Shelf(appliance.lab.spec.shared / 'backup')
    before = {each.record.update_id: each for each in shelf.backups() if each.record}
    assert before[1].record is not None and before[1].record.why == 'before the update to 1.1.0'

    outcome = restored(appliance, made.stdout.strip())

    ended = appliance.one(Update, 1)
    assert (ended.state, ended.reason) == ('ABORTED', RESTORED)
    appliance.ready()
    assert appliance.version('mn1') == appliance.version('mn2') == '1.1.0'
    assert min(event.epoch for event in appliance.events('lease')[-2:]) > outcome.aftermath.epoch
    appliance.request('update', uri=appliance.serve('1.2.0'))
    appliance.until('the next update is there', lambda: appliance.update().id == 2)
    assert appliance.ended().state == 'DONE', appliance.story()
    assert appliance.version('mn1') == appliance.version('mn2') == '1.2.0'
