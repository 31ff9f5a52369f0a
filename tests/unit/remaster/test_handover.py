"""The hand-over to the new software: what is looked at again after the giver has stopped its roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovca.db.models import Node
from tests.mastered import Master
from tests.operated import NEW, Operated


@pytest.fixture
def operated(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    appliance = Operated(tmp_path, url=database_url).started().image('1.1.0', NEW)
    yield appliance
    appliance.close()


def due(operated: Operated, meanwhile: Callable[[Master], None]) -> Master:
    """mn2 runs the new software for longer than the soak; this happens to it while mn1 stops its roles."""
    master = Master(operated)
    operated.update('VERIFY_1')
    operated.entry(1, final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    master.change(Node, 'mn2', running_digest=NEW)
    master.later(130)
    master.while_stopping = lambda: meanwhile(master)
    return master


def reboots(master: Master) -> None:
    """The node starts anew, and says "ready" at once; its soak begins now."""
    if master.stopped == ['stopped']:
        master.change(Node, 'mn2', incarnation='mn2 runs again', boot_id='another', healthy_since=master.now())


def test_a_node_that_rebooted_while_the_giver_stopped_its_roles_is_not_given_the_lease(operated: Operated) -> None:
    master = due(operated, reboots)

    master.run()

    assert master.stopped == ['stopped', 'serves again']
    assert (master.lease.read().holder, master.update().state) == ('mn1', 'VERIFY_1')


def test_it_is_given_the_lease_after_another_soak(operated: Operated) -> None:
    master = due(operated, reboots)
    master.run()

    master.later(130)
    master.run()

    view = master.lease.read()
    assert (view.holder, view.incarnation, master.update().state) == ('mn2', 'mn2 runs again', 'PROVING')
