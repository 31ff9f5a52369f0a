"""What operators decide about an update, carried out by the acting master's clerk and loop, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ovca.db.models import Entry, Lease, Node, Request, Update
from ovca.remaster import checks, directives
from ovca.remaster.checks import CheckResult, Result
from ovca.remaster.directives import Kind
from tests.mastered import Master
from tests.operated import NEW, OLD, Operated


@pytest.fixture
def master(operated: Operated) -> Master:
    return Master(operated.image('1.0.0', OLD).image('1.1.0', NEW))


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks pass; they have tests of their own."""
    monkeypatch.setattr(checks, 'run_all', lambda *_, **__: [CheckResult('nodes', Result.PASSED, 'healthy')])


# Pause and continue.


def test_a_pause_takes_back_the_right_to_wipe_and_no_deadline_passes_until_somebody_continues(
    operated: Operated, master: Master
) -> None:
    operated.update('INSTALL_1')
    operated.entry(1)
    master.run()
    before = master.update().revision
    assert [(g.revoked_at, g.expires_at > master.now()) for g in master.grants()] == [(None, True)]

    assert master.ask('pause', reason='lunch').result == {'update_id': 1}
    paused = master.update().revision
    master.later(10 * 3600)
    master.run()

    assert paused > before, 'a decision on what was seen before the pause would still be carried out'
    assert [g.revoked_at is not None for g in master.grants()] == [True]
    assert (master.update().state, master.entry().attempt) == ('INSTALL_1', 1)
    assert master.machine.orders.count('on') == 1
    assert master.ask('continue').state == 'done'
    master.run()
    assert (master.update().state, master.machine.orders.count('on')) == ('INSTALL_1', 2)
    assert (master.now() - master.update().deadline_from).total_seconds() < 3000
    assert [(g.revoked_at, g.expires_at > master.now()) for g in master.grants()] == [(None, True)]


@pytest.mark.parametrize('reason', ['f\udcfcr die Nacht', 'a line of a script with \0'], ids=ascii)
def test_a_reason_that_no_database_takes_keeps_nobody_from_pausing_and_aborting(
    operated: Operated, master: Master, reason: str
) -> None:
    operated.update('INSTALL_1')
    operated.entry(1)
    shown = reason.encode(errors='backslashreplace').decode().replace('\0', '\\x00')

    done = [master.ask('pause', reason=reason), master.ask('abort', update_id=1, reason=reason)]
    master.run()

    assert [(request.state, request.error) for request in done] == [('done', None)] * 2
    assert (master.update().state, master.update().abort_reason) == ('ABORTED', shown)
    assert any(f'({shown})' in line for line in master.story('pause'))


def test_an_install_that_has_begun_goes_on_while_the_update_is_paused_and_the_hand_over_waits(
    operated: Operated, master: Master
) -> None:
    operated.update('INSTALL_1')
    operated.entry(1)
    master.run()
    master.consumed()
    master.ask('pause')
    master.change(
        Entry, (1, 'mn2'), final_at=master.now(), final_attempt=1, final_digest=NEW, step='final', step_at=master.now()
    )
    master.change(Node, 'mn2', running_digest=NEW)
    master.run()
    assert master.update().state == 'VERIFY_1'

    master.later(10 * 3600)
    master.run()
    master.run()

    assert (master.update().state, master.stopped) == ('VERIFY_1', [])
    assert len(master.story('waits')) == 1
    master.ask('continue')
    master.run()
    assert (master.update().state, master.stopped) == ('PROVING', ['stopped', 'gave away, reboots'])


def test_pausing_twice_and_continuing_twice_is_told_once(operated: Operated, master: Master) -> None:
    operated.update('INSTALL_1')
    first = master.ask('pause', reason='lunch')
    revision = master.update().revision
    second = master.ask('pause', reason='supper')

    assert (first.state, second.state, second.result) == ('done', 'done', {'update_id': 1})
    assert master.update().revision == revision
    [paused] = master.story('pause')
    assert paused.startswith('paused by otto: '), paused
    assert paused.endswith(' (lunch)')
    assert master.ask('continue').state == 'done'
    [continued] = master.story('continue')
    assert continued.startswith('otto lets it go on; it waited since '), continued
    again = master.ask('continue')
    assert (again.state, again.result) == ('failed', {'error_id': 'not-paused'})


