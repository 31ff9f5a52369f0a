from __future__ import annotations

import json
from typing import Any

import pytest

from ovca.db.models import Request
from ovca.exceptions import OvcaError
from ovca.remaster.service import Service
from tests.operated import Operated
from tests.unit.cli.test_commands import asked, run


def test_downloads_are_listed_with_how_far_they_are(operated: Operated) -> None:
    service = operated.started().service()
    service.submit('update', uri='https://otto:geheim@example.com/x.zip?token=geheim')
    operated.progress(1, stage='download', done=5, total=10, bytes_per_second=2, seconds_left=3)
    service.submit('download', uri='/media/y.zip')
    service.submit('activate', version='1.1.0')

    rows = run(operated, 'download-list', '-f', 'json')
    table = run(operated, 'download-list')

    assert [(row['id'], row['kind'], row['state']) for row in rows.json] == [
        (2, 'download', 'waiting'),
        (1, 'update', 'running'),
    ]
    first = rows.json[1]
    assert (first['source'], first['stage'], first['done_bytes'], first['total_bytes']) == (
        'https://example.com/x.zip', 'download', 5, 10,
    )  # fmt: skip
    assert (first['bytes_per_second'], first['seconds_left'], first['created_by'], first['error']) == (
        2, 3, 'otto', None,
    )  # fmt: skip
    assert 'geheim' not in rows.out + table.out
    assert table.code == 0


def test_what_is_but_a_moment_has_no_bytes(operated: Operated) -> None:
    operated.started().service().submit('download', uri='/media/y.zip')
    operated.progress(1, stage='publish', done=1, total=1)

    (row,) = run(operated, 'download-list', '-f', 'json').json

    assert (row['stage'], row['done_bytes'], row['total_bytes']) == ('publish', None, None)


def test_ctrl_c_in_the_download_of_an_update_says_that_none_was_begun(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    operated.started()
    monkeypatch.setattr(Service, 'wait', pressed)

    result = run(operated, 'update', 'https://example.com/x.zip')

    assert result.code == 130
    assert result.err == (
        'ovca: interrupted; the download goes on, `ovca update-watch` picks it up; no update was begun: repeat the '
        'command for that [interrupted]\n'
    )


def test_an_abort_says_what_it_ends_asks_once_and_waits(operated: Operated) -> None:
    service = operated.started().service()
    service.submit('download', uri='https://example.com/x.zip')
    operated.progress(1, stage='download', done=5_000_000, total=10_000_000)
    service.submit('download', uri='/media/y.zip')

    no = asked(operated, 'n', 'download-abort')
    yes = asked(operated, 'y', 'download-abort', '2')

    assert (no.code, no.out) == (6, '')
    assert no.err.splitlines()[0] == 'download 1 of https://example.com/x.zip: running, 5.00 MB received'
    assert 'Abort download 1? [y/N]' in no.err
    assert (yes.code, yes.out) == (0, 'download 2: aborted\n'), yes.err


def test_an_abort_that_comes_too_late_says_so(operated: Operated) -> None:
    operated.started().service().submit('download', uri='x')

    def work(request: Request) -> dict[str, Any]:
        return {'version': '1.1.0'}

    operated.progress(1, stage='publish', done=1, total=1)
    service = operated.service()
    service.abort_download(1)
    operated.finish(1, work(operated.requests()[0]))

    result = run(operated, 'download-abort', '1', '--yes')

    assert result.code == 6
    assert '[download-ended]' in result.err


def test_without_a_download_there_is_nothing_to_abort(operated: Operated) -> None:
    operated.started()

    for argv in (['download-abort', '--yes'], ['download-abort', '7', '--yes']):
        result = run(operated, *argv)

        assert result.code == 2
        assert '[no-download]' in result.err


def test_the_standby_aborts_nothing(operated: Operated) -> None:
    operated.started().service().submit('download', uri='x')
    operated.configure('mn2')

    result = run(operated, 'download-abort', '--yes')

    assert result.code == 7
    assert 'run the command on mn1' in result.err


def test_progress_for_a_program_is_an_object_a_line(operated: Operated) -> None:
    operated.started()

    def work(request: Request) -> dict[str, Any] | OvcaError:
        operated.progress(request.id, stage='download', done=5, total=10, bytes_per_second=5, seconds_left=1, text='x')
        return {'version': '1.1.0'}

    operated.answer(work)

    result = run(operated, 'download', 'https://example.com/x.zip', '--progress', 'json')

    assert result.code == 0, result.err
    told = [json.loads(line) for line in result.err.splitlines()]
    assert told[0] == {
        'kind': 'progress', 'stage': 'download', 'done_bytes': 5, 'total_bytes': 10, 'bytes_per_second': 5,
        'seconds_left': 1, 'text': 'x', 'notice': None,
    }  # fmt: skip
    assert result.out == 'image 1.1.0 is here; install it with `ovca activate 1.1.0`\n'


def test_an_update_for_a_program_is_events_and_states(operated: Operated) -> None:
    number = operated.started().update('PROVING')
    operated.entry(number, step='installing', percent=40.0)
    operated.move(number, 'DONE', 'both nodes run it', reason='both nodes run it')

    result = run(operated, 'update-watch', '--progress', 'json')

    assert result.code == 0, result.err
    told = [json.loads(line) for line in result.err.splitlines()]
    assert [each['kind'] for each in told] == ['event', 'update']
    assert (told[0]['event'], told[0]['to_state'], told[0]['at'][-1]) == ('state', 'DONE', 'Z')
    assert (told[1]['state'], told[1]['entries'][0]['percent']) == ('DONE', 40.0)


@pytest.mark.parametrize('words', [('download',), ('update', '--yes')])
def test_a_limit_for_the_rate_goes_with_the_request(operated: Operated, words: tuple[str, ...]) -> None:
    operated.started()

    done = run(operated, *words, '--no-wait', '--limit-rate', '20M', 'https://example.com/x.zip')
    wrong = run(operated, *words, '--no-wait', '--limit-rate', 'fast', 'https://example.com/x.zip')

    assert done.code == 0, done.err
    assert [request.args['limit_rate'] for request in operated.requests()] == [20 * 2**20]
    assert wrong.code == 2
    assert wrong.err.rstrip().endswith('[bad-rate]')
