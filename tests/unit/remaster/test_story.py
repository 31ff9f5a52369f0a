"""The story of an update, as its events tell it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ovca.db.models import Directive, Event
from ovca.remaster import story
from ovca.remaster.views import EventView
from tests.operated import Operated

AT = dt.datetime(2026, 1, 2, 3, 0, 0, tzinfo=dt.UTC)


def happened(operated: Operated, update: int, *told: tuple[float, dict[str, Any]]) -> None:
    """The journal of an update: seconds after its beginning, and what happened."""
    with operated.database.write() as session:
        for seconds, facts in told:
            values = {'update_id': update, 'node': 'mn1', 'actor': 'mn1', 'kind': 'state', 'detail': 'x', **facts}
            session.add(Event(at=AT + dt.timedelta(seconds=seconds), **values))
            session.flush()


def after(seconds: float) -> dt.datetime:
    return AT + dt.timedelta(seconds=seconds)


def lease(detail: str) -> dict[str, Any]:
    return {'update_id': None, 'kind': 'lease', 'detail': detail}


def finished(operated: Operated) -> int:
    """An update that needed two attempts on its first node."""
    number = operated.started().update(
        'DONE', created_at=AT, finished_at=AT + dt.timedelta(seconds=100), reason='both run it', handovers=1
    )
    on = {'node': 'mn2'}
    happened(
        operated,
        number,
        (0, {'to_state': 'REQUESTED', 'detail': 'asked for'}),
        (1, {'from_state': 'REQUESTED', 'to_state': 'INSTALL_1'}),
        (1, {**on, 'kind': 'grant-issued', 'detail': 'mn2 may be wiped (attempt 1)'}),
        (2, {**on, 'kind': 'power', 'detail': 'mn2: power cycle'}),
        (5, {**on, 'kind': 'power', 'detail': 'mn2: power cycle'}),
        (8, {**on, 'kind': 'grant-consumed', 'detail': 'attempt 1: mn2 is wiped'}),
        (18, {**on, 'kind': 'install-failed', 'detail': 'no space'}),
        (19, {'from_state': 'INSTALL_1', 'to_state': 'INSTALL_1', 'detail': 'attempt 2 on mn2'}),
        (19, {**on, 'kind': 'grant-issued', 'detail': 'mn2 may be wiped (attempt 2)'}),
        (20, {**on, 'kind': 'power', 'detail': 'mn2: power cycle'}),
        (22, {**on, 'kind': 'grant-consumed', 'detail': 'attempt 2: mn2 is wiped'}),
        (42, {**on, 'kind': 'written', 'detail': 'mn2 is installed'}),
        (45, {**on, 'kind': 'final', 'detail': 'mn2 proved'}),
        (50, lease('mn1 stopped acting')),
        (50, {'from_state': 'VERIFY_1', 'to_state': 'PROVING'}),
        (50, lease('mn1 handed the lease over to mn2')),
        (50.5, lease('mn2 acts as master: demoted')),
        (100, {'from_state': 'PROVING', 'to_state': 'DONE', 'detail': 'both run it'}),
    )
    return number


def test_an_update_that_waits_for_a_person_says_how_it_goes_on(operated: Operated) -> None:
    number = operated.started().update('INSTALL_1')
    with operated.database.write() as session:
        decision = Directive(update_id=number, kind='pause', subject='', detail='', created_at=AT, created_by='otto')
        session.add(decision)
    paused = operated.service().story(number).next_step
    with operated.database.write() as session:
        session.merge(decision).lifted_at = AT
    lifted = operated.service().story(number).next_step

    assert paused == 'paused by otto since 2026-01-02 03:00:00Z: continue with `ovca update-continue`'
    assert lifted == f'it goes on by itself; `ovca update-watch {number}` follows it'


def test_each_stay_and_each_step_of_an_installation_has_its_time(operated: Operated) -> None:
    number = finished(operated)

    told = operated.service().story(number)

    assert [(s.state, s.seconds) for s in told.stages] == [
        ('REQUESTED', 1), ('INSTALL_1', 18), ('INSTALL_1', 31), ('PROVING', 50), ('DONE', None),
    ]  # fmt: skip
    assert [(s.attempt, s.step, s.seconds, s.ended) for s in told.steps] == [
        (1, 'boot', 6, 'grant-consumed'),
        (1, 'install', 10, 'install-failed'),
        (2, 'boot', 2, 'grant-consumed'),
        (2, 'install', 20, 'written'),
        (2, 'proof', 3, 'final'),
    ]
    assert (told.seconds, told.resets) == (100, {'mn2': 3})


def test_the_time_in_which_nobody_acted_comes_from_the_lease(operated: Operated) -> None:
    number = finished(operated)
    happened(operated, number, (200, lease('mn1 claimed the lease; before, mn2')), (230, lease('mn1 acts as master')))

    told = operated.service().story(number)

    assert [gap.seconds for gap in told.gaps] == [0.5], 'what came after the end is not of the update'
    assert told.leaderless == 0.5
    assert 'mn1 handed the lease over to mn2' in [e.detail for e in told.events]


def test_the_time_without_a_master_begins_with_the_last_word_of_the_one_that_died() -> None:
    told = (
        (60, 'mn1 claimed the lease; before, mn2 holds epoch 2, acting, expired, renewed 9.5 s before'),
        (61, 'mn1 acts as master: mn2 was seen to be off'),
        (90, 'mn1 serves again: the lease could not be renewed, and nobody acted for 12.5 s'),
    )

    events = [EventView(i, after(at), 'mn1', 'mn1', 'lease', None, None, text) for i, (at, text) in enumerate(told)]

    gaps = story.gaps(events)

    assert gaps == [story.Gap(after(50.5), after(61), 10.5), story.Gap(after(77.5), after(90), 12.5)]


def test_what_operators_decided_is_told_with_who_and_how_long(operated: Operated) -> None:
    number = finished(operated)
    with operated.database.write() as session:
        for kind, subject, until in (('accept', 'space', None), ('pause', '', 30), ('hold-before-commit', '', None)):
            session.add(
                Directive(
                    update_id=number,
                    kind=kind,
                    subject=subject,
                    detail='as agreed',
                    created_at=AT + dt.timedelta(seconds=10),
                    created_by='otto',
                    lifted_at=until and AT + dt.timedelta(seconds=until),
                    lifted_by=until and 'emma',
                )
            )

    told = operated.service().story(number)

    assert [(a.check, a.by, a.detail) for a in told.accepted] == [('space', 'otto', 'as agreed')]
    assert [(p.kind, p.seconds, p.continued_by) for p in told.pauses] == [
        ('pause', 20, 'emma'),
        ('hold-before-commit', 90, None),
    ]


def test_a_report_ends_with_the_update_whatever_happened_since(operated: Operated) -> None:
    number = finished(operated)
    before = story.upto_end(operated.service().story(number))
    happened(
        operated,
        number,
        (130, {'kind': 'component', 'detail': 'hmp is in force'}),
        (140, lease('mn1 stopped acting')),
        (150, {'kind': 'report', 'detail': 'the report is there'}),
    )

    after = operated.service().story(number)

    assert story.upto_end(after).as_dict() == before.as_dict()
    assert (before.report, after.report) == (None, 'the report is there')


def test_an_update_without_events_has_a_story_too(operated: Operated) -> None:
    number = operated.started().update()

    told = operated.service().story(number)

    assert (told.stages, told.steps, told.gaps, told.events) == ((), (), (), ())


def test_a_step_that_is_not_over_has_no_time() -> None:
    event = EventView(1, AT, 'mn2', 'mn1', 'grant-consumed', None, None, 'attempt 3: mn2 is wiped')

    (step,) = story._steps([event])

    assert (step.attempt, step.step, step.seconds, step.ended) == (3, 'install', None, None)
