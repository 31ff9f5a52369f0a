"""Cables: every node reaches the others through its own, and each can be cut."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from labkit import until

from ovca.lab import network, processes, spec
from ovca.lab.lab import Lab
from ovca.lab.spec import LabError

pytestmark = pytest.mark.extra('lab')


@pytest.fixture
def appliance(lab):
    found = Lab(lab)
    try:
        found.start(power=False)
        yield found
    finally:
        found.stop()


@pytest.fixture
def peer(lab):
    """What mn1 reaches by its cable ``peer``: it sends back what it gets, in capitals."""
    server = socket.create_server((lab.node('mn2').address, spec.STATUS_PORT))

    def serve():
        while True:
            try:
                talk, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(talk,), daemon=True).start()

    def answer(talk):
        with talk, contextlib.suppress(ConnectionResetError):
            while data := talk.recv(100):
                talk.sendall(data.upper())

    threading.Thread(target=serve, daemon=True).start()
    yield server
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def connect(lab):
    talk = socket.create_connection((lab.node('mn1').cables, spec.STATUS_PORT), timeout=5)
    talk.settimeout(5)
    return talk


def says(talk, text):
    talk.sendall(text)
    return talk.recv(100)


def test_a_cable_carries_both_ways(lab, appliance, peer):
    with connect(lab) as talk:
        assert says(talk, b'hello') == b'HELLO'


def test_a_cut_cable_drops_its_connections_and_refuses_new_ones_until_it_is_mended(lab, appliance, peer):
    with connect(lab) as talk:
        assert says(talk, b'one') == b'ONE'

        appliance.cut('mn1', 'peer')

        with pytest.raises(ConnectionResetError):
            talk.recv(100)
        with pytest.raises(ConnectionRefusedError):
            connect(lab)

    appliance.mend('mn1', 'peer')

    with connect(lab) as talk:
        assert says(talk, b'four') == b'FOUR'


def test_a_silent_cable_swallows_all_until_it_is_mended(lab, appliance, peer):
    with connect(lab) as old:
        assert says(old, b'one') == b'ONE'

        appliance.silence('mn1', 'peer')

        with connect(lab) as new:
            for talk in (old, new):
                talk.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    says(talk, b'two')

            appliance.mend('mn1', 'peer')

            for talk in (old, new):
                talk.settimeout(5)
                assert talk.recv(100) == b'TWO', 'what was underway arrives'


def test_a_silent_cable_can_be_cut(lab, appliance, peer):
    with connect(lab) as talk:
        assert says(talk, b'one') == b'ONE'
        appliance.silence('mn1', 'peer')
        talk.sendall(b'two')

        appliance.cut('mn1', 'peer')

        with pytest.raises(ConnectionResetError):
            talk.recv(100)
    assert appliance.status()[0].cut == ('peer',)


def test_a_silent_cable_is_told_and_stays_silent_when_the_lab_is_started_again(appliance):
    appliance.silence('mn2', 'boot')
    appliance.stop()
    appliance.start(power=False)

    assert appliance.status()[1].cut == ('boot (silent)',)


def test_only_the_cut_cable_is_cut(appliance):
    appliance.cut('mn1', 'bmc-mn2')

    assert {status.node: status.cut for status in appliance.status()} == {'mn1': ('bmc-mn2',), 'mn2': ()}


def test_all_cables_are_cut_and_mended_at_once(appliance):
    appliance.cut('mn1')
    assert set(appliance.status()[0].cut) == {'bmc-mn1', 'bmc-mn2', 'boot', 'boot-tls', 'peer'}

    appliance.mend('mn1')
    assert appliance.status()[0].cut == ()


def test_what_is_cut_stays_cut_when_the_lab_is_started_again(appliance):
    appliance.cut('mn2', 'boot')
    appliance.stop()
    appliance.start(power=False)

    assert appliance.status()[1].cut == ('boot',)


def test_a_cable_that_does_not_exist_is_named_with_those_that_do(appliance):
    with pytest.raises(LabError, match='mn1 has no cable database; it has: bmc-mn1'):
        appliance.cut('mn1', 'database')


def test_a_lab_that_does_not_run_says_so(lab):
    with pytest.raises(LabError, match='start the lab'):
        Lab(lab).cut('mn1', 'peer')


@pytest.mark.parametrize(
    ('url', 'seen'),
    [
        ('postgresql://ovca:secret@db.example.com/ovca', 'postgresql://ovca:secret@{cables}:5432/ovca'),
        ('postgresql://127.0.0.1:5999/x?sslmode=disable', 'postgresql://{cables}:5432/x?sslmode=disable'),
        ('sqlite:////var/x.sqlite', 'sqlite:////var/x.sqlite'),
    ],
)
def test_a_node_reaches_a_database_server_through_its_own_cable(tmp_path, url, seen):
    lab = spec.new(tmp_path, database=url, version='1.0.0')
    node = lab.node('mn1')

    assert network.through_cable(lab, node) == seen.format(cables=node.cables)
    names = {cable.name for cable in network.cables(lab, node)}
    assert ('database' in names) == url.startswith('postgresql')


def test_stopping_a_lab_ends_its_processes_and_no_others(lab, appliance, tmp_path):
    mine = processes.Process.of(os.getpid())
    mine.write(lab.run / 'stranger.pid')
    started = [processes.Process.read(lab.run / f'{name}.pid') for name in ('network', 'bmc-mn1', 'bmc-mn2')]
    assert all(started)

    appliance.stop()

    assert not any(process.alive for process in started)
    assert mine.alive


def test_a_lab_stops_when_its_owner_dies_by_any_means(lab):
    code = (
        'import os, sys, time; from pathlib import Path; from ovca.lab.lab import Lab\n'
        f'lab = Lab.open(Path({str(lab.folder)!r})); lab.start(owner=os.getpid(), power=False)\n'
        'lab.power_on("mn1"); print("ready", flush=True); time.sleep(600)'
    )
    owner = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == 'ready\n'
        running = [processes.Process.read(lab.run / f'{name}.pid') for name in ('network', 'bmc-mn1', 'bmc-mn2')]
        running.append(processes.Process.read(lab.node('mn1').pid))
        assert all(running)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()

    until(lambda: not any(process.alive for process in running))
