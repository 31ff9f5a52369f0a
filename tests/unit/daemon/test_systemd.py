"""What the service tells systemd, and that systemd's ear may be away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ovca.daemon import systemd


@pytest.fixture
def ear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the service manager listens."""
    path = tmp_path / 'notify'
    monkeypatch.setenv('NOTIFY_SOCKET', str(path))
    return path


def test_it_is_told(ear: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(ear))
        listener.settimeout(20)

        systemd.notify('WATCHDOG=1')

        assert listener.recv(100) == b'WATCHDOG=1'


def test_a_manager_that_is_away_ends_no_service(ear: Path, caplog: pytest.LogCaptureFixture) -> None:
    systemd.notify('READY=1')  # there is nobody yet
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(ear))

    systemd.notify('WATCHDOG=1')  # it is about to be executed anew

    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(' was not told')[0] for text in told] == ['READY=1', 'WATCHDOG=1']


def test_a_manager_that_does_not_listen_holds_no_service_up(ear: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(ear))
        listener.settimeout(20)

        for _ in range(1000):  # more than its queue holds
            systemd.notify('WATCHDOG=1')

        lost = len(caplog.records)
        assert 0 < lost < 1000
        heard = [listener.recv(100) for _ in range(1000 - lost)]
        assert set(heard) == {b'WATCHDOG=1'}
