"""What operators decide, as they type it: with and without a terminal, refused, and for scripts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from ovca.cli import lead
from ovca.db.models import Lease, Node, Request, Update
from ovca.exceptions import Refused
from ovca.remaster import checks, directives
from ovca.remaster.checks import CheckResult, Result
from ovca.remaster.directives import Kind
from tests.operated import NEW, OLD, Operated
from tests.unit.cli.test_commands import asked, run

pytestmark = pytest.mark.timeout(60)


def lease(operated: Operated, **facts: Any) -> None:
    """What stands in the lease now."""
    with operated.database.write() as session:
        row = session.scalars(select(Lease)).one()
        for name, value in facts.items():
            setattr(row, name, value)


def node(operated: Operated, name: str, **facts: Any) -> None:
    """What stands in a node's row now."""
    with operated.database.write() as session:
        row = session.get_one(Node, name)
        for key, value in facts.items():
            setattr(row, key, value)


def now(operated: Operated) -> Any:
    with operated.database.read() as session:
        return operated.database.now(session)


def moves(operated: Operated, to: str) -> None:
    """From the next request on, this node acts as master."""

    def work(_: Request) -> dict[str, Any]:
        lease(operated, holder=to, acting=True, renewed_at=now(operated), epoch=4)
        return {'master': to}

    operated.answer(work)


def ends(operated: Operated, state: str = 'DONE') -> None:
    """The master carries out each request; the update of it comes to this end."""

    def work(request: Request) -> dict[str, Any]:
        number = operated.service().update().id if operated.service().updates() else operated.update()
        operated.move(number, state, 'it came to its end', reason='it came to its end')
        return {'update_id': number}

    operated.answer(work)


# update-pause, update-continue


def test_a_pause_says_where_the_update_stops_and_how_it_goes_on(operated: Operated) -> None:
    operated.started().update('INSTALL_1')
    operated.answer(lambda _: {'update_id': 1})

    result = run(operated, 'update-pause', '--reason', 'lunch')

    assert (result.code, result.out) == (
        0,
        'update 1 is paused in INSTALL_1: an install that has begun goes on to its end; it stops before the hand-over; '
        'let it go on with `ovca update-continue`\n',
    )
    assert [(r.kind, r.args) for r in operated.requests()] == [('pause', {'reason': 'lunch'})]


@pytest.mark.parametrize(('state', 'words'), [('ROLLBACK', 'a roll-back is not made to wait'), ('DONE', 'is over')])
def test_what_cannot_be_paused_is_refused_before_the_master_is_asked(
    operated: Operated, state: str, words: str
) -> None:
    operated.started().update(state)

    result = run(operated, 'update-pause')

    assert (result.code, words in result.err, result.err.endswith('[no-pause]\n')) == (6, True, True)
    assert operated.requests() == []


@pytest.mark.parametrize('words', [('update-pause',), ('update-continue',)])
def test_they_are_given_on_the_master_only(operated: Operated, words: tuple[str, ...]) -> None:
    operated.started().update('INSTALL_1')
    operated.configure('mn2')

    result = run(operated, *words)

    assert (result.code, 'run the command on mn1' in result.err) == (7, True)
    assert operated.requests() == []


def test_there_has_to_be_an_update(operated: Operated) -> None:
    operated.started()

    assert run(operated, 'update-pause').err.endswith('[no-update]\n')


@pytest.mark.parametrize(('state', 'code'), [('DONE', 0), ('FAILED_FORWARD', 8)])
def test_a_continued_update_is_followed_to_its_end(operated: Operated, state: str, code: int) -> None:
    operated.started().update('PROVING')
    ends(operated, state)

    result = run(operated, 'update-continue')

    assert (result.code, result.out.splitlines()[0]) == (code, 'update 1 goes on'), result.err


def test_it_may_be_continued_without_being_followed(operated: Operated) -> None:
    operated.started().update('PROVING')
    operated.answer(lambda _: {'update_id': 1})

    result = run(operated, 'update-continue', '--no-wait')

    assert (result.code, result.out) == (0, 'update 1 goes on\n')


def test_what_does_not_wait_is_not_continued(operated: Operated) -> None:
    operated.started().update('PROVING')
    operated.answer(lambda _: Refused('update 1 is not paused', id='not-paused'))

    result = run(operated, 'update-continue')

    assert (result.code, result.err) == (6, 'ovca: update 1 is not paused [not-paused]\n')


# update-explain


