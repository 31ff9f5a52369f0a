from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ovca.db import events
from ovca.db.models import Lease, Update
from ovca.exceptions import (
    DatabaseUnavailable,
    FetchError,
    NotMaster,
    OvcaError,
    Refused,
    ServiceUnavailable,
    UsageError,
)
from ovca.remaster.plan import next_step
from ovca.remaster.protocol import State
from ovca.remaster.views import Snapshot
from tests.operated import Operated


def test_before_the_service_ever_ran_nobody_is_master(operated: Operated) -> None:
    facts = operated.service().master()

    assert (facts.holder, facts.is_here, facts.expired) == (None, False, True)


def test_the_master_is_known_on_both_nodes(operated: Operated) -> None:
    operated.started()

    on_master = operated.service().master()
    operated.configure('mn2')
    on_standby = operated.service().master()

    assert (on_master.holder, on_master.epoch, on_master.is_here) == ('mn1', 3, True)
    assert (on_standby.holder, on_standby.is_here, on_standby.expired) == ('mn1', False, False)


def test_a_node_that_is_not_heard_of_is_silent_and_not_healthy(operated: Operated) -> None:
    operated.started()
    assert [(n.name, n.role, n.health) for n in operated.service().nodes()] == [
        ('mn1', 'master', 'healthy'),
        ('mn2', 'standby', 'healthy'),
    ]

    operated.silent(60)

    assert [(n.name, n.role, n.health, n.ready) for n in operated.service().nodes()] == [
        ('mn1', 'claiming', 'silent', False),
        ('mn2', '-', 'silent', False),
    ]


def test_a_node_that_was_seen_before_the_databases_clock_was_put_back_is_silent_until_it_is_seen_again(
    operated: Operated,
) -> None:
    operated.started()
    operated.silent(-3600)
    service = operated.service()

    assert [(n.name, n.role, n.health, n.ready) for n in service.nodes()] == [
        ('mn1', 'claiming', 'silent', False),
        ('mn2', '-', 'silent', False),
    ]
    with pytest.raises(ServiceUnavailable, match='has not renewed its lease since the clock of the database was put b'):
        service.must_lead()
    assert service.deletable('mn2').name == 'mn2'


def test_what_a_wiped_node_said_before_is_not_believed(operated: Operated) -> None:
    operated.started()
    operated.wiped(operated.update('INSTALL_1'), 'mn2')

    node = operated.service().node('mn2')

    assert (node.role, node.version, node.health, node.ready) == ('-', None, 'wiped', False)


def test_no_uri_is_shown_with_its_secrets(operated: Operated) -> None:
    service = operated.started().image().service()

    assert service.image('1.1.0').source == 'https://example.com/x.zip'
    assert service.node('mn1').bmc == 'http://127.0.0.9/redfish/v1/Systems/1'


def test_what_is_not_there_is_named_with_what_is(operated: Operated) -> None:
    service = operated.started().image().service()

    with pytest.raises(UsageError, match='mn1, mn2'):
        service.node('mn7')
    with pytest.raises(UsageError, match=r'1\.1\.0'):
        service.image('9.9')
    with pytest.raises(UsageError, match='no update yet'):
        service.update()
    with pytest.raises(UsageError, match='update-list'):
        service.update(7)


def test_a_request_says_who_asked_for_what(operated: Operated) -> None:
    service = operated.started().service()

    number = service.submit('download', uri='https://example.com/x.zip', version=None)

    (row,) = operated.requests()
    assert (row.id, row.kind, row.args, row.state) == (
        number,
        'download',
        {'uri': 'https://example.com/x.zip'},
        'open',
    )
    assert row.created_by == 'otto'


def test_the_same_request_is_not_written_twice_while_it_waits(operated: Operated) -> None:
    service = operated.started().service()
    first = service.submit('download', uri='x')

    again, other = service.submit('download', uri='x'), service.submit('download', uri='y')

    assert again == first
    assert other != first
    operated.finish(first, {'version': '1.1.0'})
    assert service.submit('download', uri='x') not in (first, other)


