"""Warnings of checks, as the acting master's service takes them."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from ovca.db.models import Directive, Event, Update
from ovca.exceptions import Refused
from ovca.remaster import acceptance, checks
from ovca.remaster.checks import CheckResult, Result
from tests.mastered import Master
from tests.operated import OLD, Operated
from tests.unit.daemon.conftest import Clerk

WARNINGS = [
    CheckResult('backup', Result.WARNING, 'there is no backup', 'make one'),
    CheckResult('clocks', Result.WARNING, 'the clock of mn2 is 20 s ahead', 'see to it'),
]
ALL = frozenset({'backup', 'clocks'})


@pytest.fixture
def warned(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> Operated:
    """An appliance with an image, of which two checks warn."""
    monkeypatch.setattr(checks, 'run_all', lambda *args, **kwargs: list(WARNINGS))
    return operated.image()


def accepted(operated: Operated) -> list[tuple[str, str, str]]:
    with operated.database.read() as session:
        return [(row.subject, row.created_by, row.detail) for row in session.scalars(select(Directive))]


def journal(operated: Operated, kind: str) -> list[tuple[str, str]]:
    with operated.database.read() as session:
        return [
            (e.actor, e.detail) for e in session.scalars(select(Event).where(Event.kind == kind).order_by(Event.id))
        ]


def test_a_warning_that_nobody_accepted_opens_no_update(warned: Operated, clerk: Clerk) -> None:
    number = warned.service().submit('activate', version='1.1.0', accept=['clocks'])

    one = clerk()
    one.step()
    one.join(20)

    with pytest.raises(Refused, match=r'backup: there is no backup; .* add --accept backup$') as caught:
        warned.service().wait(number)
    assert caught.value.id == 'warning-not-accepted'
    assert warned.service().updates() == []


def test_accepted_warnings_are_kept_with_the_update_and_told_by_whom(warned: Operated, clerk: Clerk) -> None:
    number = warned.service().submit('activate', version='1.1.0', accept=['clocks', 'backup', 'another'])

    one = clerk()
    one.step()
    one.join(20)

    assert warned.service().wait(number).result is not None
    assert accepted(warned) == [
        ('backup', 'otto', 'there is no backup'),
        ('clocks', 'otto', 'the clock of mn2 is 20 s ahead'),
    ]
    assert journal(warned, 'accepted')[0] == ('otto', 'otto accepts the warning of check backup: there is no backup')


def test_a_retry_wants_its_warnings_accepted_too(warned: Operated, clerk: Clerk) -> None:
    warned.update('FAILED_DEGRADED')
    refused = warned.service().submit('retry', update_id=1)
    one = clerk()
    one.step()
    one.join(20)
    with pytest.raises(Refused, match='--accept backup --accept clocks'):
        warned.service().wait(refused)

    warned.service().submit('retry', update_id=1, accept=sorted(ALL))
    one.step()
    one.join(20)

    assert [update.id for update in warned.service().updates()] == [2, 1]
    assert len(accepted(warned)) == 2


@pytest.mark.parametrize('kind', ['reinstall', 'replace'])
def test_the_installation_of_one_node_wants_its_warnings_accepted_too_and_keeps_them(
    operated: Operated, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(checks, 'run_all', lambda *args, **kwargs: list(WARNINGS))
    master = Master(operated.image('1.0.0', OLD))
    master.whole('1.0.0', OLD)
    if kind == 'replace':
        master.alive = {'mn1'}
        master.later(60)

    refused = master.ask(kind, node='mn2', accept=['clocks'])
    assert (refused.state, refused.result) == ('failed', {'error_id': 'warning-not-accepted'})
    assert str(refused.error).endswith('add --accept backup')
    assert operated.service().updates() == []

    begun = master.ask(kind, node='mn2', accept=sorted(ALL))
    assert (begun.state, begun.result) == ('done', {'update_id': 1}), begun.error
    assert [subject for subject, *_ in accepted(operated) if subject in ALL] == ['backup', 'clocks']
    assert journal(operated, 'accepted')[0] == ('otto', 'otto accepts the warning of check backup: there is no backup')


def test_on_the_schema_before_the_journal_keeps_them(warned: Operated, clerk: Clerk) -> None:
    with warned.database.write() as session:
        session.execute(text('DROP TABLE directive'))
    number = warned.service().submit('activate', version='1.1.0', accept=sorted(ALL))

    one = clerk()
    one.step()
    one.join(20)

    assert warned.service().wait(number).result is not None
    assert [detail for _, detail in journal(warned, 'accepted')] == [
        'otto accepts the warning of check backup: there is no backup',
        'otto accepts the warning of check clocks: the clock of mn2 is 20 s ahead',
    ]


def test_a_warning_that_comes_later_is_told_and_an_accepted_one_is_not_told_again(warned: Operated) -> None:
    number = warned.update()
    with warned.database.write() as session:
        update = session.get_one(Update, number)
        acceptance.keep(session, update, WARNINGS[:1], 'otto', node='mn1', epoch=3)

        acceptance.tell(session, update, list(WARNINGS), node='mn1', epoch=3)

    assert [detail for _, detail in journal(warned, 'warning')] == ['check clocks: the clock of mn2 is 20 s ahead']
