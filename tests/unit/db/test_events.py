from __future__ import annotations

from sqlalchemy import select

from ovca.db import events
from ovca.db.engine import Database
from ovca.db.models import Event


def test_an_event_has_the_time_of_the_database_and_all_it_was_given(database: Database) -> None:
    with database.write() as session:
        before = database.now(session)
        events.append(
            session,
            kind='state',
            detail='the standby is installed first',
            update_id=1,
            node='mn2',
            from_state='REQUESTED',
            to_state='INSTALL_1',
            epoch=3,
            actor='mn1',
        )

    with database.read() as session:
        event = session.scalars(select(Event)).one()

    assert before <= event.at
    assert (event.kind, event.update_id, event.node, event.actor) == ('state', 1, 'mn2', 'mn1')
    assert (event.from_state, event.to_state, event.epoch) == ('REQUESTED', 'INSTALL_1', 3)


def test_an_event_is_kept_only_if_the_change_is(database: Database) -> None:
    try:
        with database.write() as session:
            events.append(session, kind='state', detail='it never happened')
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass

    with database.read() as session:
        assert session.scalars(select(Event)).all() == []


def test_what_no_database_takes_is_told_escaped_and_found_again(database: Database) -> None:
    told, who = 'reading caf\udce9 failed: \0 \N{SNOWMAN}', 'otto\udce9' * 60
    with database.write() as session:
        events.append(session, kind='alarm', detail=told, actor=who)

    with database.read() as session:
        event = session.scalars(select(Event).where(Event.detail == told)).one()

    assert event.detail == 'reading caf\\udce9 failed: \\x00 \N{SNOWMAN}'
    assert event.actor == ('otto\\udce9' * 60)[:255]
