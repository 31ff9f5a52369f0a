"""The drivers that tell people, and what their base promises."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from oslo_config import cfg

from ovca import conf, notify
from ovca.exceptions import ConfigError, PluginError
from ovca.notify import Message, Notifier, NotifyError
from ovca.notify.fake import FakeNotifier

MESSAGE = Message(
    'alarm',
    dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    'mn1',
    'It hurts.',
    7,
    'PROVING',
)
Configured = Callable[..., cfg.ConfigOpts]
Script = Callable[[str], str]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """A configuration with these options in its group [notify]."""

    def write(**options: str) -> cfg.ConfigOpts:
        path = tmp_path / 'ovca.conf'
        path.write_text('[notify]\n' + ''.join(f'{name} = {value}\n' for name, value in options.items()))
        return conf.load(str(path))

    return write


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Write a Python program; return the command that runs it."""

    def write(source: str) -> str:
        path = tmp_path / 'tell me.py'
        path.write_text(source)
        return f"{sys.executable} '{path}'"

    return write


def test_only_the_named_drivers_are_loaded_and_in_their_order(configured: Configured) -> None:
    loaded = notify.load(configured(drivers='log,fake,log'))

    assert [notifier.name for notifier in loaded] == ['log', 'fake']


def test_a_driver_that_is_not_there_is_named(configured: Configured) -> None:
    with pytest.raises(PluginError, match=r"ovca.notify: there is no 'pager'; installed are: command, fake, log"):
        notify.load(configured(drivers='pager'))


def test_a_message_travels_as_json_with_its_time_in_utc() -> None:
    assert json.loads(json.dumps(MESSAGE.as_dict())) == {
        'kind': 'alarm',
        'at': '2026-11-24T02:00:00Z',
        'node': 'mn1',
        'text': 'It hurts.',
        'update_id': 7,
        'state': 'PROVING',
    }


def test_whatever_a_driver_raises_becomes_a_sentence_with_its_name(configured: Configured) -> None:
    class Chat(Notifier):
        def _send(self, message: Message) -> None:
            raise KeyError('room')

    with pytest.raises(NotifyError, match=r"^notifier Chat: KeyError: 'room'; see \[notify\]") as caught:
        Chat(configured()).send(MESSAGE)

    assert isinstance(caught.value.__cause__, KeyError)


def test_the_fake_remembers_and_can_be_broken(configured: Configured) -> None:
    fake = FakeNotifier(configured())
    fake.send(MESSAGE)
    fake.broken = 'no line'

    with pytest.raises(NotifyError, match='no line'):
        fake.send(MESSAGE)

    assert (fake.sent, fake.tried) == ([MESSAGE], 2)


def test_the_log_gets_one_line(configured: Configured, caplog: pytest.LogCaptureFixture) -> None:
    (notifier,) = notify.load(configured(drivers='log'))

    notifier.send(MESSAGE)

    (record,) = [record for record in caplog.records if record.name == 'ovca.notify.log']
    assert record.levelname == 'ERROR'
    assert json.loads(record.message.removeprefix('NOTICE ')) == MESSAGE.as_dict()


def test_a_command_reads_the_message_as_json(configured: Configured, script: Script, tmp_path: Path) -> None:
    program = script(f'import sys; open({str(tmp_path / "got")!r}, "w").write(sys.stdin.read())')
    (notifier,) = notify.load(configured(drivers='command', command=program))

    notifier.send(MESSAGE)

    assert json.loads((tmp_path / 'got').read_text()) == MESSAGE.as_dict()


def test_no_shell_reads_the_command(configured: Configured, script: Script, tmp_path: Path) -> None:
    program = script('import sys; sys.exit(" ".join(sys.argv[1:]))')
    (notifier,) = notify.load(configured(drivers='command', command=f'{program} a; touch $$(pwd)/"b c"'))

    with pytest.raises(NotifyError, match=r'a; touch \$\(pwd\)/b c'):
        notifier.send(MESSAGE)

    assert not list(tmp_path.glob('b*'))


def test_a_failing_command_is_told_with_the_last_line_that_it_said(configured: Configured, script: Script) -> None:
    program = script('import sys; print("a\\nno such number\\n", file=sys.stderr); sys.exit(3)')
    (notifier,) = notify.load(configured(drivers='command', command=program))

    with pytest.raises(NotifyError, match=r'^notifier command: .* ended with status 3: no such number; mend the '):
        notifier.send(MESSAGE)


def test_a_command_that_is_not_there_is_told(configured: Configured) -> None:
    (notifier,) = notify.load(configured(drivers='command', command='/nowhere/tell'))

    with pytest.raises(NotifyError, match='/nowhere/tell cannot be started: No such file or directory'):
        notifier.send(MESSAGE)


def test_a_command_that_hangs_is_killed_with_what_it_started(
    configured: Configured, script: Script, tmp_path: Path
) -> None:
    note = tmp_path / 'child'
    program = script(
        f'import subprocess; p = subprocess.Popen(["sleep", "600"]); '
        f'open({str(note)!r}, "w").write(str(p.pid)); p.wait()'
    )
    (notifier,) = notify.load(configured(drivers='command', command=program, timeout='2'))

    with pytest.raises(NotifyError, match='was killed after 2 s'):
        notifier.send(MESSAGE)

    assert ended(int(note.read_text()))


def test_a_command_that_leaves_its_work_to_another_has_taken_the_message(
    configured: Configured, script: Script, tmp_path: Path
) -> None:
    note = tmp_path / 'child'
    program = script(
        f'import subprocess; p = subprocess.Popen(["sleep", "600"]); open({str(note)!r}, "w").write(str(p.pid))'
    )
    (notifier,) = notify.load(configured(drivers='command', command=program, timeout='2'))

    notifier.send(MESSAGE)

    child = int(note.read_text())
    os.kill(child, signal.SIGTERM)  # so it was still at its work
    assert ended(child)


def test_of_a_command_that_says_very_much_the_end_is_kept(configured: Configured, script: Script) -> None:
    program = script('import sys; [sys.stderr.write("x" * 2**20) for _ in range(64)]; sys.exit("\\nno such number")')
    (notifier,) = notify.load(configured(drivers='command', command=program))

    tracemalloc.start()
    try:
        with pytest.raises(NotifyError, match='ended with status 1: no such number'):
            notifier.send(MESSAGE)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 8 * 2**20


def ended(process: int) -> bool:
    """Whether a process is gone, or only waits for its funeral; it may take a moment."""
    for _ in range(100):
        try:
            os.kill(process, 0)
            if f'{process} (sleep) Z' in Path(f'/proc/{process}/stat').read_text():
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(('command', 'id'), [('', 'notify-command'), ("tell 'me", 'config-value')])
def test_a_command_that_cannot_be_run_is_an_error_at_the_start(configured: Configured, command: str, id: str) -> None:
    with pytest.raises(ConfigError, match=r'\[notify\] command') as caught:
        notify.load(configured(drivers='command', command=command))

    assert caught.value.id == id
