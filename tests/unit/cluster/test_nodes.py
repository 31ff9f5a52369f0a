from __future__ import annotations

from dataclasses import replace

import pytest

from ovca import conf as configuration
from ovca.cluster.lease import is_off
from ovca.cluster.nodes import NodeRow, Pulse, mac_of, power_of
from ovca.db import events
from ovca.db.engine import Database
from ovca.db.models import Node
from ovca.exceptions import ConfigError, DatabaseUnavailable

PULSE = Pulse(epoch=3, role='standby', health='healthy', problems={}, ready=True)
BASE = ['cluster.node_name=mn2', 'power.driver=fake']


def row(database: Database, name: str = 'mn2') -> Node:
    with database.read() as session:
        return session.get_one(Node, name)


def node(database: Database, *options: str) -> NodeRow:
    return NodeRow(configuration.load(overrides=[*BASE, *options]), database, incarnation='run', boot_id='boot')


def test_a_start_keeps_what_an_operator_has_set(database: Database) -> None:
    with database.write() as session:
        session.add(Node(name='mn2', kind='management', bmc='https://bmc2', mac='52:54:00:00:00:02'))

    node(database).register('1.0.0', 'a')

    assert (row(database).bmc, row(database).mac) == ('https://bmc2', '52:54:00:00:00:02')
    assert row(database).running_version == '1.0.0'


@pytest.mark.parametrize(
    ('address', 'url'), [('192.0.2.12', 'http://192.0.2.12:6640'), ('fd00::12', 'http://[fd00::12]:6640')]
)
def test_a_start_tells_where_the_node_is_reached(database: Database, address: str, url: str) -> None:
    node(database, f'cluster.address={address}').register('1', 'a')

    assert row(database).address == url


def test_a_start_tells_what_the_configuration_names_without_its_secrets(database: Database) -> None:
    with database.write() as session:
        session.add(Node(name='mn2', kind='management', bmc='https://old', mac='52:54:00:00:00:09'))

    node(database, 'power.bmc=mn2:https://me:geheim@bmc2/x', 'provision.mac=mn2:52-54-00-00-00-AB').register('1', 'a')

    assert (row(database).bmc, row(database).mac) == ('https://bmc2/x', '52:54:00:00:00:ab')


def test_a_machine_that_stands_in_for_another_is_not_taken_for_it_because_of_an_old_configuration(
    database: Database,
) -> None:
    with database.write() as session:
        session.add(Node(name='mn2', kind='management', bmc='https://new', mac=None))
        events.append(session, kind=events.MACHINE, node='mn2', detail='mn2 is another machine', actor='otto')

    node(database, 'power.bmc=mn2:https://old', 'provision.mac=mn2:52-54-00-00-00-AB').register('1', 'a')

    # What an operator has said stays; what nobody has said is better known by the configuration than not at all.
    assert (row(database).bmc, row(database).mac) == ('https://new', '52:54:00:00:00:ab')


def test_a_node_that_was_deleted_while_it_could_not_be_heard_comes_back(database: Database) -> None:
    own = node(database)
    own.register('1.0.0', 'a')
    with database.write() as session:
        session.delete(session.get_one(Node, 'mn2'))

    own.beat(lambda session: PULSE)

    found = row(database)
    assert (found.running_version, found.health, found.ready, found.boot_id) == ('1.0.0', 'healthy', True, 'boot')


def test_another_run_of_the_service_is_not_overwritten(database: Database) -> None:
    node(database).register('1.0.0', 'a')
    late = NodeRow(configuration.load(overrides=BASE), database, incarnation='an older run', boot_id='boot')

    late.beat(lambda session: PULSE)

    assert (row(database).health, row(database).incarnation) == ('unknown', 'run')


def test_a_node_that_was_taken_for_off_when_it_was_up_again_says_that_it_is_well(database: Database) -> None:
    """Who takes over may stand still between seeing the other node off and writing that down."""
    up = node(database)
    up.register('1.0.0', 'a')
    up.beat(lambda session: PULSE)
    with database.write() as session:
        is_off(session, 'mn2')

    up.beat(lambda session: PULSE)

    again = row(database)
    assert (again.health, again.ready, again.healthy_since) == ('healthy', True, again.last_seen_at)


@pytest.mark.parametrize('health', ['healthy', 'unhealthy'])
def test_a_break_that_could_not_be_written_ends_the_time_in_which_the_node_was_well_or_ill(
    database: Database, health: str
) -> None:
    own, now = node(database), replace(PULSE, health=health)
    own.register('1.0.0', 'a')
    own.beat(lambda session: now)
    before = row(database)
    own.beat(lambda session: now)
    same = row(database)

    own.beat(lambda session: replace(now, breaks=1))  # what it was meanwhile, no database has heard

    after = row(database)
    assert (same.healthy_since, same.unhealthy_since) == (before.healthy_since, before.unhealthy_since)
    since = [each.healthy_since or each.unhealthy_since for each in (before, after)]
    assert None not in since and since[1] > since[0]


def test_the_bmc_in_the_configuration_wins_over_the_one_in_the_database(database: Database) -> None:
    with database.write() as session:
        session.add(Node(name='mn2', kind='management', bmc='https://stored'))

    stored = power_of(configuration.load(overrides=BASE), database, 'mn2')
    both = power_of(configuration.load(overrides=[*BASE, 'power.bmc=mn2:https://named']), database, 'mn2')

    assert (stored.bmc.address, both.bmc.address) == ('https://stored', 'https://named')


def test_a_node_without_a_bmc_is_an_error_that_names_both_ways_to_give_one(database: Database) -> None:
    with pytest.raises(ConfigError, match=r'\[power\] bmc, or set it with `ovca node-set mn7') as caught:
        power_of(configuration.load(overrides=BASE), database, 'mn7')

    assert caught.value.id == 'no-bmc'


@pytest.mark.extra('postgresql')
def test_the_database_is_not_needed_for_a_bmc_that_is_configured() -> None:
    away = Database('postgresql://ovca@127.0.0.1:9/none', connect_timeout=2)
    configured = configuration.load(overrides=[*BASE, 'power.bmc=mn1:https://named'])

    assert power_of(configured, away, 'mn1').bmc.address == 'https://named'
    with pytest.raises(DatabaseUnavailable):
        power_of(configured, away, 'mn2')


def test_the_card_in_the_configuration_wins_over_the_one_in_the_database() -> None:
    stored = Node(name='mn2', mac='52:54:00:00:00:02')

    assert mac_of(configuration.load(overrides=BASE), stored) == '52:54:00:00:00:02'
    assert mac_of(configuration.load(overrides=['provision.mac=mn2:52-54-00-00-00-AB']), stored) == '52:54:00:00:00:ab'
    assert mac_of(configuration.load(overrides=BASE), Node(name='mn7')) == ''
