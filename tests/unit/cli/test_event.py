from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import event

from ovca.db.models import Event
from tests.operated import Operated
from tests.unit.cli.test_app import Vendor
from tests.unit.cli.test_commands import run

ALL = ['id', 'at', 'kind', 'node', 'actor', 'epoch', 'update_id', 'from_state', 'to_state', 'detail']


def happened(operated: Operated, count: int = 1, *, ago: float = 0, **facts: object) -> None:
    """The journal gets lines, some seconds ago."""
    with operated.database.write() as session:
        at = operated.database.now(session) - dt.timedelta(seconds=ago)
        values = {'at': at, 'actor': 'mn1', 'kind': 'state', 'detail': 'x', **facts}
        session.add_all(Event(**values) for _ in range(count))


@pytest.fixture
def on_each(tmp_path: Path, database_url: str) -> Operated:
    """The appliance, on both engines."""
    return Operated(tmp_path, url=database_url).started()


def test_the_newest_events_stand_last(on_each: Operated) -> None:
    for detail in ('one', 'two', 'three'):
        happened(on_each, detail=detail, epoch=3)

    rows = run(on_each, 'event-list', '--limit', '2', '-f', 'json').json

    assert [row['detail'] for row in rows] == ['two', 'three']
    assert list(rows[0]) == ALL
    assert (rows[0]['epoch'], rows[0]['at'][-1]) == (3, 'Z')
    on_each.close()


def test_a_table_has_what_one_reads_and_any_column_that_is_asked_for(operated: Operated) -> None:
    happened(operated, detail='the checks pass', node='mn1', epoch=3, from_state='REQUESTED', to_state='INSTALL_1')

    table = run(operated, 'event-list').out
    chosen = run(operated, 'event-list', '-c', 'epoch', '-c', 'actor').out

    words = table.replace('|', ' ').split()
    assert [word for word in words if word in ALL] == ['at', 'kind', 'node', 'detail']
    assert 'REQUESTED -> INSTALL_1: the checks pass' in table
    assert {'epoch', 'actor', 'mn1', '3'} <= set(chosen.replace('|', ' ').split())
    assert run(operated, 'event-list', '--sort-column', 'actor').code == 0


def test_events_are_chosen_by_node_kind_update_and_time(on_each: Operated) -> None:
    number = on_each.update()
    happened(on_each, detail='long ago', kind='alarm', node='mn2', ago=7200)
    happened(on_each, detail='an alarm', kind='alarm', node='mn1')
    happened(on_each, detail='a state', kind='state', node='mn2', update_id=number)

    def details(*argv: str) -> list[str]:
        return [row['detail'] for row in run(on_each, 'event-list', *argv, '-f', 'json').json]

    assert details('--alarms') == details('--kind', 'alarm') == ['long ago', 'an alarm']
    assert details('--node', 'mn2') == ['long ago', 'a state']
    assert details('--update', str(number)) == ['a state']
    assert details('--since', '1h') == ['an alarm', 'a state']
    assert details('--since', '1h', '--node', 'mn2') == ['a state']
    assert details('--since', '2999-01-01') == []
    on_each.close()


def test_a_node_that_nobody_knows_is_an_error_and_no_empty_journal(on_each: Operated) -> None:
    happened(on_each, node='cn9', detail='cn9 was deleted')

    typo = run(on_each, 'event-list', '--node', 'nm2')

    assert (typo.code, typo.out) == (2, '')
    assert "there is no node 'nm2', and the journal tells of none; did you mean mn2?" in typo.err
    assert '[no-node]' in typo.err
    assert [row['detail'] for row in run(on_each, 'event-list', '--node', 'cn9', '-f', 'json').json] == [
        'cn9 was deleted'
    ]
    assert run(on_each, 'event-list', '--node', 'mn2', '-f', 'json').code == 0  # configured, and never heard of
    on_each.close()


def test_a_kind_that_does_not_exist_is_an_error_and_no_empty_journal(on_each: Operated) -> None:
    happened(on_each, kind='from-newer-software')

    typo = run(on_each, 'event-list', '--kind', 'lokc')
    foreign = run(on_each, 'event-list', '--kind', 'zzz')

    assert (typo.code, typo.out) == (2, '')
    assert "there are no events of the kind 'lokc'; did you mean lock?" in typo.err
    assert 'the kinds are abort, accepted, ' in foreign.err
    assert '[no-event-kind]' in foreign.err
    assert len(run(on_each, 'event-list', '--kind', 'from-newer-software', '-f', 'json').json) == 1
    assert run(on_each, 'event-list', '--kind', 'grant-refused', '-f', 'json').code == 0
    on_each.close()


def test_a_long_journal_is_not_read_for_a_few_lines(operated: Operated) -> None:
    happened(operated, 10_000)
    fetched: list[int] = []

    def loaded(row: Event, context: object) -> None:
        fetched.append(row.id)

    event.listen(Event, 'load', loaded)
    events = operated.service().journal(limit=20)
    event.remove(Event, 'load', loaded)

    assert len(events) == 20
    assert len(fetched) == 20


def test_no_event_is_an_empty_list(operated: Operated) -> None:
    result = run(operated, 'event-list', '-f', 'json')

    assert (result.code, result.json, result.err) == (0, [], '')


def test_a_time_that_cannot_be_read_is_one_sentence(operated: Operated) -> None:
    result = run(operated, 'event-list', '--since', 'yesterday')

    assert (result.code, result.out) == (2, '')
    assert result.err == (
        "ovca: 'yesterday' is no time; write one as 2026-11-24T10:00:00Z, or how long ago as 90s, 30m, 2h or 1d12h "
        '[bad-time]\n'
    )


@pytest.mark.parametrize(
    'argv', [['event-list', '--limit'], ['update-list', '--limit'], ['update-show'], ['update-watch']]
)
@pytest.mark.parametrize('word', ['0', '-1', 'x', '99999999999999999999'])
def test_numbers_are_bounded(operated: Operated, argv: list[str], word: str) -> None:
    result = run(operated, *argv, word)

    assert (result.code, result.out) == (2, '')
    assert result.err.count('\n') == 1
    assert '[bad-number]' in result.err


def test_the_journal_of_an_update_that_never_was_is_an_error(operated: Operated) -> None:
    result = run(operated, 'event-list', '--update', '7')

    assert result.code == 2
    assert 'there is no update 7' in result.err


@pytest.mark.parametrize('argv', [['event-list', '--since', 'x'], ['event-list', '--limit', '0'], ['update-show', 'x']])
def test_in_another_application_a_wrong_value_is_the_same_sentence_and_status(
    operated: Operated, argv: list[str]
) -> None:
    vendor = Vendor('--config-file')

    code = vendor.run('--config-file', str(operated.config_file), *argv)

    ours = run(operated, *argv)
    assert (code, vendor.out.getvalue()) == (ours.code, ours.out) == (2, '')
    assert vendor.err.getvalue().partition(': ')[2] == ours.err.partition(': ')[2]
