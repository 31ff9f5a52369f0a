"""The acting master's care for the other node, as its log tells it."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path

import pytest

from ovca.cluster.peer import PeerCare
from ovca.db.models import Node
from ovca.exceptions import ConfigError
from ovca.power.base import Bmc, PowerDriver, PowerState
from ovca.power.fake import FakeMachine, FakePower
from tests.mastered import Master
from tests.operated import Operated


def test_a_peer_of_before_the_clock_was_put_back_is_looked_after(tmp_path: Path) -> None:
    operated = Operated(tmp_path).started()
    master = Master(operated)
    care = PeerCare(master.conf, master.lease, power=lambda node: FakePower(Bmc(node, 'fake://bmc')))
    found = {}
    for hours in (0, 1):
        with operated.database.write() as session:
            node = session.get_one(Node, 'mn2')
            node.last_seen_at = operated.database.now(session) + dt.timedelta(hours=hours)
            node.power_ordered_at = node.last_seen_at if hours else None
        with operated.database.read() as session:
            found[hours] = care.silent(session)
    operated.close()

    assert found == {0: False, 1: True}


@pytest.mark.parametrize('why', ['no way to its BMC', 'its BMC is silent'])
def test_a_bmc_that_cannot_be_asked_is_told_once_and_asked_all_the_same(
    tmp_path: Path, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    operated = Operated(tmp_path).started()
    master, machine = Master(operated), FakeMachine(power=PowerState.OFF)
    master.alive = {'mn1'}
    master.later(600)
    assert master.epoch is not None
    ways = [why]

    def power(node: str) -> PowerDriver:
        if ways == ['no way to its BMC']:
            raise ConfigError(f'there is no BMC for {node}; add it to [power] bmc', id='no-bmc')
        return FakePower(Bmc(node, 'fake://bmc'), machine=machine, sleep=lambda _: None)

    machine.vices.unreachable = why == 'its BMC is silent'
    caplog.set_level(logging.ERROR)
    care = PeerCare(master.conf, master.lease, power=power)
    done = [care.tick(master.epoch) for _ in range(5)]
    told = [record.getMessage() for record in caplog.records]
    ways.clear()
    machine.vices.unreachable = False
    done.append(care.tick(master.epoch))
    operated.close()

    assert done == [False] * 5 + [True]
    assert len(told) == 1 and 'mn2' in told[0], 'a node may be off for months'
