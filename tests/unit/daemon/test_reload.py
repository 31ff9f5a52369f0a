from __future__ import annotations

import logging
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovca import conf
from ovca.daemon.reload import Reloader
from tests.conftest import free_port

PATIENCE = 60  # seconds; never reached when all is well
Write = Callable[[str], None]


@pytest.fixture
def reloader(config_file: Path) -> tuple[Reloader, conf.Configuration, list[str]]:
    """What waits for SIGHUP in ovcad, the configuration in use, and how often the service was woken."""
    woken: list[str] = []
    used = conf.load(str(config_file))
    return Reloader(used, str(config_file), queue.SimpleQueue(), changed=lambda: woken.append('woken')), used, woken


Given = tuple[Reloader, conf.Configuration, list[str]]


def test_what_can_change_at_once_does_and_the_rest_is_named(
    config_file: Path, reloader: Given, caplog: pytest.LogCaptureFixture
) -> None:
    waits, used, woken = reloader
    config_file.write_text('[cluster]\nttl = 60\nfence_timeout = 90\n[power]\ntimeout = 3\n')

    with caplog.at_level(logging.INFO, 'ovca.daemon.reload'):
        waits.once()

    said = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == 'ovca.daemon.reload']
    assert (used.cluster.fence_timeout, used.power.timeout, used.cluster.ttl) == (90, 3, 30)
    assert sorted(said) == [
        ('INFO', 'configuration: cluster.fence_timeout: 60.0 -> 90.0'),
        ('INFO', 'configuration: power.timeout: 10.0 -> 3.0'),
        (
            'WARNING',
            'the configuration was reloaded; a restart of ovca.service is needed for: cluster.ttl: 30.0 -> 60.0',
        ),
    ]
    assert woken == ['woken']


@pytest.mark.parametrize('text', ['[power]\ntimeout = soon\n', '[power]\ntimeout = 3\n[cluster]\nttl = 5\n', 'x'])
def test_a_wrong_configuration_changes_nothing(
    config_file: Path, reloader: Given, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    waits, used, woken = reloader
    config_file.write_text(text)

    changes = waits.once()

    said = [r.getMessage() for r in caplog.records if r.levelname == 'ERROR']
    assert (changes, woken, used.power.timeout) == ([], [], 10)
    assert len(said) == 1
    assert said[0].startswith(f'the configuration was not reloaded, the old one stays in use: {config_file}: ')


def test_a_file_that_is_gone_does_not_bring_the_defaults_back(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(conf, 'DEFAULT_PATH', str(config_file))
    monkeypatch.delenv(conf.ENVIRONMENT, raising=False)
    config_file.write_text('[power]\ntimeout = 3\n')
    used = conf.load()
    config_file.unlink()

    Reloader(used, None, queue.SimpleQueue(), changed=lambda: None).once()

    assert used.power.timeout == 3
    assert f'{config_file} is gone; put it back' in caplog.text


class Service:
    """A real ovcad, alone, on SQLite."""

    def __init__(self, folder: Path) -> None:
        self.config_file, self.log = folder / 'ovca.conf', folder / 'ovcad.log'
        ports = [free_port() for _ in range(3)]
        (folder / 'shared').mkdir()
        self.fixed = (
            f'[database]\nconnection = sqlite:///{folder}/ovca.sqlite\n'
            f'[image]\nshared_storage = {folder}/shared\n[provision]\nroot = {folder}\nsite_files = ovca.conf\n'
            f'[cluster]\nnode_name = mn1\nport = {ports[0]}\nboot_port = {ports[1]}\nboot_tls_port = {ports[2]}\n'
        )
        self.write('')
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'ovca.daemon', '--config-file', str(self.config_file)], stderr=log
            )

    def write(self, more: str) -> None:
        self.config_file.write_text(self.fixed + more)

    def said(self, pattern: str) -> str:
        """The line of the log, as soon as it is there."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(f'^.*{pattern}.*$', self.log.read_text(), re.MULTILINE):
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f'{pattern!r} is not in the log:\n{self.log.read_text()}')

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)


@pytest.fixture
def ovcad(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.process.kill()
    service.process.wait()


def test_ovcad_takes_over_a_new_configuration_on_sighup(ovcad: Service) -> None:
    ovcad.said('mn1: ovca .*, image')
    ovcad.write('fence_timeout = 90\nttl = 60\n')
    ovcad.hang_up()
    at_once = ovcad.said('fence_timeout')
    later = ovcad.said('a restart of ovca.service is needed')

    ovcad.write('fence_timeout = 120\nttl = 5\n')
    ovcad.hang_up()
    refused = ovcad.said('was not reloaded')
    ovcad.process.send_signal(signal.SIGTERM)
    code = ovcad.process.wait(PATIENCE)

    assert ' INFO reload ' in at_once
    assert at_once.endswith('configuration: cluster.fence_timeout: 60.0 -> 90.0')
    assert ' WARNING reload ' in later
    assert later.endswith('needed for: cluster.ttl: 30.0 -> 60.0')
    assert ' ERROR reload ' in refused
    assert 'ttl = 5 must rise in this order' in refused
    assert 'fence_timeout: 90.0 -> 120.0' not in ovcad.log.read_text()
    assert code == 0
