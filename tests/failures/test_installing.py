"""Failures of an installation: the wrong node, again and again, for ever, or with what a node was known by lost."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import select

from ovca import conf
from ovca.cluster.nodes import NodeRow
from ovca.db.models import Entry, Node, Operation, Request, Update
from ovca.exceptions import GrantRefused
from ovca.power.base import BootDevice
from ovca.provision.authority import GrantAsk
from ovca.remaster import checks, plan, reading
from ovca.remaster.checks import CheckResult, Result
from tests.failures.target import HOST_KEY, MAC, Target, saved
from tests.mastered import Master, installing
from tests.operated import NEW, Operated

NONCE = 'the installer'


class Dead(BaseException):
    """The master dies here."""


def wiped_and_dead(operated: Operated) -> Master:
    """mn2 was given to its installer, and is not heard of any more."""
    master = Master(operated)
    operated.update('INSTALL_1')
    operated.entry(1)
    master.run()
    master.consumed()
    master.alive = {'mn1'}
    master.later(60)
    return master


def final(master: Master, node: str) -> None:
    """The node has proved that it runs the new software."""
    attempt = master.entry(node).attempt
    master.change(
        Entry, (1, node), final_at=master.now(), final_attempt=attempt, final_digest=NEW, step='final',
        step_at=master.now(),
    )  # fmt: skip
    master.change(Node, node, running_digest=NEW, running_version='1.1.0')


# F3: acted before it was recorded, or recorded as done after acting on oneself.


def test_f03_a_power_cycle_is_on_record_before_it_is_ordered_and_a_restart_does_not_repeat_it(
    on_each: Operated,
) -> None:
    def die() -> None:
        raise Dead

    master = Master(on_each, install_deadline=3000, order_interval=30, power_orders=3)
    on_each.update('INSTALL_1')
    on_each.entry(1)
    master.machine.on_off = die
    with pytest.raises(Dead):
        master.run()
    assert (master.entry().power_orders, master.entry().step) == (1, 'power cycle')

    again = Master(on_each, install_deadline=3000, order_interval=30, power_orders=3)
    again.run()
    assert (again.machine.orders, again.entry().power_orders) == ([], 1)

    for _ in range(20):
        again.later(31)
        again.run()
    assert (again.machine.orders.count('on'), again.entry().power_orders) == (2, 3), 'three are all that there may be'


def test_f03_a_failover_ends_its_order_in_the_transaction_that_makes_it_and_no_second_one_follows(
    on_each: Operated,
) -> None:
    master = Master(on_each)
    done: list[str] = []
    gave = master.loop.hands.gave_away

    def look(epoch: int, reboot: bool) -> None:
        with on_each.database.read() as session:
            done.append(session.scalars(select(Request)).one().state)
        gave(epoch, reboot)

    object.__setattr__(master.loop.hands, 'gave_away', look)
    master.ask('failover', epoch=3)
    successor = Master(on_each, here='mn2', epoch=4)
    successor.clerk.step()
    successor.clerk.join(20)

    assert done == ['done']
    assert (successor.stopped, successor.lease.read().holder) == ([], 'mn2')


# F4: roles are read again after a failover, and the wrong node is chosen.


def test_f04_after_a_failover_the_node_that_is_standby_now_is_not_the_one_to_wipe(operated: Operated) -> None:
    master = Master(operated)
    operated.update('INSTALL_2')  # mn2 is proven, and mn1, which is to be installed, has come to lead
    master.change(Update, 1, proven_at=master.now())
    operated.entry(1, 'mn1')
    operated.entry(1, 'mn2')
    final(master, 'mn2')
    saved(master)
    master.change(Node, 'mn2', mac=MAC)

    with pytest.raises(GrantRefused, match='no update wants to install it now'):
        master.desk().consume(GrantAsk('token', 'mn2', 1, 1, NEW, 'n' * 32, 'boot'))
    assert master.desk().boot(MAC) is None
    master.run()

    update = master.update()
    assert (update.first, update.second, update.state) == ('mn2', 'mn1', 'INSTALL_2')
    assert (master.grants(), master.machine.orders) == ([], [])
    assert (master.stopped, master.lease.read().holder) == (['stopped', 'gave away, reboots'], 'mn2')


def test_f04_a_target_that_leads_on_the_old_software_ends_the_update_before_anything_is_wiped(
    operated: Operated,
) -> None:
    master = Master(operated)
    operated.update('INSTALL_1', first='mn1', second='mn2')
    operated.entry(1, 'mn1')

    master.run()

    update = master.update()
    assert (update.state, update.first, update.second) == ('ABORTED', 'mn1', 'mn2')
    assert (master.grants(), master.machine.orders) == ([], [])


# F6: a node is forgotten before what replaces it works.


def test_f06_a_node_keeps_its_record_keys_and_addresses_until_the_new_system_has_registered(
    operated: Operated,
) -> None:
    master = Master(operated, install_deadline=3000, order_interval=5, attempts=3)
    operated.update('INSTALL_1')
    operated.entry(1)
    target = Target(master)
    known = (master.node().bmc, MAC)
    master.alive = {'mn1'}

    for attempt in (1, 2):
        master.later(60)
        master.run()
        assert (master.entry().attempt, len(target.wipes)) == (attempt, attempt)
        assert target.wipes[-1].site.files == (HOST_KEY,), 'it is given back at each attempt'
        assert (master.node().bmc, master.node().mac) == known
        refused = master.ask('node-delete', name='mn2')
        assert (refused.state, refused.result) == ('failed', {'error_id': 'node-pinned'})
        target.fails()

    operated.configure('mn2')
    row = NodeRow(conf.load(str(operated.config_file)), operated.database, incarnation='of 1.1.0', boot_id='new')
    row.register('1.1.0', NEW)
    now = master.node()
    assert (now.running_version, now.incarnation, now.bmc, now.mac) == ('1.1.0', 'of 1.1.0', *known)


# F9: a stale lock blocks for months, or expires into more damage.


def test_f09_a_lock_of_an_earlier_boot_is_shown_with_its_owner_and_begins_nothing_until_it_is_broken(
    on_each: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, 'run_all', lambda *_, **__: [CheckResult('nodes', Result.PASSED, 'healthy')])
    master = Master(on_each)
    on_each.holds('firmware', owner='olga', why='the disk shelf gets firmware 7', boot_id='before the power cut')
    with on_each.database.write() as session:
        session.scalars(select(Operation)).one().taken_at -= dt.timedelta(days=90)

    refused = master.ask('activate', version='1.1.0')
    (lock,) = on_each.service().locks()

    assert (refused.state, refused.result) == ('failed', {'error_id': 'operation-held'}), refused.error
    assert (lock.owner, lock.stale, lock.detail) == ('olga', True, 'mn1 has started anew since')
    assert master.ask('lock-break', name='firmware', since=lock.since.isoformat()).state == 'done'  # type: ignore[union-attr]
    assert master.ask('activate', version='1.1.0').state == 'done'
    assert master.update().state == 'REQUESTED'


def test_f09_a_lease_that_expired_in_an_update_resumes_it_and_starts_no_other(on_each: Operated) -> None:
    Master(on_each)
    on_each.update('INSTALL_1')
    on_each.entry(1)
    on_each.silent(3600)

    successor = Master(on_each, here='mn2', epoch=5)
    request = successor.ask('activate', version='1.1.0')
    successor.run()

    assert (request.state, request.result) == ('done', {'update_id': 1})
    with on_each.database.read() as session:
        assert [row.id for row in session.scalars(select(Update))] == [1]


# F12: a network boot is ignored and the old disk boots; or it never ends.


def test_f12_a_machine_that_ignores_the_network_boot_is_asked_only_so_often_and_is_never_taken_for_installed(
    operated: Operated,
) -> None:
    master = Master(operated, install_deadline=600, order_interval=5, power_orders=4)
    operated.update('INSTALL_1')
    operated.entry(1)
    target = Target(master)
    master.machine.vices.ignore_boot_device = True

    for _ in range(12):
        master.later(200)
        master.run()

    assert (target.from_disk, target.wipes) == (4, [])
    assert (master.update().state, master.entry().final_at) == ('FAILED_DEGRADED', None)


def test_f12_a_machine_that_boots_from_the_network_again_and_again_is_wiped_once_for_each_attempt(
    operated: Operated,
) -> None:
    master = Master(operated, install_deadline=600, order_interval=5, attempts=2)
    operated.update('INSTALL_1')
    operated.entry(1)
    target = Target(master)
    master.machine.vices.repeat_network_boot = True
    master.run()
    assert (len(target.wipes), master.desk().boot(MAC)) == (1, None)
    with pytest.raises(GrantRefused, match='the grant was consumed by another run of the installer'):
        master.desk().consume(replace(target.asked[-1], nonce='another run, with the same order'))
    assert master.desk().consume(target.asked[-1]) == target.wipes[-1], 'its own answer may have been lost'

    for _ in range(12):
        master.later(200)
        master.run()
        for _ in range(3):
            target.boot(BootDevice.NETWORK)

    assert (len(target.wipes), master.entry().attempt) == (2, 2)
    assert master.update().state == 'FAILED_DEGRADED'


# F14: without a time-out stuck for days; with a wrong one, good work is killed.


def test_f14_a_step_that_takes_long_is_an_alarm_and_then_a_new_attempt_once_each_also_under_the_next_master(
    operated: Operated,
) -> None:
    master = installing(operated)
    master.later(290)
    master.run()
    assert master.story('alarm') == []

    master.later(20)
    master.run()
    next_master = Master(operated, install_deadline=600, order_interval=5)
    next_master.run()
    master.later(10)
    master.run()
    assert master.story('alarm') == ['INSTALL_1 takes longer than 300 s (attempt 1 on mn2); 600 s are its deadline']

    master.later(300)
    master.run()
    assert master.entry().attempt == 2
    master.later(310)
    master.run()
    assert [text for text in master.story('alarm') if 'attempt 2' in text] == [
        'INSTALL_1 takes longer than 300 s (attempt 2 on mn2); 600 s are its deadline'
    ]


def test_f14_each_percent_that_an_installer_gets_on_begins_the_deadline_anew_and_nothing_else_does(
    operated: Operated,
) -> None:
    master = installing(operated, alarm_percent=100)
    master.consumed(NONCE)
    for percent in (1, 2, 3):
        master.later(590)
        master.desk().progress('mn2', 1, 1, NONCE, percent, 'files')
        master.run()
    assert (master.update().state, master.entry().attempt, master.story('alarm')) == ('INSTALL_1', 1, [])

    master.later(400)
    master.desk().progress('mn2', 1, 1, NONCE, 3.9, 'files')  # alive, and it does not get on
    master.later(210)
    master.run()

    assert master.entry().attempt == 2


# F15: a node dies for good in the middle of an update.


def test_f15_a_node_that_died_is_replaced_in_the_update_by_a_new_attempt(operated: Operated) -> None:
    master = wiped_and_dead(operated)
    orders = len(master.machine.boots)

    request = master.ask('replace', node='mn2', mac='52:54:00:00:00:99', bmc='https://192.0.2.29/', reason='burnt')

    assert (request.state, request.result) == ('done', {'update_id': 1}), request.error
    node, entry = master.node('mn2'), master.entry()
    assert (node.mac, node.bmc, node.running_digest, node.last_seen_at) == (
        '52:54:00:00:00:99', 'https://192.0.2.29/', None, None,
    )  # fmt: skip
    assert (entry.attempt, entry.step, master.update().state) == (2, 'waiting', 'INSTALL_1')
    master.run()
    assert len(master.machine.boots) == orders + 1
    assert [(g.attempt, g.revoked_at is None) for g in master.grants()] == [(1, True), (2, True)]
    assert [text for text in master.story('replace')] == ['mn2 was replaced by another machine; a new attempt begins']


def test_f15_or_the_update_ends_without_it_and_says_how_to_go_on(operated: Operated) -> None:
    master = wiped_and_dead(operated)

    request = master.ask('abort', reason='its board is burnt')
    master.run()

    assert request.state == 'done'
    with operated.database.read() as session:
        update = reading.update(session.get_one(Update, 1))
    assert (update.state, update.abort_reason) == ('FAILED_DEGRADED', 'its board is burnt')
    assert plan.next_step(update) == (
        'mn1 is the node to trust; when the cause is mended, install mn2 again with `ovca update-retry` on mn1'
    )
    assert master.node().quarantined
    assert [event.kind for event in operated.service().journal(limit=9) if event.kind == 'abort'] == ['abort']


# F18: what conducts the update sits on the node that it reboots.


def test_f18_the_new_master_goes_on_from_the_rows_and_repeats_a_step_without_doing_it_twice(on_each: Operated) -> None:
    first = Master(on_each)
    on_each.update('VERIFY_1')
    on_each.entry(1)
    final(first, 'mn2')
    first.later(130)
    first.run()
    assert (first.update().state, first.stopped) == ('PROVING', ['stopped', 'gave away, reboots'])

    def new_master(epoch: int) -> Master:
        master = Master(on_each, here='mn2', epoch=epoch, runs=NEW, version='1.1.0', order_interval=30)
        master.installed('1.1.0', NEW)
        return master

    second = new_master(4)
    second.later(700)
    second.run()
    assert (second.update().state, second.machine.boots) == ('INSTALL_2', [BootDevice.NETWORK])

    third = new_master(5)  # its service was killed, and has claimed its lease anew
    third.run()
    assert (third.machine.orders, third.entry('mn1').power_orders) == ([], 1), 'the machine is booting'
    assert [(grant.attempt, grant.epoch) for grant in third.grants()] == [(1, 4), (1, 5)]
    third.later(31)
    third.run()
    assert (third.entry('mn1').attempt, third.entry('mn1').power_orders) == (1, 2)
    third.consumed()
    final(third, 'mn1')
    third.later(130)
    third.run()
    third.later(130)
    third.run()

    assert (third.update().state, third.update().handovers) == ('DONE', 1)