@pytest.mark.parametrize(('state', 'why'), [('ROLLBACK', 'a roll-back is not made to wait'), ('DONE', 'nothing to')])
def test_what_cannot_wait_is_not_paused(operated: Operated, master: Master, state: str, why: str) -> None:
    operated.update(state)
    before = operated.rows()

    request = master.ask('pause')

    assert (request.state, request.result, request.exit_code) == ('failed', {'error_id': 'no-pause'}, 6)
    assert why in str(request.error)
    assert operated.rows() == before


def test_the_checks_before_the_first_wipe_are_run_again_when_a_paused_update_is_continued(
    operated: Operated, master: Master
) -> None:
    operated.update('REQUESTED')
    master.loop.step()  # the checks, which pass
    master.ask('pause', reason='the night')
    master.failing = ['nodes: mn2 was last seen 2026-11-25T02:00:00Z']
    master.later(8 * 3600)
    master.run()
    assert master.update().state == 'REQUESTED'

    master.ask('continue')
    master.run()

    assert (master.update().state, master.update().reason) == ('ABORTED', master.failing[0])
    assert master.grants() == []


# Held before the commit point.


@pytest.mark.usefixtures('good')
def test_an_update_that_is_to_be_held_says_so_from_its_first_row_on(operated: Operated, master: Master) -> None:
    request = master.ask('activate', version='1.1.0', pause_before_commit=True)

    assert request.state == 'done', request.error
    with operated.database.read() as session:
        assert [(row.kind, row.created_by) for row in directives.active(session, 1)] == [('hold-before-commit', 'otto')]
    master.run()
    assert master.update().state == 'INSTALL_1', 'it holds before the commit point, not here'


def test_an_open_update_that_does_not_stop_there_is_not_followed_as_if_it_did(
    operated: Operated, master: Master
) -> None:
    operated.update('INSTALL_1')
    words = {'version': '1.1.0', 'pause_before_commit': True}

    refused = master.ask('activate', **words)
    with operated.database.write() as session:
        directives.give(session, session.get_one(Update, 1), Kind.HOLD, 'olga')
    followed = master.ask('activate', **words)

    assert (refused.state, (refused.result or {}).get('error_id')) == ('failed', 'update-open')
    assert (followed.state, followed.result) == ('done', {'update_id': 1}), followed.error


def proving(operated: Operated, **remaster: Any) -> Master:
    """mn1 leads on the new software, was healthy long enough, and is the node that was installed first."""
    master = Master(operated.image('1.1.0', NEW), runs=NEW, version='1.1.0', **remaster)
    operated.update('PROVING', first='mn1', second='mn2')
    now = master.now()
    operated.entry(1, 'mn1', final_at=now, final_attempt=1, final_digest=NEW, step='final')
    master.installed('1.1.0', NEW)
    master.later(700)
    return master


def test_a_held_update_stays_before_its_commit_point_until_somebody_continues(operated: Operated) -> None:
    master = proving(operated)
    with operated.database.write() as session:
        directives.give(session, session.get_one(Update, 1), Kind.HOLD, 'ada')

    master.run()
    master.later(10 * 3600)
    master.run()

    assert (master.update().state, master.update().proven_at) == ('PROVING', None)
    assert master.story('waits') == [
        'PROVING: it is proven, and the update is paused, or held before its commit point: `ovca update-continue`'
    ]
    assert master.ask('continue').state == 'done'
    master.loop.step()  # the checks before the second wipe
    master.loop.step()
    assert (master.update().state, master.update().proven_at is not None) == ('INSTALL_2', True)


def test_a_held_update_that_falls_ill_rolls_back_all_the_same(operated: Operated) -> None:
    master = proving(operated)
    with operated.database.write() as session:
        directives.give(session, session.get_one(Update, 1), Kind.HOLD, 'ada')
    ill = master.now()
    master.change(Node, 'mn1', health='unhealthy', healthy_since=None, unhealthy_since=ill)
    master.later(301)

    master.loop.step()

    assert master.update().state == 'ROLLBACK'


# Failover.


def test_a_failover_gives_the_lease_away_and_ends_its_request_in_the_same_transaction(
    operated: Operated, master: Master
) -> None:
    request = master.ask('failover', reason='cables')

    assert (request.state, request.result) == ('done', {'master': 'mn2'}), request.error
    assert master.stopped == ['stopped', 'gave away']
    view = master.lease.read()
    assert (view.holder, view.incarnation, view.epoch, view.acting) == ('mn2', 'mn2 runs', 4, False)
    assert view.predecessor_demoted


