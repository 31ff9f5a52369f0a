from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from typing import Any, NoReturn

import pytest

from ovca import plugins, testing
from ovca.cli.app import OvcaApp
from ovca.db.models import Request
from ovca.exceptions import DatabaseUnavailable, ImageError
from ovca.remaster import checks
from ovca.remaster.checks import CheckResult, Result
from ovca.remaster.service import Service
from tests.operated import Operated
from tests.unit.cli.test_app import Vendor

pytestmark = pytest.mark.timeout(30)
COMMANDS = sorted(name for name, extension in plugins.chosen('ovca.cli').items() if extension.core)


class Terminal(io.StringIO):
    """A person's keyboard or screen."""

    def isatty(self) -> bool:
        return True


def run(operated: Operated, *argv: str) -> testing.Result:
    """Run a command without a terminal, as on this node."""
    return testing.run(argv, config_file=operated.config_file)


def asked(operated: Operated, answer: str, *argv: str) -> testing.Result:
    """Run a command with a person who answers."""
    out, err = io.StringIO(), io.StringIO()
    app = OvcaApp(stdin=Terminal(f'{answer}\n'), stdout=out, stderr=err)
    code = app.run(['--config-file', str(operated.config_file), *argv])
    return testing.Result(code, out.getvalue(), err.getvalue())


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks pass; they have tests of their own."""
    results = [CheckResult('nodes', Result.PASSED, 'both nodes are healthy')]
    monkeypatch.setattr(checks, 'run_all', lambda *args, **kwargs: results)


def master(operated: Operated, end: str = 'DONE', reason: str = 'both nodes run it') -> None:
    """The master's service: downloads, and updates that end at once."""

    def work(request: Request) -> dict[str, Any] | Exception:
        if request.kind in ('download', 'update'):
            operated.image()
        if request.kind == 'download':
            return {'version': '1.1.0', 'digest': 'b' * 64}
        if request.kind == 'abort':
            return {'update_id': request.args['update_id']}
        number = operated.update()
        operated.move(number, end, reason, reason=reason)
        return {'update_id': number, 'version': '1.1.0'}

    operated.answer(work)


@pytest.mark.parametrize('name', COMMANDS)
def test_each_command_explains_itself_with_an_example(name: str) -> None:
    result = testing.run([name, '--help'])

    assert result.code == 0
    assert f'Example: ovca {name}' in ' '.join(result.out.split())


def test_node_list_as_json_has_what_a_script_needs(operated: Operated) -> None:
    operated.started()

    result = run(operated, 'node-list', '-f', 'json')

    assert result.code == 0, result.err
    row = json.loads(result.out)[0]
    assert (row['name'], row['role'], row['version'], row['health']) == ('mn1', 'master', '1.0.0', 'healthy')
    assert (row['ready'], row['last_seen_at'][-1]) == (True, 'Z')


def test_node_show_without_a_name_shows_this_node(operated: Operated) -> None:
    operated.started()

    result = run(operated, 'node-show', '-f', 'json')

    assert (result.json['name'], result.json['bmc']) == ('mn1', 'http://127.0.0.9/redfish/v1/Systems/1')


def test_master_show_works_on_the_standby(operated: Operated) -> None:
    operated.started()
    operated.configure('mn2')

    facts = run(operated, 'master-show', '-f', 'json').json

    assert (facts['master'], facts['this_node'], facts['is_this_node'], facts['epoch']) == ('mn1', 'mn2', False, 3)
    assert facts['acting'] is True


def test_image_list_and_image_show(operated: Operated) -> None:
    operated.started().image()

    rows, image = (
        run(operated, 'image-list', '-f', 'json').json,
        run(operated, 'image-show', '1.1.0', '-f', 'json').json,
    )

    assert [row['version'] for row in rows] == ['1.1.0']
    assert (image['update_from'], image['notes'], image['components']['mgmt']['files']) == ('1.0.0', 'better', 3)
    assert 'geheim' not in json.dumps([rows, image])
    assert run(operated, 'image-show', '1.1.0').code == 0


