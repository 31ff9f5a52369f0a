"""``check``, and how warnings of checks are accepted."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from ovca import testing
from ovca.cli.app import OvcaApp
from ovca.db.models import Lease, Request
from ovca.remaster import checks
from ovca.remaster.checks import CheckResult, Result
from tests.operated import OLD, Operated

WARNING = CheckResult('backup', Result.WARNING, 'there is no backup', 'make one', {'newest_at': None})
FAILED = CheckResult('bmc', Result.FAILED, 'mn2: no answer', 'look at it')
PASSED = CheckResult('nodes', Result.PASSED, 'both nodes are healthy', facts={'mn1': {'health': 'healthy'}})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(operated: Operated, *argv: str) -> testing.Result:
    return testing.run(argv, config_file=operated.config_file)


def asked(operated: Operated, answer: str, *argv: str) -> testing.Result:
    """Run a command with a person who answers."""
    out, err = io.StringIO(), io.StringIO()
    app = OvcaApp(stdin=Terminal(f'{answer}\n'), stdout=out, stderr=err)
    code = app.run(['--config-file', str(operated.config_file), *argv])
    return testing.Result(code, out.getvalue(), err.getvalue())


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[CheckResult]:
    """What the checks come to."""
    found = [PASSED]
    monkeypatch.setattr(checks, 'run_all', lambda *args, **kwargs: list(found))
    return found


@pytest.fixture
def ready(operated: Operated, results: list[CheckResult]) -> Operated:
    """A master whose service carries out what it is asked, and an image; one check warns."""

    def work(request: Request) -> dict[str, Any]:
        number = operated.update()
        operated.move(number, 'DONE', 'both nodes run it', reason='both nodes run it')
        return {'update_id': number, 'version': '1.1.0'}

    results.append(WARNING)
    operated.started().image().answer(work)
    return operated


def test_json_has_the_facts_of_each_check(operated: Operated, results: list[CheckResult]) -> None:
    operated.started()

    found = run(operated, 'check', '-f', 'json')

    assert (found.code, json.loads(found.out)[0]['facts']) == (0, {'mn1': {'health': 'healthy'}})
    assert 'facts' not in run(operated, 'check').out


def test_a_check_that_fails_gives_status_6(operated: Operated, results: list[CheckResult]) -> None:
    results += [WARNING, FAILED]

    found = run(operated.started(), 'check')

    assert (found.code, 'checks-failed' in found.err, 'look at it' in found.out) == (6, True, True)


def test_a_warning_gives_status_6_until_it_is_accepted_by_name(operated: Operated, results: list[CheckResult]) -> None:
    results.append(WARNING)
    operated.started()

    refused, other, accepted = (
        run(operated, 'check', *more) for more in ((), ('--accept', 'bmc'), ('--accept', 'backup'))
    )

    assert (refused.code, other.code, accepted.code) == (6, 6, 0)
    assert 'add --accept backup [warning-not-accepted]' in ' '.join(refused.err.split())


def test_named_checks_run_alone_and_show_their_facts(operated: Operated) -> None:
    operated.started()

    found = run(operated, 'check', 'lease', 'version-path')

    assert found.code == 0, found.err
    assert 'epoch: 3' in found.out and 'nodes' not in found.out
    assert 'mn1.health: healthy' in run(operated, 'check', 'nodes', '--max-width', '200').out


def test_a_check_that_is_not_there_is_named(operated: Operated) -> None:
    found = run(operated.started(), 'check', 'lese')

    assert (found.code, 'no-check' in found.err) == (2, True)


def test_a_script_is_refused_with_the_words_to_add(ready: Operated) -> None:
    found = run(ready, 'activate', '--yes', '1.1.0')

    assert (found.code, ready.requests()) == (6, [])
    assert 'add --accept backup [warning-not-accepted]' in ' '.join(found.err.split())


@pytest.mark.parametrize('command', [('activate', '1.1.0'), ('update', 'https://example.com/x.zip')])
def test_a_script_accepts_by_name(ready: Operated, command: tuple[str, ...]) -> None:
    found = run(ready, *command, '--yes', '--accept', 'backup')

    assert found.code == 0, found.err
    assert ready.requests()[-1].args['accept'] == ['backup']


def test_on_a_terminal_the_one_question_covers_the_warnings(ready: Operated) -> None:
    found = asked(ready, 'y', 'activate', '1.1.0')

    assert found.code == 0, found.err
    assert 'Warning, backup: there is no backup; make one' in found.out
    assert ready.requests()[-1].args['accept'] == ['backup']


def test_on_a_terminal_no_means_no(ready: Operated) -> None:
    assert asked(ready, 'n', 'activate', '1.1.0').code == 6
    assert ready.requests() == []


def test_yes_on_a_terminal_accepts_no_warning(ready: Operated) -> None:
    assert asked(ready, '', 'activate', '--yes', '1.1.0').code == 6
    assert ready.requests() == []


def test_a_dry_run_shows_the_warnings_and_what_a_script_adds(ready: Operated) -> None:
    found = run(ready, 'activate', '--dry-run', '1.1.0')

    assert (found.code, 'a script adds --accept backup' in found.out) == (0, True)


def test_who_asks_for_a_downgrade_has_accepted_that_it_is_one(ready: Operated, results: list[CheckResult]) -> None:
    results[:] = [CheckResult('version-path', Result.WARNING, '1.1.0 will be downgraded to 1.0.0', 'go on only if ...')]

    assert run(ready, 'activate', '--yes', '--allow-downgrade', '1.1.0').code == 0


def test_a_retry_is_refused_and_accepted_as_well(ready: Operated) -> None:
    ready.update('FAILED_DEGRADED')

    assert run(ready, 'update-retry', '--yes').code == 6
    assert run(ready, 'update-retry', '--yes', '--accept', 'backup').code == 0
    assert ready.requests()[-1].args['accept'] == ['backup']


def test_the_installation_of_one_node_is_refused_and_accepted_as_well(ready: Operated) -> None:
    ready.image('1.0.0', OLD)

    refused = run(ready, 'node-reinstall', 'mn2', '--yes')

    assert (refused.code, ready.requests()) == (6, [])
    assert 'add --accept backup [warning-not-accepted]' in ' '.join(refused.err.split())
    assert run(ready, 'node-reinstall', 'mn2', '--yes', '--accept', 'backup').code == 0
    assert ready.requests()[-1].args == {'node': 'mn2', 'accept': ['backup']}


def test_on_a_terminal_the_question_before_the_wipe_covers_the_warnings(ready: Operated) -> None:
    found = asked(ready.image('1.0.0', OLD), 'y', 'node-reinstall', 'mn2')

    assert found.code == 0, found.err
    assert 'Warning, backup: there is no backup; make one' in found.out
    assert ready.requests()[-1].args['accept'] == ['backup']


def test_a_check_that_fails_lets_nobody_be_asked_for_a_wipe(ready: Operated, results: list[CheckResult]) -> None:
    results.append(FAILED)

    found = asked(ready.image('1.0.0', OLD), 'y', 'node-reinstall', 'mn2')

    assert (found.code, '[y/N]' in found.err, ready.requests()) == (6, False, [])
    assert '[checks-failed]' in found.err


def test_the_software_that_runs_has_to_be_on_the_storage_before_anybody_is_asked(ready: Operated) -> None:
    found = asked(ready, 'y', 'node-reinstall', 'mn2')

    assert (found.code, '[no-running-image]' in found.err, ready.requests()) == (6, True, [])


def test_a_new_machine_is_checked_by_the_master_once_it_is_noted(ready: Operated) -> None:
    ready.silent(60)
    with ready.database.write() as session:
        session.get_one(Lease, 'management').renewed_at = ready.database.now(session)

    found = run(ready, 'node-replace', 'mn2', '--yes', '--accept', 'backup')

    assert (found.code, ready.requests()[-1].args) == (0, {'node': 'mn2', 'accept': ['backup']}), found.err
