"""The checks that an image brings: real programs, run from the published tree."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import pytest

from ovca.db.models import Image
from ovca.remaster.checks import CheckResult, Result, run_all

from .conftest import Checked

PLACE = 'usr/libexec/ovca/checks/racks'
GOOD = '{"result": "passed", "detail": "all doors are closed", "facts": {"doors": 4}}'


def says(text: str, *, before: str = '', status: int = 0) -> str:
    return f"#!/bin/sh\n{before}\ncat <<'END'\n{text}\nEND\nexit {status}\n"


def brought(checked: Checked, program: str) -> CheckResult:
    """What a check comes to that an image brings."""
    checked.image(checks={PLACE: program})
    return checked.check('image:racks', '1.1.0')


def test_its_answer_is_the_result_with_its_facts(checked: Checked) -> None:
    found = brought(checked, says(GOOD))

    assert (found.result, found.detail, found.facts) == ('passed', 'all doors are closed', {'doors': 4})


@pytest.mark.parametrize('result', ['warning', 'failed', 'skipped'])
def test_each_result_can_be_given(checked: Checked, result: str) -> None:
    found = brought(checked, says(json.dumps({'result': result, 'detail': 'a door is open', 'remedy': 'close it'})))

    assert (found.result, found.remedy) == (result, 'close it')


def test_it_is_told_the_nodes_and_the_versions_and_nothing_of_our_environment(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('OVCA_SECRET', 'geheim')
    program = """#!/usr/bin/python3 -I
import json, os, sys
told = json.load(sys.stdin)
facts = {'told': told, 'env': sorted(os.environ), 'here': os.listdir('.'), 'tree': os.environ['OVCA_TREE']}
print(json.dumps({'result': 'passed', 'detail': 'fine', 'facts': facts}))
"""

    found = brought(checked, program)

    assert found.result is Result.PASSED, found
    assert (found.facts['told']['version'], found.facts['told']['running_version']) == ('1.1.0', '1.0.0')
    assert [node['name'] for node in found.facts['told']['nodes']] == ['mn1', 'mn2']
    assert set(found.facts['env']) - {'LC_CTYPE'} == {'HOME', 'LANG', 'OVCA_TREE', 'PATH', 'TMPDIR'}
    assert found.facts['here'] == []
    assert Path(found.facts['tree'], PLACE).is_file()


def test_a_status_that_is_not_0_fails_with_the_first_line_of_its_errors(checked: Checked) -> None:
    found = brought(checked, says(GOOD, before="printf 'no rack\\033[2J\\nmore' >&2", status=3))

    assert found.result is Result.FAILED
    assert found.detail == f'the check {PLACE} of image 1.1.0: no rack\\x1b[2J (status 3)'


@pytest.mark.parametrize(
    ('answer', 'words'),
    [
        ('hello', 'not of the right form'),
        ('{"result": "perfect", "detail": "x"}', 'not of the right form'),
        ('{"result": "passed"}', "'detail' is missing"),
        ('{"result": "passed", "detail": ""}', 'empty detail'),
        ('{"result": "passed", "detail": "a\\nb"}', 'one line'),
        ('{"result": "passed", "detail": "\\u001b[2J"}', 'control characters'),
        ('{"result": "passed", "detail": "x", "facts": []}', "'facts' is no object"),
        ('{"result": "passed", "detail": "x", "detail": "y"}', 'is there twice'),
    ],
)
def test_an_answer_of_the_wrong_form_fails(checked: Checked, answer: str, words: str) -> None:
    found = brought(checked, says(answer))

    assert (found.result, words in found.detail) == ('failed', True), found


def test_one_that_says_too_much_is_stopped(checked: Checked) -> None:
    found = brought(checked, '#!/bin/sh\nexec cat /dev/zero\n')

    assert (found.result, 'it says more than 65536 bytes' in found.detail) == ('failed', True)


def test_one_that_takes_too_long_is_killed_with_what_it_has_started(checked: Checked, tmp_path: Path) -> None:
    checked.config.set('check', image_timeout=1)
    pid = tmp_path / 'pid'

    found = brought(checked, f'#!/bin/sh\nsleep 600 &\necho $! > {pid}\nwait\n')

    assert (found.result, 'it took longer than 1 s' in found.detail) == ('failed', True)
    assert gone(int(pid.read_text()))


def test_what_it_leaves_behind_does_not_keep_its_answer_back(checked: Checked, tmp_path: Path) -> None:
    pid = tmp_path / 'pid'

    found = brought(checked, says(GOOD, before=f'sleep 600 &\necho $! > {pid}'))

    assert found.result is Result.PASSED
    assert gone(int(pid.read_text()))


def test_where_there_is_no_room_for_a_program_its_check_fails_and_says_what_to_do(
    checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'gone'))

    found = brought(checked, says(GOOD))

    assert (found.result, found.remedy) == ('failed', 'make room there, then run `ovca check` again')
    assert found.detail.startswith(
        f'the check {PLACE} of image 1.1.0 cannot be run: No such file or directory: {tmp_path}'
    )


def gone(pid: int) -> bool:
    """Whether a process ends; one that was killed is there until somebody has waited for it."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
            if ') Z ' in Path(f'/proc/{pid}/stat').read_text():
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def test_a_program_that_was_changed_is_not_run(checked: Checked, tmp_path: Path) -> None:
    checked.image(checks={PLACE: says(GOOD)})
    (program,) = checked.config.shared.rglob('racks')
    program.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\n')

    found = checked.check('image:racks', '1.1.0')

    assert (found.result, 'bundle-damaged' in found.detail) == ('failed', True)
    assert not (tmp_path / 'ran').exists()


def test_a_list_of_files_that_was_changed_is_not_believed(checked: Checked) -> None:
    checked.image(checks={PLACE: says(GOOD)})
    (listing,) = checked.config.shared.rglob('files.json')
    listing.chmod(0o644)
    listing.write_bytes(listing.read_bytes() + b'\n')

    assert 'not the list that the image came with' in checked.check('image:racks', '1.1.0').detail


def test_of_a_damaged_image_nothing_is_run(checked: Checked) -> None:
    checked.image(checks={PLACE: says(GOOD)}, files={'etc/motd': 'hello'})
    (motd,) = checked.config.shared.rglob('tree/etc/motd')
    motd.write_text('hallo')

    results = {r.id: r.result for r in run_all(checked.config.load(), checked.database, '1.1.0')}

    assert (results['image'], results['image:racks']) == ('failed', 'skipped')


def test_of_an_image_without_a_signature_nothing_is_run_unless_that_is_allowed(checked: Checked) -> None:
    checked.image(checks={PLACE: says(GOOD)})
    with checked.database.write() as session:
        session.get_one(Image, '1.1.0').signed_by = None

    assert 'is not signed' in checked.check('image:racks', '1.1.0').detail
    checked.config.set('image', require_signature=False)
    assert checked.check('image:racks', '1.1.0').result is Result.PASSED


def test_a_list_of_checks_that_leaves_the_tree_is_refused(checked: Checked) -> None:
    checked.image(checks={PLACE: says(GOOD)})
    with checked.database.write() as session:
        row = session.get_one(Image, '1.1.0')
        row.manifest = {**row.manifest, 'checks': ['../../../bin/true']}

    results = run_all(checked.config.load(), checked.database, '1.1.0', only=['image:manifest'])

    assert [(r.id, r.result) for r in results] == [('image:manifest', 'failed')]
