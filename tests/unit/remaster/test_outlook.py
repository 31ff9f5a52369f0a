"""What comes next in an update, and how long it is likely to take."""

from __future__ import annotations

import datetime as dt

import pytest

from ovca.backup.aftermath import RESTORED
from ovca.db.models import Directive, Event, Image, Update
from ovca.remaster import outlook, protocol
from ovca.remaster.outlook import Expectation
from ovca.remaster.protocol import ENDED, State
from ovca.remaster.views import Snapshot
from tests.operated import Operated

AT = dt.datetime(2026, 1, 2, 3, 0, 0, tzinfo=dt.UTC)
OPEN = sorted(set(State) - ENDED)


def decided(operated: Operated, update: int, kind: str) -> Snapshot:
    """The update after an operator has decided something about it."""
    with operated.database.write() as session:
        session.add(Directive(update_id=update, kind=kind, subject='', created_at=AT, created_by='otto'))
    return operated.service().snapshot(update)


def ended(operated: Operated, *seconds: float, state: str = 'DONE') -> int:
    """An earlier update that stayed for so long in each of its states."""
    number = operated.update(state)
    path = [*outlook.PATH, State(state)]
    with operated.database.write() as session:
        for i, to in enumerate(path):
            at = AT + dt.timedelta(seconds=sum(seconds[:i]))
            session.add(Event(update_id=number, at=at, actor='mn1', kind='state', to_state=to.value, detail='x'))
            session.flush()
    return number


@pytest.mark.parametrize('state', OPEN)
def test_each_state_has_a_next_step_that_the_table_knows(operated: Operated, state: State) -> None:
    number = operated.started().update(state.value)
    to, _ = outlook.WAYS[state]

    words = outlook.next_step(operated.service().snapshot(number))

    assert 'mn1' in words or 'mn2' in words
    rules = [rule for rule in protocol.RULES if state in rule.states]
    assert to in {rule.decision.to for rule in rules}, f'no rule leads from {state} to {to}'


@pytest.mark.parametrize('state', sorted(ENDED))
def test_at_the_end_it_says_what_an_operator_does(operated: Operated, state: State) -> None:
    number = operated.started().update(state.value)
    seen = operated.service().snapshot(number)

    assert outlook.next_step(seen)
    assert (outlook.halted(seen), outlook.safe_to_close(seen)) == (None, '')


@pytest.mark.parametrize(
    ('rule', 'serves', 'away'),
    [('rollback-late', 'mn2', 'mn1'), ('first-leads-late', 'mn2', 'mn1'), ('second-leads-late', 'mn1', 'mn2')],
)
def test_when_the_node_to_trust_did_not_come_back_the_one_that_serves_is_named(
    operated: Operated, rule: str, serves: str, away: str
) -> None:
    found = next(each for each in protocol.RULES if each.id == rule)
    assert found.decision.to is not None
    number = operated.started().update(found.decision.to.value, reason=f'{found.when}; and why')

    words = outlook.next_step(operated.service().snapshot(number))

    assert f'{serves} serves alone, as {away} is not back' in words
    assert f'`ovca node-replace {away}` on {serves}' in words


def test_an_update_that_a_restore_ended_is_begun_again_when_both_nodes_run_one_version(operated: Operated) -> None:
    number = operated.started().update('ABORTED', reason=RESTORED)

    words = outlook.next_step(operated.service().snapshot(number))

    assert '`ovca node-reinstall`' in words
    assert words.endswith('`ovca activate 1.1.0`')


def test_a_paused_update_says_by_whom_since_when_and_how_it_goes_on(operated: Operated) -> None:
    number = operated.started().update('VERIFY_1')

    seen = decided(operated, number, 'pause')

    wanted = 'paused by otto since 2026-01-02 03:00:00Z: continue with `ovca update-continue`'
    assert (outlook.halted(seen), outlook.next_step(seen)) == (wanted, wanted)


def test_a_hold_counts_at_the_commit_point_and_is_announced_before_it(operated: Operated) -> None:
    number = operated.started().update('VERIFY_1')

    before = decided(operated, number, 'hold-before-commit')
    operated.move(number, 'PROVING', 'x')
    there = operated.service().snapshot(number)
    operated.move(number, 'INSTALL_2', 'x')
    after = operated.service().snapshot(number)

    assert outlook.halted(before) is None
    assert outlook.next_step(before).endswith('it stops before the commit point, as otto asked')
    assert outlook.next_step(there).startswith('paused before the commit point by otto since 2026-01-02')
    assert outlook.halted(after) is None


