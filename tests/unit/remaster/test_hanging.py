"""The shared storage hangs in the middle of an update: it is told, and whatever else is decided goes on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.db.models import Entry, Image, Node
from ovca.remaster.checks import failures
from ovca.remaster.checks.patience import Patience
from ovca.remaster.checks.stages import stage_checks
from ovca.remaster.protocol import State
from tests.hanging import calls, dead
from tests.mastered import Master
from tests.operated import NEW, OLD, Operated

NOTHING = b'{"files": []}'
"""The list of an image without files, which every system is like."""


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    appliance = Operated(tmp_path).started().image('1.0.0', OLD).image('1.1.0', NEW)
    yield appliance
    appliance.close()


def stored(operated: Operated, version: str, name: str, data: bytes) -> Path:
    """A file of an image on the shared storage."""
    path = operated.folder / 'shared/mgmt_image' / version / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_an_update_that_cannot_ask_the_storage_tells_it_and_can_be_aborted(operated: Operated) -> None:
    master, patience, before = Master(operated), Patience(), calls('image')
    master.conf.set_override('timeout', 2.0, 'check')
    master.conf.set_override('driver', 'fake', 'power')
    number = operated.update('VERIFY_1')
    operated.entry(number)
    ready = master.now() - dt.timedelta(hours=1)
    master.change(Entry, (number, 'mn2'), final_at=ready, final_attempt=1, final_digest=NEW)
    master.change(Node, 'mn2', running_digest=NEW, healthy_since=ready)
    master.later(0)

    def staged(version: str, stage: State) -> list[str]:
        results = stage_checks(master.conf, master.database, version, stage, patience=patience)
        return failures([each for each in results if each.id == 'image'])

    master.loop.hands = dataclasses.replace(master.loop.hands, stage_checks=staged)
    with dead(stored(operated, '1.1.0', 'manifest.json', b'{}')):
        for _ in range(3):
            master.run()
            master.loop._staged.clear()  # as if it were time to look again
        threads, told = calls('image') - before, master.story('alarm')
        master.ask('abort')
        master.run()

    assert threads == 1
    assert len(told) == 1, 'one alarm, however often it is looked'
    assert 'image: it did not answer within 2 s' in told[0]
    assert master.update().state == 'FAILED_DEGRADED'


def old_target_leads(operated: Operated) -> Master:
    """mn1 leads with the old software, and was given to an installer: is it whole?"""
    master = Master(operated)
    master.change(Image, '1.0.0', files_digest=hashlib.sha256(NOTHING).hexdigest(), size=0)
    number = operated.update('INSTALL_1', first='mn1', second='mn2')
    operated.entry(number, 'mn1')
    operated.wiped(number, 'mn1')
    (operated.folder / 'root').mkdir(exist_ok=True)
    return master


def test_a_system_that_cannot_be_held_against_its_image_yet_waits_for_the_storage(operated: Operated) -> None:
    master, before = old_target_leads(operated), calls('rehash')
    master.conf.set_override('timeout', 0.2, 'check')

    with dead(stored(operated, '1.0.0', 'files.json', NOTHING)):
        for _ in range(3):
            master.run()
        during = (calls('rehash') - before, master.update().state, master.story('alarm'))
    master.loop._patience._hanging['rehash'].join(30)
    master.conf.set_override('timeout', 60.0, 'check')
    master.run()

    told = (
        'it is not known whether mn1 is whole, see to the shared storage: image 1.0.0: it did not answer within 0.2 s'
    )
    assert during == (1, 'INSTALL_1', [told])
    assert master.update().state == 'ABORTED'


@pytest.mark.parametrize('comes', ['in time', 'too late'])
def test_a_system_whose_image_cannot_be_read_is_not_told_to_be_damaged(operated: Operated, comes: str) -> None:
    master = old_target_leads(operated)
    listing = stored(operated, '1.0.0', 'files.json', NOTHING)
    aside = listing.rename(listing.with_suffix('.away'))

    for _ in range(3):
        master.run()
    during = (master.update().state, master.story('alarm'))
    if comes == 'in time':
        aside.rename(listing)
    else:
        master.later(4000)
    master.run()

    (told,) = during[1]
    assert during[0] == 'INSTALL_1'
    assert told.startswith(f'it is not known whether mn1 is whole, see to the shared storage: {listing} cannot be read')
    assert master.update().state == ('ABORTED' if comes == 'in time' else 'FAILED_DEGRADED')
    if comes == 'too late':
        assert 'is damaged' not in str(master.update().reason)
        assert f'it is not known whether mn1 is whole: {listing} cannot be read' in str(master.update().reason)


def test_a_damaged_system_is_told_with_the_first_file_that_differs(operated: Operated) -> None:
    master = old_target_leads(operated)
    master.whole('1.0.0', OLD).write_text('softwarf')
    data = (operated.folder / 'shared/mgmt_image/1.0.0/files.json').read_bytes()
    master.change(Image, '1.0.0', files_digest=hashlib.sha256(data).hexdigest())

    master.run()

    assert master.update().state == 'FAILED_DEGRADED'
    assert str(master.update().reason).endswith(
        'its system is damaged (1 file differs from image 1.0.0, the first is mgmt_image/usr/bin/tool)'
    )