def test_a_script_reads_what_is_foretold_on_either_node(operated: Operated) -> None:
    operated.started().image().update('VERIFY_1')
    operated.configure('mn2')

    result = run(operated, 'update-explain', '-f', 'json')

    assert result.code == 0, result.err
    facts = result.json
    assert (facts['state'], facts['rule'], facts['master'], facts['abort_lands_in']) == (
        'VERIFY_1',
        'waiting',
        'mn1',
        'FAILED_DEGRADED',
    )
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', facts['deadline_at'])
    assert facts['if_master_fails'].startswith('nobody serves until mn1 is back')


def test_it_tells_who_lets_the_update_wait_and_why(operated: Operated) -> None:
    def paused() -> object:
        return run(operated, 'update-explain', '-f', 'json').json['paused']

    operated.started().image()
    number = operated.update('VERIFY_1')
    nobody = paused()
    operated.decides(number, 'hold-before-commit')
    later = paused()
    operated.decides(number, 'pause', 'wait for the night shift', by='eva')
    now = paused()

    assert nobody is None
    assert re.fullmatch('it stops before the commit point, as otto asked', str(later))
    assert re.fullmatch(
        r'paused by eva since \S+ \S+Z \(wait for the night shift\): continue with `ovca update-continue`', str(now)
    )


def test_a_person_gets_a_table_of_it(operated: Operated) -> None:
    operated.started().image().update('PROVING')

    result = run(operated, 'update-explain')

    assert (result.code, result.out.splitlines()[0].split()) == (0, ['field', 'value'])
    assert 'if_database_fails' in result.out


def test_without_an_update_there_is_nothing_to_explain(operated: Operated) -> None:
    operated.started().update('DONE')

    result = run(operated, 'update-explain')

    assert (result.code, result.out, result.err.endswith('[nothing-open]\n')) == (6, '', True)


# failover


def test_a_failover_asks_once_and_says_who_is_master_then(operated: Operated) -> None:
    operated.started()
    moves(operated, 'mn2')

    result = asked(operated, 'y', 'failover', '--reason', 'cables')

    assert (result.code, result.out) == (0, 'mn2 is master\n'), result.err
    assert result.err.count('[y/N]') == 1
    assert [(r.kind, r.args) for r in operated.requests()] == [('failover', {'reason': 'cables', 'epoch': 3})]


def test_without_a_yes_nothing_happens(operated: Operated) -> None:
    operated.started()

    no, nobody = asked(operated, 'n', 'failover'), run(operated, 'failover')

    assert (no.code, nobody.code) == (6, 6)
    assert (no.err.endswith('[declined]\n'), nobody.err.endswith('[no-terminal]\n')) == (True, True)
    assert operated.requests() == []


def test_a_standby_does_not_fail_over(operated: Operated) -> None:
    operated.started()
    operated.configure('mn2')

    assert run(operated, 'failover', '--yes').code == 7


def test_an_appliance_of_one_node_cannot_fail_over(operated: Operated) -> None:
    operated.started()
    text = operated.config_file.read_text()
    operated.config_file.write_text(text.replace('peer = mn2\n', ''))

    result = run(operated, 'failover', '--yes')

    assert (result.code, result.err.endswith('[no-second-node]\n')) == (6, True)