def test_update_list_and_update_show(operated: Operated) -> None:
    number = operated.started().update()
    operated.entry(number, step='installing', percent=40.0)
    operated.move(number, 'FAILED_DEGRADED', 'no luck', reason='no luck')

    rows = run(operated, 'update-list', '-f', 'json').json
    shown = run(operated, 'update-show', '-f', 'json').json
    table = run(operated, 'update-show', str(number)).out

    assert [(row['id'], row['state']) for row in rows] == [(number, 'FAILED_DEGRADED')]
    assert (shown['reason'], shown['entries'][0]['percent'], shown['events'][0]['to_state']) == (
        'no luck',
        40.0,
        'FAILED_DEGRADED',
    )
    assert 'update-retry' in shown['next_step']
    assert 'mn2: installing 40 %' in table


def test_a_pause_that_is_not_over_tells_since_when(operated: Operated) -> None:
    number = operated.started().update('VERIFY_1')
    operated.decides(number, 'pause', 'wait for the night shift', by='eva')

    table = run(operated, 'update-show').out

    assert re.search(r'pauses +pause by eva since \d\d:\d\d:\d\dZ: wait for', table), table


def test_download_tells_what_to_do_with_the_image(operated: Operated) -> None:
    operated.started()
    master(operated)

    result = run(operated, 'download', 'https://example.com/x.zip')

    assert result.code == 0, result.err
    assert result.out == 'image 1.1.0 is here; install it with `ovca activate 1.1.0`\n'


def test_an_empty_source_is_no_path(operated: Operated) -> None:
    operated.started()

    result = run(operated, 'download', '')

    assert (result.code, result.out) == (2, '')
    assert result.err.endswith('[no-uri]\n')