def test_the_standby_takes_no_request_and_names_the_master(operated: Operated) -> None:
    operated.started()
    operated.configure('mn2')

    with pytest.raises(NotMaster, match='mn2, is not the master; run the command on mn1') as caught:
        operated.service().submit('activate', version='1.1.0')

    assert caught.value.exit_code == 7
    assert operated.requests() == []


def test_a_request_needs_a_service_that_lives(operated: Operated) -> None:
    with pytest.raises(NotMaster, match='no node is master yet'):
        operated.service().submit('activate', version='1.1.0')

    operated.started().silent(60)

    with pytest.raises(ServiceUnavailable, match=r'has not renewed its lease for \d\d s'):
        operated.service().submit('activate', version='1.1.0')


def test_the_service_is_woken_by_a_request(operated: Operated) -> None:
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        operated.started(address=f'http://127.0.0.1:{server.server_port}')

        operated.service().submit('activate', version='1.1.0')
        thread.join(10)

    assert paths == ['/v1/wake']


def test_a_service_that_cannot_be_woken_gets_the_request_all_the_same(operated: Operated) -> None:
    operated.started(address='http://127.0.0.1:9')

    assert operated.service().submit('activate', version='1.1.0') == operated.requests()[0].id


def test_waiting_tells_the_progress_and_returns_the_result(operated: Operated) -> None:
    operated.started()
    reports: list[dict[str, Any]] = []
    ends = iter(
        [
            lambda: operated.progress(1, stage='download', done=5, total=10, text='x'),
            lambda: None,
            lambda: operated.finish(1, {'version': '1.1.0', 'digest': 'b'}),
        ]
    )
    service = operated.service(sleep=lambda seconds: next(ends)())
    number = service.submit('download', uri='x')

    done = service.wait(number, reports.append)

    assert reports == [{'stage': 'download', 'done': 5, 'total': 10, 'text': 'x'}]
    assert done.result == {'version': '1.1.0', 'digest': 'b'}


def test_a_failed_request_fails_here_as_it_did_on_the_master(operated: Operated) -> None:
    service = operated.started().service()
    number = service.submit('download', uri='x')
    operated.finish(number, FetchError('example.com does not answer'))

    with pytest.raises(FetchError, match=r'example\.com does not answer') as caught:
        service.wait(number)

    assert caught.value.exit_code == 5


def test_an_error_of_no_class_stays_one(operated: Operated) -> None:
    service = operated.started().service()
    number = service.submit('download', uri='x')
    operated.finish(number, ValueError('a mistake'))

    with pytest.raises(OvcaError, match='a mistake'):
        service.wait(number)


def test_a_request_that_nobody_takes_is_worth_a_word(operated: Operated) -> None:
    operated.started()
    times, notices = [0.0], []

    def sleep(seconds: float) -> None:
        times[0] += 3
        if times[0] > 20:
            operated.finish(1, {})

    service = operated.service(sleep=sleep, clock=lambda: times[0])
    service.wait(service.submit('activate', version='1.1.0'), on_notice=notices.append)

    assert notices == ['request 1 waits for the service of the acting master; see `ovca master-show`']


@pytest.mark.parametrize(
    ('alarm', 'why'),
    [
        (
            'no take-over: the BMC of mn2 is dead [bmc-silent]',
            'no take-over: the BMC of mn2 is dead [bmc-silent]; mend',
        ),
        (None, 'has not taken over; if it stays so, see `ovca master-claim --force`'),
    ],
)
def test_a_request_that_waits_while_nobody_acts_says_so_and_what_to_do(
    operated: Operated, alarm: str | None, why: str
) -> None:
    operated.started()
    with operated.database.write() as session:
        session.scalars(select(Lease)).one().acting = False
        events.append(session, kind='alarm', detail='no take-over: of another time', node='mn1', epoch=2)
        if alarm:
            events.append(session, kind='alarm', detail=alarm, node='mn1', epoch=3)
    times, notices = [0.0], list[str]()

    def sleep(seconds: float) -> None:
        times[0] += 3
        if times[0] > 30:
            operated.finish(1, {})

    service = operated.service(sleep=sleep, clock=lambda: times[0])
    service.wait(service.submit('node-set', node='mn2'), on_notice=notices.append)

    assert len(notices) == 1, notices
    assert notices[0].startswith('request 1 waits for somebody to act: mn1 holds the lease, and has not taken over; ')
    assert why in notices[0]
    assert '`ovca master-claim --force` on mn1' in notices[0]