def test_a_failover_that_is_given_up_after_the_demotion_ends_failed_and_is_not_tried_for_ever(
    operated: Operated, master: Master
) -> None:
    master.while_stopping = lambda: master.change(Node, 'mn2', ready=False, health='unhealthy')

    number = master.ask('failover').id
    while master.clerk.step():
        master.clerk.join(20)

    request = next(row for row in operated.requests() if row.id == number)
    assert (request.state, request.result, request.exit_code) == ('failed', {'error_id': 'hand-over-given-up'}, 6)
    assert master.stopped == ['stopped', 'serves again'], 'it was tried more than once, or nobody serves'
    view = master.lease.read()
    assert (view.holder, view.epoch, view.acting) == ('mn1', 4, True)


def test_a_role_that_does_not_stop_ends_the_failover_with_its_reason(operated: Operated, master: Master) -> None:
    master.while_stopping = master.stuck_role

    request = master.ask('failover')

    assert (request.state, request.result) == ('failed', {'error_id': 'hand-over-given-up'})
    assert 'virtual-ip still runs' in str(request.error)
    assert (master.lease.read().epoch, master.epoch) == (3, 3)


def test_a_role_that_fails_in_its_own_way_does_not_leave_the_appliance_without_a_master(
    operated: Operated, master: Master
) -> None:
    def broken() -> None:
        raise KeyError('a mistake of the role')

    master.while_stopping = broken

    request = master.ask('failover')

    assert (request.state, master.stopped) == ('failed', ['stopped', 'serves again'])


def test_why_a_failover_was_asked_for_is_in_the_journal(operated: Operated, master: Master) -> None:
    master.ask('failover', reason='cables')

    assert master.story('hand-over') == ['mn1 to mn2: asked for (cables)']


@pytest.mark.parametrize(
    ('facts', 'why'),
    [
        ({'quarantined': True, 'quarantine_reason': 'update 7'}, r'it is in quarantine \(update 7\)'),
        ({'last_seen_at': None}, 'it is not heard of'),
        ({'epoch_seen': 2}, 'it is not heard of'),
        ({'running_digest': NEW, 'running_version': '1.1.0'}, r'it runs 1\.1\.0, another image than this node'),
        ({'ready': False, 'health': 'unhealthy', 'health_detail': {'storage': 'no space'}}, 'unhealthy .storage: no'),
    ],
)
def test_a_standby_that_is_not_fit_gets_nothing(
    operated: Operated, master: Master, facts: dict[str, Any], why: str
) -> None:
    import re

    master.change(Node, 'mn2', **facts)
    before = operated.rows()

    request = master.ask('failover')

    assert (request.state, request.result) == ('failed', {'error_id': 'peer-not-ready'})
    assert re.search(why, str(request.error)), request.error
    assert (operated.rows(), master.stopped) == (before, [])


def test_an_open_update_moves_the_lease_by_itself(operated: Operated, master: Master) -> None:
    operated.update('VERIFY_1')

    request = master.ask('failover')

    assert (request.state, request.result, master.stopped) == ('failed', {'error_id': 'update-open'}, [])


# One node installed anew.


@pytest.mark.usefixtures('good')
def test_a_reinstall_opens_a_run_that_rests_on_the_master_and_wipes_the_other_node(
    operated: Operated, master: Master
) -> None:
    master.whole('1.0.0', OLD)
    master.change(Node, 'mn2', quarantined=True, quarantine_reason='update 1', running_digest=NEW)

    request = master.ask('reinstall', node='mn2', reason='rolled back')

    assert (request.state, request.result) == ('done', {'update_id': 1}), request.error
    update = master.update()
    assert (update.state, update.first, update.second, update.version, update.digest) == (
        'REQUESTED', 'mn1', 'mn2', '1.0.0', OLD,
    )  # fmt: skip
    assert update.proven_at is not None
    assert 'mn1 was compared with the image and is whole (rolled back)' in master.story()[-1]
    master.run()
    assert (master.update().state, master.machine.boots[-1]) == ('INSTALL_2', 'network')
    assert [(g.node, g.digest, g.attempt) for g in master.grants()] == [('mn2', OLD, 1)]
    assert master.node('mn2').quarantined, 'until it has proved what it runs'