def test_a_path_is_made_absolute_for_the_service(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    operated.started()
    monkeypatch.chdir(operated.folder)

    result = run(operated, 'download', 'x.zip', '--no-wait')

    assert 'request 1' in result.out
    assert operated.requests()[0].args == {'uri': str(operated.folder / 'x.zip')}


def test_a_refused_image_is_one_sentence_and_the_status_of_its_kind(operated: Operated) -> None:
    operated.started()
    operated.answer(lambda request: ImageError('x.zip is not signed; get a signed bundle'))

    result = run(operated, 'update', 'https://example.com/x.zip', '--yes')

    assert (result.code, result.err) == (4, 'ovca: x.zip is not signed; get a signed bundle [image]\n')


def test_on_the_standby_a_command_that_changes_says_who_is_master(operated: Operated) -> None:
    operated.started().image()
    operated.configure('mn2')

    for argv in (['download', 'x'], ['activate', '1.1.0'], ['update', 'x'], ['update', 'x', '--yes']):
        result = run(operated, *argv)

        assert (result.code, result.err) == (
            7,
            'ovca: this node, mn2, is not the master; run the command on mn1 [not-master]\n',
        )


@pytest.mark.usefixtures('good')
def test_a_dry_run_shows_the_plan_and_asks_nobody(operated: Operated) -> None:
    operated.started().image()

    result = run(operated, 'activate', '1.1.0', '--dry-run')

    assert result.code == 0, result.err
    assert 'Update from 1.0.0 to 1.1.0: 6 steps, mn2 is the master after them.' in result.out
    assert operated.requests() == []


@pytest.mark.usefixtures('good')
def test_without_a_terminal_activate_wants_yes(operated: Operated) -> None:
    operated.started().image()

    result = run(operated, 'activate', '1.1.0')

    assert result.code == 6
    assert '--yes' in result.err
    assert operated.requests() == []


@pytest.mark.usefixtures('good')
def test_a_no_ends_it_and_says_how_to_begin_later(operated: Operated) -> None:
    operated.started().image()

    result = asked(operated, 'n', 'activate', '1.1.0')

    assert result.code == 6
    assert '`ovca activate 1.1.0` starts it later' in result.err
    assert operated.requests() == []


@pytest.mark.usefixtures('good')
def test_update_downloads_asks_once_and_ends_with_both_nodes(operated: Operated) -> None:
    operated.started()
    master(operated)

    result = asked(operated, 'y', 'update', 'https://example.com/x.zip')

    assert result.code == 0, result.err
    assert [r.kind for r in operated.requests()] == ['download', 'activate']
    assert result.err.count('[y/N]') == 1
    assert 'REQUESTED -> DONE' in result.err
    assert [line.split()[:2] for line in result.out.splitlines()[-3:-1]] == [['mn1', 'master'], ['mn2', 'standby']]
    assert result.out.splitlines()[-1] == 'update 1 is done: both nodes run 1.1.0'


def test_with_yes_one_request_does_it_all(operated: Operated) -> None:
    operated.started()
    master(operated)

    result = run(operated, 'update', 'https://example.com/x.zip', '--yes')

    assert result.code == 0, result.err
    assert [(r.kind, r.args) for r in operated.requests()] == [('update', {'uri': 'https://example.com/x.zip'})]
    assert 'Update from 1.0.0 to 1.1.0' in result.out


def test_an_update_that_has_begun_is_followed_although_its_plan_cannot_be_read(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> NoReturn:
        raise DatabaseUnavailable('the database cannot be used now')

    operated.started()
    master(operated)
    monkeypatch.setattr(Service, 'plan_of', away)

    result = run(operated, 'update', 'https://example.com/x.zip', '--yes')

    assert (result.code, result.out.splitlines()[-1]) == (0, 'update 1 is done: both nodes run 1.1.0'), result.err


def test_the_source_may_stand_in_the_configuration(operated: Operated) -> None:
    operated.started()

    missing = run(operated, 'update')
    operated.configure('mn1', '[update]\nuri = https://example.com/latest.zip\n')
    run(operated, 'update', '--yes', '--no-wait')

    assert missing.code == 2
    assert '[update] uri is not set' in missing.err
    assert operated.requests()[0].args == {'uri': 'https://example.com/latest.zip'}


@pytest.mark.usefixtures('good')
def test_an_update_that_fails_says_why_and_what_now_with_status_8(operated: Operated) -> None:
    operated.started().image()
    master(operated, 'FAILED_ROLLED_BACK', 'the new master stays unhealthy')

    result = run(operated, 'activate', '1.1.0', '--yes')

    assert result.code == 8
    assert 'ended FAILED_ROLLED_BACK: the new master stays unhealthy; 1.0.0 serves again' in result.err


@pytest.mark.usefixtures('good')
def test_an_open_update_to_the_same_version_is_followed(operated: Operated) -> None:
    operated.started().image()
    number = operated.update('PROVING')

    result = run(operated, 'activate', '1.1.0', '--no-wait')

    assert result.out == f'update {number} to 1.1.0 is going on already\n'
    assert operated.requests() == []


def test_a_failed_check_stops_activate_before_anything_is_asked_for(operated: Operated) -> None:
    operated.started().image()

    result = run(operated, 'activate', '1.1.0', '--yes')

    assert result.code == 6
    assert 'checks failed: ' in result.err
    assert operated.requests() == []


def test_check_lists_all_results_and_fails_if_one_does(operated: Operated) -> None:
    operated.started()

    result = run(operated, 'check', '--image-version', '1.1.0', '-f', 'json')

    found = {row['id']: row for row in json.loads(result.out)}
    assert found['nodes']['result'] == 'passed'
    assert found['version-path']['result'] == 'failed'
    assert 'ovca download' in found['version-path']['remedy']
    assert result.code == 6
    assert 'version-path' in result.err


@pytest.mark.parametrize('formatter', ['csv', 'json', 'table', 'value', 'yaml'])
def test_check_ends_alike_in_all_formats(operated: Operated, formatter: str) -> None:
    operated.started()

    result = run(operated, 'check', '--image-version', '1.1.0', '-f', formatter)

    assert result.code == 6
    assert 'version-path' in result.out
    assert result.err.endswith('the table has their remedies [checks-failed]\n')


def test_in_another_application_check_ends_alike(operated: Operated) -> None:
    operated.started()
    vendor = Vendor('--config-file')

    code = vendor.run('--config-file', str(operated.config_file), 'check', '-f', 'value', '-c', 'id')

    assert code == 6
    assert vendor.out.getvalue().split()[:2] == ['nodes', 'lease']
    assert vendor.err.getvalue().endswith('the table has their remedies [checks-failed]\n')


@pytest.mark.usefixtures('good')
def test_check_passes(operated: Operated) -> None:
    operated.started()

    result = run(operated, 'check')

    assert (result.code, result.err) == (0, '')
    assert 'both nodes are healthy' in result.out


def test_an_abort_shows_where_it_lands_before_it_asks(operated: Operated) -> None:
    number = operated.started().update('INSTALL_1')
    operated.wiped(number)
    master(operated)

    no = asked(operated, 'n', 'update-abort')
    yes = asked(operated, 'y', 'update-abort', '--reason', 'the rack moves')

    assert (no.code, yes.code) == (6, 0), yes.err
    assert 'FAILED_DEGRADED' in no.err
    assert [(r.kind, r.args) for r in operated.requests()] == [
        ('abort', {'update_id': number, 'reason': 'the rack moves'})
    ]


def test_an_update_that_is_over_cannot_be_aborted(operated: Operated) -> None:
    operated.started().update('DONE')

    result = run(operated, 'update-abort', '--yes')

    assert result.code == 6
    assert 'nothing to abort' in result.err


@pytest.mark.usefixtures('good')
def test_a_retry_follows_the_new_update(operated: Operated) -> None:
    number = operated.started().image().update('FAILED_DEGRADED')
    master(operated)

    result = run(operated, 'update-retry', '--yes')

    assert result.code == 0, result.err
    assert [(r.kind, r.args) for r in operated.requests()] == [('retry', {'update_id': number})]
    assert f'update {number + 1} is done' in result.out


def test_update_watch_picks_up_a_download_and_what_follows(operated: Operated) -> None:
    operated.started()
    run(operated, 'update', 'https://example.com/x.zip', '--yes', '--no-wait')
    master(operated)

    result = run(operated, 'update-watch')

    assert result.code == 0, result.err
    assert 'is done: both nodes run 1.1.0' in result.out


def test_update_watch_of_a_failed_update_fails(operated: Operated) -> None:
    number = operated.started().update()
    operated.move(number, 'ABORTED', 'a check fails', reason='a check fails')

    result = run(operated, 'update-watch', str(number))

    assert result.code == 12
    assert 'ovca activate 1.1.0' in result.err


def test_ctrl_c_leaves_the_update_alone_and_says_how_to_pick_it_up(operated: Operated) -> None:
    number = operated.started().update()
    operated.move(number, 'INSTALL_1', 'the checks pass')
    with subprocess.Popen(
        [sys.executable, '-m', 'ovca', '--config-file', str(operated.config_file), 'update-watch'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=20)[1]

    assert 'REQUESTED -> INSTALL_1: the checks pass' in first
    assert rest == f'ovca: interrupted; update {number} goes on, `ovca update-watch` picks it up [interrupted]\n'
    assert process.returncode == 130
    assert operated.service().update(number).state == 'INSTALL_1'


def test_on_a_terminal_the_table_of_both_nodes_is_drawn(operated: Operated) -> None:
    number = operated.started().update()
    operated.entry(number, step='installing', percent=40.0)
    operated.move(number, 'DONE', 'both nodes run [it]', reason='x')
    out, err = io.StringIO(), Terminal()

    code = OvcaApp(stdout=out, stderr=err).run(['--config-file', str(operated.config_file), 'update-watch'])

    assert code == 0
    assert 'both nodes run [it]' in err.getvalue()
    for word in ('mn2 (first)', 'mn1 (second)', 'installing 40 %', f'update {number} to 1.1.0: DONE'):
        assert word in err.getvalue()


def test_a_reader_that_goes_away_is_no_mistake(operated: Operated) -> None:
    operated.started()
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, '-m', 'ovca', '--config-file', str(operated.config_file), 'node-list']

    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    os.close(write)

    assert 'Traceback' not in done.stderr


@pytest.mark.usefixtures('good')
def test_a_downgrade_is_asked_for_in_words_and_reaches_the_master(operated: Operated) -> None:
    operated.started().image('0.9', 'c' * 64)
    master(operated)

    result = asked(operated, 'y', 'activate', '0.9', '--allow-downgrade', '--no-wait')

    assert result.code == 0, result.err
    assert 'Downgrade both nodes to 0.9? [y/N]' in result.err
    assert 'Downgrade from 1.0.0 to 0.9' in result.out
    assert operated.requests()[0].args == {'version': '0.9', 'allow_downgrade': True}


def test_check_names_the_downgrade_that_nobody_allows(operated: Operated) -> None:
    operated.started().image('0.9', 'c' * 64)

    result = run(operated, 'check', '--image-version', '0.9', '--allow-downgrade', '-f', 'json')

    found = {row['id']: row for row in result.json}['version-path']
    assert (found['result'], result.code) == ('failed', 6)
    assert '0.9 is older than the installed 1.0.0' in found['detail']