def test_a_receiver_that_does_not_act_is_no_success(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    operated.started()
    monkeypatch.setattr(lead, 'PATIENCE', 0.3)
    operated.answer(lambda _: {'master': 'mn2'})

    result = run(operated, 'failover', '--yes')

    assert (result.code, result.err.endswith('[master-silent]\n')) == (7, True)
    assert 'the log of ovca.service on mn2' in result.err


# master-claim


@pytest.fixture
def silent(operated: Operated) -> Operated:
    """mn1 was master and is silent; mn2 is here."""
    operated.started().silent(60)
    operated.configure('mn2', '[cluster]\nfence_timeout = 1\n')
    return operated


def test_who_leads_already_claims_nothing(operated: Operated) -> None:
    operated.started()

    result = run(operated, 'master-claim', '--force', '--known-off', 'mn2')

    assert (result.code, result.out) == (0, 'mn1 is master already\n')
    assert operated.requests() == []


def test_without_force_it_says_when_it_is_needed(silent: Operated) -> None:
    result = run(silent, 'master-claim', '--known-off', 'mn1')

    assert (result.code, result.err.endswith('[force-needed]\n')) == (2, True)
    assert silent.requests() == []


def test_the_name_of_the_node_that_is_off_is_typed(silent: Operated) -> None:
    moves(silent, 'mn2')

    result = asked(silent, 'mn1', 'master-claim', '--force')

    assert (result.code, result.out) == (0, 'mn2 is master\n'), result.err
    assert 'If mn1 is not off, two nodes serve at once.' in result.err
    assert [(r.kind, r.args['known_off']) for r in silent.requests()] == [('claim', 'mn1')]


@pytest.mark.parametrize('typed', ['y', 'yes', 'mn2', 'mn11', ''])
def test_a_y_or_another_name_is_no_word(silent: Operated, typed: str) -> None:
    result = asked(silent, typed, 'master-claim', '--force')

    assert (result.code, result.err.endswith('[other-holder]\n')) == (2, True)
    assert silent.requests() == []


def test_a_script_names_the_node_or_gets_nothing(silent: Operated) -> None:
    nobody = run(silent, 'master-claim', '--force')
    moves(silent, 'mn2')
    named = run(silent, 'master-claim', '--force', '--known-off', 'mn1')

    assert (nobody.code, nobody.err.endswith('[no-terminal]\n')) == (6, True)
    assert (named.code, named.out) == (0, 'mn2 is master\n')


def test_a_master_that_serves_is_not_taken_over_by_force(operated: Operated) -> None:
    operated.started()
    operated.configure('mn2')

    result = run(operated, 'master-claim', '--force', '--known-off', 'mn1')

    assert (result.code, result.err) == (
        6,
        'ovca: mn1 is master and serves; there is nothing to take over [master-serves]\n',
    )


def test_a_word_that_is_not_heeded_in_time_is_told(silent: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead, 'PATIENCE', 0.0)
    lease(silent, ttl=0.5)

    result = run(silent, 'master-claim', '--force', '--known-off', 'mn1')

    assert (result.code, result.err.endswith('[claim-waits]\n')) == (7, True)


def test_a_node_whose_software_is_not_proved_is_told_so_when_it_wants_to_lead(
    silent: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead, 'PATIENCE', 0.0)
    lease(silent, ttl=0.5)
    silent.wiped(silent.update('INSTALL_2'))
    with silent.database.write() as session:
        node = session.get_one(Node, 'mn2')
        node.running_version, node.running_digest = '1.1.0', NEW

    result = run(silent, 'master-claim', '--force', '--known-off', 'mn1')

    assert (result.code, result.err.endswith('[claim-waits]\n')) == (7, True)
    assert 'mn2 may not lead: nothing proves that 1.1.0 was installed on it whole; ' in result.err
    assert 'install it with 1.0.0, which update 1 began from, or put the database back' in result.err


# node-reinstall


@pytest.fixture(autouse=True)
def good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks pass; what is done about others is told in test_check.py."""
    monkeypatch.setattr(checks, 'run_all', lambda *_, **__: [CheckResult('nodes', Result.PASSED, 'healthy')])


def test_a_reinstall_says_what_it_wipes_and_why_and_is_followed(operated: Operated) -> None:
    operated.started().image('1.0.0', OLD)
    node(operated, 'mn2', quarantined=True, quarantine_reason='update 1: ill', running_version='1.1.0')
    ends(operated)

    result = asked(operated, 'y', 'node-reinstall', 'mn2', '--reason', 'rolled back')

    assert result.code == 0, result.err
    assert 'mn2 runs 1.1.0 (quarantined: update 1: ill); it is wiped, and installed as mn1 is' in result.err
    assert [(r.kind, r.args) for r in operated.requests()] == [('reinstall', {'node': 'mn2', 'reason': 'rolled back'})]


@pytest.mark.parametrize('command', ['node-reinstall', 'node-replace'])
def test_nothing_is_wiped_without_a_yes(operated: Operated, command: str) -> None:
    operated.started().image('1.0.0', OLD).silent(60)
    lease(operated, renewed_at=now(operated))

    no, nobody = asked(operated, 'n', command, 'mn2'), run(operated, command, 'mn2')

    assert (no.code, nobody.code) == (6, 6)
    assert (no.err.endswith('[declined]\n'), nobody.err.endswith('[no-terminal]\n')) == (True, True)
    assert operated.requests() == []


@pytest.mark.parametrize('command', ['node-reinstall', 'node-replace'])
@pytest.mark.parametrize(('name', 'code', 'error'), [('mn1', 6, 'node-is-master'), ('mn9', 2, 'no-node')])
def test_a_node_that_cannot_be_wiped_is_refused_before_anybody_is_asked(
    operated: Operated, command: str, name: str, code: int, error: str
) -> None:
    operated.started()

    result = asked(operated, 'y', command, name)

    assert (result.code, result.err.endswith(f'[{error}]\n'), '[y/N]' in result.err) == (code, True, False)
    assert operated.requests() == []


@pytest.mark.parametrize('command', ['node-reinstall', 'node-replace'])
def test_a_standby_wipes_nobody(operated: Operated, command: str) -> None:
    operated.started()
    operated.configure('mn2')

    assert run(operated, command, 'mn1', '--yes').code == 7


def test_it_need_not_be_followed(operated: Operated) -> None:
    operated.started().image('1.0.0', OLD)

    result = run(operated, 'node-reinstall', 'mn2', '--yes', '--no-wait')

    assert (result.code, result.out.endswith('request 1 is with the master; `ovca update-watch` picks it up\n')) == (
        0,
        True,
    )


# node-replace


@pytest.fixture
def bereaved(operated: Operated) -> Operated:
    """mn2 died an hour ago; mn1, which is here, leads."""
    operated.started().silent(3600)
    lease(operated, renewed_at=now(operated))
    return operated


MACHINE = ('--mac', '52-54-00-00-00-09', '--bmc', 'https://192.0.2.29/redfish/v1/Systems/1')


def test_the_new_machine_is_named_before_the_question(bereaved: Operated) -> None:
    ends(bereaved)

    result = asked(bereaved, 'y', 'node-replace', 'mn2', *MACHINE, '--reason', 'burnt')

    assert result.code == 0, result.err
    assert 'the card 52:54:00:00:00:09 and the BMC https://192.0.2.29/redfish/v1/Systems/1' in result.err
    (request,) = bereaved.requests()
    assert (request.kind, request.args) == (
        'replace',
        {'node': 'mn2', 'reason': 'burnt', 'mac': '52:54:00:00:00:09', 'bmc': MACHINE[3]},
    )


def test_what_the_configuration_names_is_shown_and_wins(bereaved: Operated) -> None:
    bereaved.configure('mn1', '[provision]\nmac = mn2:52:54:00:00:00:77\n')

    given = run(bereaved, 'node-replace', 'mn2', '--mac', '52:54:00:00:00:09', '--yes')
    shown = run(bereaved, 'node-replace', 'mn2')

    assert (given.code, given.err.endswith('[configuration-wins]\n')) == (2, True)
    assert 'restart ovca.service here' in given.err
    assert 'the card 52:54:00:00:00:77' in shown.err
    assert bereaved.requests() == []


def test_one_that_lives_is_not_replaced(operated: Operated) -> None:
    operated.started()

    result = asked(operated, 'y', 'node-replace', 'mn2', *MACHINE)

    assert (result.code, result.err.endswith('[node-alive]\n'), '[y/N]' in result.err) == (6, True, False)


@pytest.mark.parametrize(('state', 'code'), [('INSTALL_1', 0), ('VERIFY_1', 0), ('PROVING', 6), ('INSTALL_2', 6)])
def test_in_an_update_it_is_replaced_while_it_is_installed(bereaved: Operated, state: str, code: int) -> None:
    bereaved.image().update(state)
    ends(bereaved)

    result = run(bereaved, 'node-replace', 'mn2', *MACHINE, '--yes')

    assert (result.code, '[node-pinned]' in result.err) == (code, code == 6), result.err


@pytest.mark.parametrize(
    ('words', 'error'),
    [
        (('--mac', '52:54'), 'bad-mac'),
        (('--bmc', 'ftp//'), 'bad-bmc'),
        (('--bmc', 'https://root:geheim@192.0.2.29/'), 'bmc-password'),
    ],
)
def test_what_was_mistyped_is_named_and_a_password_is_not_repeated(
    bereaved: Operated, words: tuple[str, ...], error: str
) -> None:
    result = run(bereaved, 'node-replace', 'mn2', *words, '--yes')

    assert (result.code, result.err.endswith(f'[{error}]\n'), 'geheim' in result.err) == (2, True, False)
    assert bereaved.requests() == []


def test_the_pause_before_the_commit_point_is_part_of_the_request(operated: Operated) -> None:
    operated.started()

    result = run(operated, 'update', 'https://example.com/x.zip', '--pause-before-commit', '--yes', '--no-wait')

    assert result.code == 0, result.err
    assert operated.requests()[0].args['pause_before_commit'] is True


def test_whoever_asks_again_for_the_same_pause_follows_the_update_that_has_it(operated: Operated) -> None:
    number = operated.started().image('1.1.0', NEW).update('INSTALL_1')
    words = ('activate', '1.1.0', '--pause-before-commit', '--no-wait')

    without = run(operated, *words)
    with operated.database.write() as session:
        directives.give(session, session.get_one(Update, number), Kind.HOLD, 'olga')
    held = run(operated, *words)

    assert (without.code, f'update {number} does not stop before its commit point' in without.err) == (6, True)
    assert without.err.endswith('[update-open]\n')
    assert (held.code, held.err) == (0, '')
