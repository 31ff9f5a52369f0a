"""Bounds: when an alarm is raised, when a deadline begins anew, and how often what may be ordered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ovca.db.models import Entry, Node, Update
from ovca.exceptions import ConfigError
from ovca.power.base import PowerDriver
from ovca.remaster.changes import Stale
from ovca.remaster.observe import observe
from tests.mastered import Master, installing
from tests.operated import NEW, OLD, Operated

NONCE = 'the installer'


@pytest.fixture
def operated(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    appliance = Operated(tmp_path, url=database_url).started().image('1.1.0', NEW)
    yield appliance
    appliance.close()


def alarms(master: Master) -> list[str]:
    return master.story('alarm')


# The soft limit.


def test_what_a_person_lets_wait_is_not_slow(operated: Operated) -> None:
    master = installing(operated)
    master.ask('pause')
    master.later(5000)
    master.run()

    assert alarms(master) == []


# Progress.


def wiped(operated: Operated, **remaster: object) -> Master:
    """The installer on mn2 has begun."""
    master = installing(operated, **remaster)
    master.consumed(NONCE)
    return master


def test_a_node_that_was_installed_slowly_still_has_the_time_to_reboot(operated: Operated) -> None:
    master = wiped(operated)
    for percent in (30, 60, 99):
        master.later(400)
        master.desk().progress('mn2', 1, 1, NONCE, percent, 'files')
    master.later(400)
    master.desk().written('mn2', 1, 1, NONCE)
    master.run()
    assert master.entry().attempt == 1, 'it is installed again, the moment that it was installed'

    master.later(610)
    master.run()
    assert master.entry().attempt == 2


# How often.


def boots(master: Master) -> None:
    """mn2 asks what to boot, and is told to install itself."""
    master.change(Node, 'mn2', mac='52:54:00:00:00:02')
    assert master.desk().boot('52:54:00:00:00:02') is not None


def orders(master: Master) -> int:
    return master.machine.orders.count('on')


def test_a_server_that_takes_minutes_to_start_is_left_in_peace_for_them(operated: Operated) -> None:
    master = Master(operated)
    operated.update('INSTALL_1')
    operated.entry(1)
    master.run()

    for _ in range(9):
        master.later(60)
        master.run()
    assert orders(master) == 1

    master.later(61)
    master.run()
    assert orders(master) == 2


def test_one_that_has_begun_to_boot_is_not_switched_off_again_soon(operated: Operated) -> None:
    master = installing(operated, order_interval=30)
    master.later(25)
    boots(master)
    master.later(25)
    master.run()
    assert orders(master) == 1

    master.later(10)
    master.run()
    assert orders(master) == 2


def test_who_asks_what_to_boot_again_and_again_does_not_put_off_the_deadline(operated: Operated) -> None:
    master = installing(operated, order_interval=30)
    for _ in range(40):
        boots(master)
        master.later(20)
        master.run()

    assert master.entry().attempt == 2


def test_what_began_to_boot_before_it_was_ordered_again_is_seen(operated: Operated) -> None:
    master = installing(operated, order_interval=30)
    master.later(31)
    with operated.database.write() as session:
        seen = observe(session, me='mn1', epoch=3, running_digest=OLD, limits=master.loop.limits)
    assert seen is not None
    boots(master)

    with pytest.raises(Stale):
        master.loop._changes.order(3, seen, 'mn2')


def test_an_order_that_its_bmc_did_not_take_is_given_again_after_two_minutes(operated: Operated) -> None:
    master = Master(operated)
    operated.update('INSTALL_1')
    operated.entry(1)
    master.machine.vices.unreachable = True
    master.run()
    master.machine.vices.unreachable = False

    master.later(121)
    master.run()

    assert orders(master) == 1


def test_a_bmc_that_the_configuration_gives_no_way_to_is_an_alarm_and_tried_again(operated: Operated) -> None:
    master = Master(operated)
    operated.update('INSTALL_1')
    operated.entry(1)
    whole = master.loop.hands

    def no_way(node: str) -> PowerDriver:
        raise ConfigError('[power] password_file /etc/ovca/bmc cannot be read: No such file', id='secret-file')

    master.loop.hands = replace(whole, power=no_way)
    master.run()
    master.later(121)
    master.run()
    told = master.story('alarm')
    master.loop.hands = whole
    master.later(121)
    master.run()

    assert told == ['[power] password_file /etc/ovca/bmc cannot be read: No such file [secret-file]']
    assert orders(master) == 1


def test_no_more_power_cycles_are_ordered_than_an_update_may_order_and_it_ends(operated: Operated) -> None:
    master = installing(operated, power_orders=3)
    for _ in range(40):
        master.later(60)
        master.run()

    assert master.machine.orders.count('on') == 3
    assert (master.update().state, master.entry().attempt) == ('FAILED_DEGRADED', 2)
    assert master.node().quarantined


def second_leads(operated: Operated, handovers: int, state: str = 'INSTALL_2') -> Master:
    """mn1 is the node to install, and leads; the proven node is ready."""
    master = Master(operated, hand_overs=6)
    operated.update(state, handovers=handovers)
    operated.entry(1, 'mn1')
    operated.entry(1, 'mn2', final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    master.change(Node, 'mn2', running_digest=NEW)
    master.change(Update, 1, proven_at=master.now())
    return master


def test_nodes_that_change_roles_on_their_own_are_given_the_lease_only_so_often(operated: Operated) -> None:
    master = second_leads(operated, handovers=6)
    master.run()
    assert (master.stopped, master.update().state) == ([], 'INSTALL_2')

    master.later(3700)
    master.run()

    assert (master.stopped, master.update().state) == ([], 'FAILED_FORWARD')


def test_below_that_number_the_lease_goes_to_the_proven_node(operated: Operated) -> None:
    master = second_leads(operated, handovers=5)

    master.run()

    assert master.stopped == ['stopped', 'gave away, reboots']
    assert master.update().handovers == 6


def test_the_way_back_to_sound_software_is_always_open(operated: Operated) -> None:
    master = Master(operated, runs=NEW, version='1.1.0', hand_overs=2)
    operated.update('ROLLBACK', first='mn1', second='mn2', handovers=99)
    operated.entry(1, 'mn1', final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')

    master.run()

    assert (master.stopped, master.lease.read().holder) == (['stopped', 'gave away, reboots'], 'mn2')
    assert master.node('mn2').running_digest == OLD


def test_a_replaced_machine_is_installed_even_if_all_attempts_and_power_cycles_were_used(operated: Operated) -> None:
    master = installing(operated, attempts=1, power_orders=1)
    master.consumed()
    master.alive = {'mn1'}
    master.later(60)

    assert master.ask('replace', node='mn2').state == 'done'
    master.run()

    assert (master.update().state, master.entry().attempt, master.machine.boots) == (
        'INSTALL_1',
        2,
        ['network', 'network'],
    )
    with operated.database.read() as session:
        assert session.get_one(Entry, (1, 'mn2')).step == 'power cycle'