@pytest.mark.parametrize('kind', ['pause', 'hold-before-commit'])
def test_neither_a_roll_back_nor_an_abort_waits_for_who_has_paused_the_update(operated: Operated, kind: str) -> None:
    number = operated.started().update('VERIFY_1')
    decided(operated, number, kind)
    with operated.database.write() as session:
        session.get_one(Update, number).abort_requested_at = AT
    aborted = operated.service().snapshot(number)
    operated.move(number, 'ROLLBACK', 'x')
    with operated.database.write() as session:
        session.get_one(Update, number).abort_requested_at = None
    back = operated.service().snapshot(number)

    assert (outlook.halted(aborted), outlook.halted(back)) == (None, None)
    assert outlook.next_step(aborted).startswith('the abort is carried out: ')
    assert outlook.next_step(back) == 'mn1 takes over again with 1.0.0'


def test_a_pause_that_was_lifted_is_none(operated: Operated) -> None:
    number = operated.started().update('VERIFY_1')
    decided(operated, number, 'pause')
    with operated.database.write() as session:
        session.get_one(Directive, 1).lifted_at = AT

    assert outlook.halted(operated.service().snapshot(number)) is None


def test_an_abort_says_where_it_lands(operated: Operated) -> None:
    number = operated.started().update('INSTALL_1', abort_requested_at=AT)
    operated.entry(number, step='installing')

    assert 'FAILED_DEGRADED' in outlook.next_step(operated.service().snapshot(number))


def test_earlier_updates_tell_how_long_each_state_takes(operated: Operated) -> None:
    operated.started()
    ended(operated, 1, 100, 10, 20, 100, 10)
    ended(operated, 1, 9, 9, 9, 9, 9, state='FAILED_DEGRADED')
    ended(operated, 3, 300, 10, 20, 100, 10)
    ended(operated, 2, 200, 10, 20, 100, 10)
    number = operated.update('INSTALL_1', created_at=AT, state_since=AT)

    found = operated.service().expectation(number)

    assert (found.of(State.INSTALL_1), found.total, found.source) == (200, 342, 'the last 3 updates')
    update = operated.service().update(number)
    assert found.left(update, AT + dt.timedelta(seconds=50)) == 150 + 140
    assert found.left(update, AT + dt.timedelta(seconds=900)) == 140, 'a state that takes longer is as good as over'


def test_without_earlier_updates_the_manifest_tells_it_or_nothing_is_said(operated: Operated) -> None:
    number = operated.started().image().update('INSTALL_1', created_at=AT)
    service = operated.service()
    assert service.expectation(number) == Expectation()
    with operated.database.write() as session:
        image = session.get_one(Image, '1.1.0')
        image.manifest = {**image.manifest, 'expected_seconds': 900}

    found = service.expectation(number)

    assert (found.total, found.source) == (900, "the image's manifest")
    assert found.left(service.update(number), AT + dt.timedelta(seconds=100)) == 800


@pytest.mark.parametrize('value', ['soon', True, -1, 0, None])
def test_an_estimate_that_is_none_is_passed_over(operated: Operated, value: object) -> None:
    number = operated.started().image().update('INSTALL_1')
    with operated.database.write() as session:
        image = session.get_one(Image, '1.1.0')
        image.manifest = {**image.manifest, 'expected_seconds': value}

    assert operated.service().expectation(number) == Expectation()


def test_the_installation_of_one_node_alone_has_a_shorter_way_too(operated: Operated) -> None:
    operated.started()
    ended(operated, 1, 100, 10, 20, 100, 10)
    number = operated.update('INSTALL_2', created_at=AT, proven_at=AT)
    update = operated.service().update(number)

    assert update.reinstalls
    assert outlook.position(update) == '2 of 3'
    assert operated.service().expectation(number).total == 1 + 100 + 10


def test_a_retry_of_the_second_node_has_a_shorter_way(operated: Operated) -> None:
    first = operated.started().update('FAILED_FORWARD')
    number = operated.update('INSTALL_2', retry_of=first, proven_at=AT)
    expected = Expectation({s.value: 10.0 for s in outlook.PATH}, 60.0, 'x')
    update = operated.service().update(number)

    assert outlook.position(update) == '2 of 3'
    assert expected.left(update, update.state_since) == 20
