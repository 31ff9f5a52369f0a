"""When the appliance runs on one node: since when and why, on both nodes, and nothing when it does not."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select

from ovca.db import events
from ovca.db.models import Event, Lease, Node, Update
from ovca.remaster.alone import Alone
from tests.operated import Operated


def stamp(moment: dt.datetime | None) -> str:
    assert moment is not None
    return f'{moment:%Y-%m-%dT%H:%M:%SZ}'


def change(operated: Operated, name: str = 'mn2', **facts: object) -> Node:
    with operated.database.write() as session:
        node = session.get_one(Node, name)
        for field, value in facts.items():
            setattr(node, field, value)
    return node


def ago(operated: Operated, seconds: float) -> dt.datetime:
    with operated.database.read() as session:
        return operated.database.now(session) - dt.timedelta(seconds=seconds)


def seen(operated: Operated) -> Alone:
    found = operated.service().alone()
    assert found is not None
    return found


@pytest.mark.parametrize('here', ['mn1', 'mn2'])
def test_a_node_that_is_silent_is_missed_since_it_was_last_seen(operated: Operated, here: str) -> None:
    operated.started()
    before = operated.service().alone()
    moment = ago(operated, 600)
    change(operated, last_seen_at=moment)
    operated.configure(here)

    found = seen(operated)

    assert before is None
    assert (found.node, found.missing, found.since) == ('mn1', 'mn2', moment)
    assert str(found) == f'running on one node, mn1, since {stamp(moment)}: mn2 was last seen then'


def test_a_node_that_was_seen_before_the_databases_clock_was_put_back_is_missed(operated: Operated) -> None:
    operated.started()
    change(operated, last_seen_at=ago(operated, -3600))

    found = seen(operated)

    assert str(found) == ('running on one node, mn1: mn2 was last seen before the clock of the database was put back')


def test_a_node_that_is_unhealthy_could_not_take_over(operated: Operated) -> None:
    operated.started()
    moment = ago(operated, 60)
    change(operated, health='unhealthy', unhealthy_since=moment, health_detail={'peer-bmc': 'no answer within 10 s'})

    found = seen(operated)

    assert (found.since, found.why) == (moment, 'mn2 is unhealthy (peer-bmc: no answer within 10 s)')


def test_a_node_that_is_quarantined_is_missed_since_the_end_of_the_update(operated: Operated) -> None:
    operated.started()
    number = operated.update('FAILED_ROLLED_BACK')
    change(operated, quarantined=True, quarantine_reason=f'update {number}: the old node leads')

    found = seen(operated)

    assert found.since == operated.service().update(number).finished_at
    assert (found.why, found.update_id) == (f'mn2 is quarantined (update {number}: the old node leads)', None)


def test_an_update_that_ended_later_does_not_make_a_quarantine_younger(operated: Operated) -> None:
    operated.started()
    number, moment = operated.update('FAILED_ROLLED_BACK'), ago(operated, 7200)
    with operated.database.write() as session:
        session.get_one(Update, number).finished_at = moment
    change(operated, quarantined=True, quarantine_reason=f'update {number}: the old node leads')
    operated.update('ABORTED')

    assert seen(operated).since == moment


def test_a_machine_that_took_a_dead_ones_place_is_missed_since_then(operated: Operated) -> None:
    operated.started()
    operated.update('DONE')
    moment = ago(operated, 60)
    with operated.database.write() as session:
        events.append(session, kind='node', node='mn2', detail='mn2 was replaced by another machine', actor='otto')
    with operated.database.write() as session:
        session.scalars(select(Event).where(Event.kind == 'node')).one().at = moment
    change(operated, quarantined=True, quarantine_reason='replaced by otto; it is not installed yet')

    assert seen(operated).since == moment


def test_of_several_causes_the_first_counts_for_the_time(operated: Operated) -> None:
    operated.started()
    moment = ago(operated, 600)
    operated.update('FAILED_ROLLED_BACK')
    change(operated, quarantined=True, quarantine_reason='it failed', last_seen_at=moment)

    found = seen(operated)

    assert (found.since, found.why) == (moment, 'mn2 is quarantined (it failed)')


def test_a_node_that_is_being_installed_is_away_for_an_update(operated: Operated) -> None:
    operated.started()
    number = operated.update('INSTALL_1')
    operated.wiped(number)

    found = seen(operated)

    assert (found.update_id, found.why) == (number, f'mn2 was wiped and is not back yet; update {number} is open')


@pytest.mark.parametrize(
    ('facts', 'why'), [({'last_seen_at': None}, 'was never seen'), ({'health': 'unknown'}, 'has just started')]
)
def test_what_has_no_beginning_has_none(operated: Operated, facts: dict[str, object], why: str) -> None:
    operated.started()
    change(operated, **facts)

    assert str(seen(operated)) == f'running on one node, mn1: mn2 {why}'


def test_after_a_take_over_it_is_the_former_master_that_is_missing(operated: Operated) -> None:
    operated.started(holder='mn2')
    change(operated, 'mn1', last_seen_at=ago(operated, 600))

    assert (seen(operated).node, seen(operated).missing) == ('mn2', 'mn1')


def test_where_nobody_serves_nobody_is_alone(operated: Operated) -> None:
    operated.started()
    operated.silent(600)
    silent = operated.service().alone()
    with operated.database.write() as session:
        lease = session.scalars(select(Lease)).one()
        lease.renewed_at, lease.acting = operated.database.now(session), False
    claiming = operated.service().alone()

    assert (silent, claiming) == (None, None)


def test_an_appliance_that_has_one_node_by_configuration_is_not_alone(operated: Operated) -> None:
    operated.started()
    change(operated, last_seen_at=None)
    operated.config_file.write_text(operated.config_file.read_text().replace('peer = mn2\n', ''))

    assert operated.service().alone() is None
