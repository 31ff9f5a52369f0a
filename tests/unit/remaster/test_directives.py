"""Directives: what an operator has decided about an update, as the loop reads it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ovca.db.models import Update
from ovca.exceptions import Refused
from ovca.remaster import directives
from ovca.remaster.directives import Kind
from tests.operated import Operated


@pytest.fixture
def update(operated: Operated) -> int:
    return operated.started().update()


def test_a_directive_holds_until_it_is_lifted(operated: Operated, update: int) -> None:
    with operated.database.write() as session:
        row = session.get_one(Update, update)
        assert directives.give(session, row, Kind.PAUSE, 'ada', detail='lunch')

    with operated.database.write() as session:
        held = directives.given(session, update, Kind.PAUSE)
        assert held is not None
        assert (held.created_by, held.detail) == ('ada', 'lunch')
        assert [each.kind for each in directives.lift(session, session.get_one(Update, update), (Kind.PAUSE,), 'bob')]

    with operated.database.read() as session:
        assert directives.active(session, update) == []


def test_the_same_directive_is_given_once(operated: Operated, update: int) -> None:
    with operated.database.write() as session:
        row = session.get_one(Update, update)
        told = [directives.give(session, row, Kind.ACCEPT, 'ada', subject=name) for name in ('space', 'space', 'clock')]

    assert told == [True, False, True]


def test_on_the_schema_of_older_software_nothing_holds_and_nothing_is_given(operated: Operated, update: int) -> None:
    with operated.database.write() as session:
        session.execute(text('DROP TABLE directive'))

    with operated.database.read() as session:
        assert directives.active(session, update) == []
    with operated.database.write() as session, pytest.raises(Refused, match='schema of older software'):
        directives.give(session, session.get_one(Update, update), Kind.PAUSE, 'ada')
