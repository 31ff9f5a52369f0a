from __future__ import annotations

import sys
from pathlib import Path

from ovca import testing


def configured(folder: Path, text: str) -> Path:
    path = folder / 'ovca.conf'
    path.write_text(f'[cluster]\nnode_name = mn1\n[notify]\n{text}')
    return path


def test_each_driver_is_tried_and_one_that_fails_makes_the_command_fail(tmp_path: Path) -> None:
    program = tmp_path / 'tell.py'
    program.write_text('import sys; sys.exit("no such number")')
    config_file = configured(tmp_path, f'drivers = pager, command, fake\ncommand = {sys.executable} {program}\n')

    result = testing.run(['notify-test', '-f', 'json'], config_file=config_file)

    assert [(row['driver'], row['result']) for row in result.json] == [
        ('pager', 'failed'),
        ('command', 'failed'),
        ('fake', 'sent'),
    ]
    assert "there is no 'pager'" in result.json[0]['detail']
    assert 'ended with status 1: no such number' in result.json[1]['detail']
    assert result.code == 1
    assert '2 of 3 notifiers did not take the message: pager, command' in result.err
    assert '[not-notified]' in result.err


def test_a_message_that_all_take_is_success_and_says_that_it_is_a_test(tmp_path: Path) -> None:
    program, got = tmp_path / 'tell.py', tmp_path / 'got'
    program.write_text(f'import sys; open({str(got)!r}, "w").write(sys.stdin.read())')
    config_file = configured(tmp_path, f'drivers = command\ncommand = {sys.executable} {program}\n')

    result = testing.run(['notify-test', '-f', 'value'], config_file=config_file)

    assert (result.code, result.out.split(), result.err) == (0, ['command', 'sent'], '')
    assert '"kind": "test"' in got.read_text()
    assert 'This is a test: mn1 can tell you' in got.read_text()


def test_without_a_driver_there_is_nothing_to_try(tmp_path: Path) -> None:
    result = testing.run(['notify-test'], config_file=configured(tmp_path, ''))

    assert (result.code, result.out) == (3, '')
    assert '[notify] drivers is empty' in result.err
    assert '[no-notifier]' in result.err