@pytest.mark.usefixtures('good')
def test_a_repeated_reinstall_is_the_same_run(operated: Operated, master: Master) -> None:
    master.whole('1.0.0', OLD)
    first = master.ask('reinstall', node='mn2')
    master.run()

    second = master.ask('reinstall', node='mn2', reason='again')

    assert (first.result, second.result) == ({'update_id': 1}, {'update_id': 1})


def cut_short(master: Master, monkeypatch: pytest.MonkeyPatch, kind: str, **args: Any) -> Request:
    """The service is killed when it has done what was asked for and not yet said so; then it is started again."""
    with monkeypatch.context() as killed:
        killed.setattr(master.clerk, '_finish', lambda *_, **__: None)
        number = master.ask(kind, **args).id
    master.clerk.step()
    master.clerk.join(20)
    with master.database.read() as session:
        return session.get_one(Request, number)


@pytest.mark.usefixtures('good')
@pytest.mark.parametrize('kind', ['reinstall', 'replace'])
def test_an_installation_that_was_begun_and_not_answered_is_not_begun_twice(
    operated: Operated, master: Master, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    master.whole('1.0.0', OLD)
    dead(master)

    request = cut_short(master, monkeypatch, kind, node='mn2')

    assert (request.state, request.result) == ('done', {'update_id': 1}), request.error


def test_a_replacement_in_an_update_that_was_not_answered_uses_up_one_attempt(
    operated: Operated, master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.update('INSTALL_1')
    operated.entry(1)
    dead(master)

    request = cut_short(master, monkeypatch, 'replace', node='mn2')

    assert (request.state, request.result) == ('done', {'update_id': 1}), request.error
    assert master.entry().attempt == 2


def test_an_update_that_goes_on_again_is_said_to_although_the_answer_was_lost(
    operated: Operated, master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.update('INSTALL_1')
    master.ask('pause')

    request = cut_short(master, monkeypatch, 'continue')

    assert (request.state, request.result) == ('done', {'update_id': 1}), request.error


@pytest.mark.usefixtures('good')
def test_a_retry_that_was_begun_and_not_answered_is_not_refused_on_account_of_itself(
    operated: Operated, master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.update('FAILED_DEGRADED')

    request = cut_short(master, monkeypatch, 'retry', update_id=1)

    assert (request.state, (request.result or {}).get('update_id')) == ('done', 2), request.error


@pytest.mark.usefixtures('good')
@pytest.mark.parametrize('kind', ['activate', 'retry'])
def test_an_update_that_was_begun_and_not_answered_is_not_begun_once_more_when_it_has_ended(
    operated: Operated, master: Master, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == 'retry':
        operated.update('FAILED_DEGRADED')
    args = {'update_id': 1} if kind == 'retry' else {'version': '1.1.0'}
    with monkeypatch.context() as killed:  # or the storage hangs behind it, which is no rare thing
        killed.setattr(master.clerk, '_finish', lambda *_, **__: None)
        number = master.ask(kind, **args).id
    begun = master.update()
    master.change(Update, begun.id, abort_requested_at=master.now())
    master.run()
    assert master.update().state == 'ABORTED'

    master.clerk.step()
    master.clerk.join(20)

    with master.database.read() as session:
        request = session.get_one(Request, number)
    assert master.update().id == begun.id, 'an operator has aborted it, and a node would be wiped all the same'
    assert (request.state, request.result) == ('done', {'update_id': begun.id}), request.error


def test_an_abort_that_was_carried_out_and_not_answered_is_no_refused_one(
    operated: Operated, master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.update('REQUESTED')
    with monkeypatch.context() as killed:
        killed.setattr(master.clerk, '_finish', lambda *_, **__: None)
        number = master.ask('abort', update_id=1).id
    master.run()
    assert master.update().state == 'ABORTED'

    master.clerk.step()

    with master.database.read() as session:
        request = session.get_one(Request, number)
    assert (request.state, request.result) == ('done', {'update_id': 1}), request.error


def damaged(master: Master) -> None:
    master.whole('1.0.0', OLD).write_text('something else')


def missing(master: Master) -> None:
    from ovca.db.models import Image

    with master.database.write() as session:
        session.delete(session.get_one(Image, '1.0.0'))


def unlisted(master: Master) -> None:
    """The image's files are gone from the shared storage."""


def leads(master: Master) -> None:
    master.whole('1.0.0', OLD)


@pytest.mark.usefixtures('good')
@pytest.mark.parametrize(
    ('name', 'prepare', 'error', 'words'),
    [
        ('mn2', damaged, 'master-differs', '1 files differ from image 1.0.0, the first is mgmt_image/usr/bin/tool'),
        ('mn2', missing, 'no-running-image', 'fetch it with `ovca download`'),
        ('mn2', unlisted, 'image-unreadable', 'files.json cannot be read'),
        ('mn1', leads, 'node-is-master', 'hand over first with `ovca failover`'),
        ('mn9', leads, 'no-node', "there is no management node 'mn9'"),
    ],
)
def test_a_reinstall_that_rests_on_nothing_is_refused_and_changes_nothing(
    operated: Operated, master: Master, name: str, prepare: Callable[[Master], None], error: str, words: str
) -> None:
    prepare(master)
    before = operated.rows()

    request = master.ask('reinstall', node=name)

    assert (request.state, request.result) == ('failed', {'error_id': error})
    assert words in str(request.error)
    assert (operated.rows(), master.machine.orders) == (before, [])


# Another machine in a node's place.


def dead(master: Master) -> None:
    """mn2 is not heard of any more."""
    master.alive = {'mn1'}
    master.later(60)


def test_a_node_that_proved_itself_and_died_is_installed_anew(operated: Operated, master: Master) -> None:
    operated.update('VERIFY_1')
    operated.entry(1, final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    dead(master)

    assert master.ask('replace', node='mn2').state == 'done'
    master.run()

    assert (master.update().state, master.entry().final_at) == ('INSTALL_1', None)
    assert 'power cycle' in master.entry().step


@pytest.mark.parametrize(
    ('state', 'name', 'silent', 'error'),
    [
        ('INSTALL_1', 'mn2', False, 'node-alive'),
        ('PROVING', 'mn2', True, 'node-pinned'),
        ('INSTALL_2', 'mn2', True, 'node-pinned'),
        ('INSTALL_1', 'mn1', True, 'node-is-master'),
        ('FAILED_DEGRADED', 'mn2', False, 'node-alive'),
    ],
)
def test_what_is_alive_or_not_installed_now_is_not_replaced(
    operated: Operated, master: Master, state: str, name: str, silent: bool, error: str
) -> None:
    operated.update(state)
    operated.entry(1)
    if silent:
        dead(master)
    before = operated.rows()

    request = master.ask('replace', node=name, mac='52:54:00:00:00:99')

    assert (request.state, request.result) == ('failed', {'error_id': error}), request.error
    assert operated.rows() == before


@pytest.mark.usefixtures('good')
def test_outside_of_an_update_a_replaced_node_gets_a_run_of_its_own(operated: Operated, master: Master) -> None:
    master.whole('1.0.0', OLD)
    dead(master)

    request = master.ask('replace', node='mn2', mac='52:54:00:00:00:99')

    assert (request.state, request.result) == ('done', {'update_id': 1}), request.error
    assert (master.update().first, master.update().second, master.update().old_digest) == ('mn1', 'mn2', None)
    assert (master.node('mn2').quarantined, master.node('mn2').mac) == (True, '52:54:00:00:00:99')
    assert ['mn2 was replaced by another machine' in text for text in master.story('node')] == [True]
    assert master.story('machine') == ['mn2 is another machine: mac is 52:54:00:00:00:99']


@pytest.mark.usefixtures('good')
def test_a_replacement_on_a_master_that_is_not_whole_notes_the_machine_and_says_why_it_is_not_installed(
    operated: Operated, master: Master
) -> None:
    damaged(master)
    dead(master)

    request = master.ask('replace', node='mn2', mac='52:54:00:00:00:99')

    assert (request.state, request.result) == ('failed', {'error_id': 'master-differs'})
    assert (master.node('mn2').quarantined, master.machine.orders) == (True, [])


def test_a_lease_that_was_lost_meanwhile_leaves_the_decision_to_the_next_master(
    operated: Operated, master: Master
) -> None:
    operated.update('INSTALL_1')
    master.change(Lease, 'management', epoch=4)

    number = master.operated.service().submit('pause')
    with pytest.raises(Exception, match='does not hold epoch 3'):
        master.clerk.step()

    request = next(row for row in operated.requests() if row.id == number)
    assert (request.state, master.story('pause')) == ('open', [])