def test_a_request_that_waits_for_another_names_it(operated: Operated) -> None:
    service, notices, times = operated.started().service(), list[str](), [0.0]
    service.submit('download', uri='x')
    operated.progress(1, stage='download', done=1, total=9)
    number = service.submit('image-delete', versions=['1.1.0'])

    def sleep(seconds: float) -> None:
        times[0] += 3
        if times[0] > 20:
            operated.finish(number, {})

    operated.service(sleep=sleep, clock=lambda: times[0]).wait(number, on_notice=notices.append)

    assert notices == ['request 2 waits for the end of request 1 (download)']


def test_waiting_outlives_a_database_that_goes_away_while_it_is_asked_what_is_waited_for(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, turns = [0.0], iter(['away'])
    service = operated.started().service(sleep=lambda seconds: None, clock=lambda: times[0])
    number = service.submit('node-set', node='mn2')
    whole = service._ahead

    def ahead(id: int) -> str:
        if next(turns, None) == 'away':
            raise DatabaseUnavailable('the database cannot be used now')
        operated.finish(number, {})
        return whole(id)

    def sleep(seconds: float) -> None:
        times[0] += 3

    monkeypatch.setattr(service, '_ahead', ahead)
    monkeypatch.setattr(service, '_sleep', sleep)

    assert service.wait(number).state == 'done'


def test_following_shows_each_change_once_and_ends_with_the_update(operated: Operated) -> None:
    operated.started()
    number = operated.update()
    story = iter(
        [
            lambda: operated.move(number, 'INSTALL_1', 'the checks pass'),
            lambda: None,
            lambda: operated.entry(number, step='installing', percent=40.0),
            lambda: operated.move(number, 'DONE', 'both nodes run it', reason='both nodes run it'),
        ]
    )
    service = operated.service(sleep=lambda seconds: next(story)())

    seen = list(service.follow(number))

    assert [s.update.state for s in seen] == [State.REQUESTED, State.INSTALL_1, State.INSTALL_1, State.DONE]
    assert [[e.to_state for e in s.events] for s in seen] == [[], ['INSTALL_1'], [], ['DONE']]
    entry = seen[2].entry('mn2')
    assert entry is not None
    assert (entry.step, entry.percent) == ('installing', 40.0)


def test_that_a_node_was_seen_again_is_no_change(operated: Operated) -> None:
    operated.started()
    number = operated.update('PROVING')
    story = iter([lambda: operated.silent(1), lambda: operated.silent(2), lambda: operated.move(number, 'DONE', 'x')])
    service = operated.service(sleep=lambda seconds: next(story)())

    seen: list[Snapshot] = list(service.follow(number))

    assert [s.update.state for s in seen] == [State.PROVING, State.DONE]


def test_following_outlives_a_database_that_is_away(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    operated.started()
    number, notices = operated.update(), list[str]()
    service = operated.service(sleep=lambda seconds: None)
    whole, turns = service.snapshot, iter(['', 'away', 'away', ''])

    def snapshot(update_id: int, after: int = 0) -> Snapshot:
        turn = next(turns, 'end')
        if turn == 'away':
            raise DatabaseUnavailable('the database cannot be used now')
        if turn == 'end':
            operated.move(update_id, 'DONE', 'done', reason='done')
        return whole(update_id, after)

    monkeypatch.setattr(service, 'snapshot', snapshot)
    seen = list(service.follow(number, on_notice=notices.append))

    assert seen[-1].update.state is State.DONE
    assert notices == [
        'the database cannot be used now; the other node is asked until it answers',
        'no other node answers either',
        'the database answers again',
    ]


def test_the_plan_wipes_the_standby_first(operated: Operated) -> None:
    plan = operated.started().image().service().plan('1.1.0')

    assert (plan.first, plan.second, plan.old_version) == ('mn2', 'mn1', '1.0.0')
    assert [s.node for s in plan.steps] == ['mn2', 'mn2', 'mn1', 'mn2', 'mn1', 'mn1']
    assert 'FAILED_DEGRADED' in plan.steps[0].on_failure
    assert 'FAILED_ROLLED_BACK' in plan.steps[3].on_failure
    assert 'FAILED_FORWARD' in plan.steps[4].on_failure
    assert 'hmp: published, not applied.' in plan.remarks


def test_the_plan_says_what_becomes_of_the_components(operated: Operated) -> None:
    operated.started().image()
    operated.configure('mn1', '[remaster]\ncomponents = hmp\n')

    assert 'hmp: applied after both nodes run it.' in operated.service().plan('1.1.0').remarks


def test_the_plan_follows_the_master_and_not_the_name(operated: Operated) -> None:
    plan = operated.started(holder='mn2').image().service().plan('1.1.0')

    assert (plan.first, plan.second) == ('mn1', 'mn2')


def test_one_node_alone_cannot_be_updated(operated: Operated) -> None:
    operated.started().image()
    operated.config_file.write_text(operated.config_file.read_text().replace('peer = mn2\n', ''))

    with pytest.raises(Refused, match='peer'):
        operated.service().plan('1.1.0')


def test_a_retry_after_the_commit_point_only_touches_the_second_node(operated: Operated) -> None:
    operated.started().image()
    service = operated.service()
    number = operated.update('FAILED_FORWARD')
    with operated.database.write() as session:
        session.get_one(Update, number).proven_at = operated.database.now(session)

    plan = service.retry_plan()

    assert [s.node for s in plan.steps] == ['mn1', 'mn1']
    assert plan.lines()[0].startswith(f'Retry of update {number} to 1.1.0: 2 steps')


@pytest.mark.parametrize('state', ['DONE', 'ABORTED', 'PROVING'])
def test_only_a_failed_update_can_be_retried(operated: Operated, state: str) -> None:
    operated.started().image().update(state)

    with pytest.raises(Refused, match='only a failed update'):
        operated.service().retry_plan()


def test_where_an_abort_lands_depends_on_the_wipe(operated: Operated) -> None:
    operated.started()
    number = operated.update('INSTALL_1')
    service = operated.service()
    before = service.landing(service.update())

    operated.wiped(number)

    after = service.landing(service.update())
    assert (before.lands_in, after.lands_in) == (State.ABORTED, State.FAILED_DEGRADED)


def test_an_open_request_is_found_until_it_is_finished(operated: Operated) -> None:
    service = operated.started().service()
    number = service.submit('download', uri='x')
    found = service.open_request()

    operated.finish(number, {})

    assert found is not None
    assert found.id == number
    assert service.open_request() is None


@pytest.mark.parametrize('state', list(State))
def test_every_state_has_a_next_step(operated: Operated, state: State) -> None:
    operated.started().update(state.value)

    assert next_step(operated.service().update())


def test_a_lease_that_nobody_holds_any_more_names_no_master(operated: Operated) -> None:
    operated.started()
    with operated.database.write() as session:
        session.get_one(Lease, 'management').holder = None

    with pytest.raises(NotMaster, match='no node is master'):
        operated.service().must_lead()


def test_on_postgresql_a_story_reads_the_same(tmp_path: Path, postgresql_url: str) -> None:
    operated = Operated(tmp_path, url=postgresql_url)
    operated.started().image()
    number = operated.update('INSTALL_1')
    operated.wiped(number)
    operated.entry(number, step='installing', percent=40.0)
    operated.move(number, 'DONE', 'done', reason='done')
    service = operated.service()
    request = service.submit('download', uri='x')

    (snapshot,) = service.follow(number)

    assert [(n.name, n.role, n.health) for n in snapshot.nodes] == [('mn1', 'master', 'healthy'), ('mn2', '-', 'wiped')]
    assert (snapshot.update.state, len(snapshot.events)) == (State.DONE, 1)
    assert service.submit('download', uri='x') == request
    assert service.plan('1.1.0').first == 'mn2'
    operated.close()
