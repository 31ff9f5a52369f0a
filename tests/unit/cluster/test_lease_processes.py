"""The lease under real processes that contend, stop and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select

from ovca.cluster.lease import Lease
from ovca.db.engine import Database
from ovca.db.models import Event
from ovca.exceptions import DatabaseUnavailable, LeaseLost

Start = Callable[..., 'subprocess.Popen[str]']


@pytest.fixture
def start(database: Database, database_url: str) -> Iterator[Start]:
    """Start a node of ``lease_process.py``; it ends with the test."""
    Lease(database, 'test', 'test', ttl=30).ensure_row()
    nodes: list[subprocess.Popen[str]] = []

    def run(what: str, node: str, *, ttl: float, idle_timeout: float = 5) -> subprocess.Popen[str]:
        program = Path(__file__).with_name('lease_process.py')
        process = subprocess.Popen(
            [sys.executable, str(program), what, database_url, node, str(ttl), str(idle_timeout)],
            env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        nodes.append(process)
        return process

    yield run
    for node in nodes:
        node.kill()
        node.communicate()


def inside(node: subprocess.Popen[str]) -> None:
    assert node.stdout is not None
    assert node.stdout.readline() == 'inside\n'


def acts(database: Database) -> list[tuple[int | None, str | None]]:
    with database.read() as session:
        rows = session.execute(select(Event.epoch, Event.node).where(Event.kind == 'act').order_by(Event.id))
        return [(epoch, node) for epoch, node in rows]


def claim_when_expired(lease: Lease) -> int:
    """Claim as soon as the lease has expired; its holder is silent, so it will."""
    for _ in range(1000):
        view = lease.read()
        if view.expired:
            return lease.claim(view)
        threading.Event().wait(0.01)
    raise AssertionError('the lease does not expire')


def test_four_contending_nodes_never_act_beside_each_other(database: Database, start: Start) -> None:
    nodes = [start('contend', f'mn{n}', ttl=0.2) for n in range(4)]

    outputs = [node.communicate(timeout=60)[0] for node in nodes]

    assert outputs == ['done\n'] * 4
    history = acts(database)
    actors: dict[int | None, set[str | None]] = {}
    for epoch, node in history:
        actors.setdefault(epoch, set()).add(node)
    assert all(len(nodes_) == 1 for nodes_ in actors.values()), 'an epoch has one actor'
    epochs = [epoch or 0 for epoch, _ in history]
    assert all(before <= after for before, after in pairwise(epochs)), 'no act of an epoch that was over'
    assert len(actors) > 2, 'the lease has gone around'


@pytest.mark.parametrize('database_url', ['postgresql'], indirect=True)  # SQLite has no cure for it
def test_a_master_stopped_in_a_transaction_is_replaced_and_its_commit_fails(database: Database, start: Start) -> None:
    stopped = start('hold', 'mn1', ttl=1, idle_timeout=1)
    inside(stopped)
    stopped.send_signal(signal.SIGSTOP)
    successor = Lease(database, 'mn2', 'mn2-run', ttl=30)

    # It waits for the lock that the stopped one holds, until the server ends that one's session.
    epoch = claim_when_expired(successor)
    stopped.send_signal(signal.SIGCONT)
    out, _ = stopped.communicate('commit\n', timeout=20)

    assert out == 'DatabaseUnavailable\n'
    assert acts(database) == []
    assert successor.renew(epoch).holder == 'mn2'


@pytest.mark.parametrize('database_url', ['sqlite'], indirect=True)
def test_on_sqlite_a_stopped_writer_blocks_the_others_who_are_told_so(
    database: Database, database_url: str, start: Start
) -> None:
    stopped = start('hold', 'mn1', ttl=1)
    inside(stopped)
    stopped.send_signal(signal.SIGSTOP)
    impatient = Database(database_url, lock_timeout=0.2)
    successor = Lease(impatient, 'mn2', 'mn2-run', ttl=30)

    with pytest.raises(DatabaseUnavailable):
        claim_when_expired(successor)

    stopped.send_signal(signal.SIGCONT)
    assert stopped.communicate('commit\n', timeout=20)[0] == 'done\n'
    assert claim_when_expired(successor) == 2
    impatient.dispose()


def test_a_master_killed_in_a_transaction_leaves_nothing_and_is_replaced(database: Database, start: Start) -> None:
    killed = start('hold', 'mn1', ttl=1)
    inside(killed)

    killed.kill()
    killed.wait(20)
    epoch = claim_when_expired(Lease(database, 'mn2', 'mn2-run', ttl=30))

    assert epoch == 2
    assert acts(database) == []


def test_a_service_that_restarts_after_a_kill_takes_its_lease_up_again(database: Database, start: Start) -> None:
    killed = start('hold', 'mn1', ttl=30)
    inside(killed)
    killed.kill()
    killed.wait(20)
    again = Lease(database, 'mn1', 'mn1-second-run', ttl=30)

    epoch = again.reclaim()

    view = again.read()
    assert (epoch, view.acting, view.fence_proof) == (2, True, 'in this test nobody serves')
    with pytest.raises(LeaseLost):
        Lease(database, 'mn1', 'mn1-run', ttl=30).renew(1)
