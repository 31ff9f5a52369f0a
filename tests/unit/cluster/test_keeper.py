"""The keeper on a real lease: what becomes of a hand-over that is given up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ovca.cluster.keeper import Keeper
from ovca.cluster.lease import Lease
from ovca.db import schema
from ovca.db.engine import Database


@pytest.mark.parametrize('noted', [False, True], ids=['before the demotion', 'after the demotion'])
def test_a_master_whose_hand_over_is_given_up_serves_again(tmp_path: Path, noted: bool) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    schema.prepare(database)
    lease = Lease(database, 'mn1', 'run-1', ttl=30)
    lease.ensure_row()
    conf: Any = SimpleNamespace(
        cluster=SimpleNamespace(peer='mn2', ttl=30, renew_interval=10, self_demote=20, poll_interval=0.1)
    )
    served: list[int] = []
    keeper = Keeper(
        conf,
        lease,
        eligible=lambda: True,
        fence=lambda: 'mn2 was seen to be off',
        serve=served.append,
        stop_serving=lambda: None,
    )
    while keeper.epoch is None:
        keeper.tick()
    epoch = keeper.epoch

    keeper.demoting(epoch)
    if noted:
        lease.demote(epoch)
    keeper.tick()
    while_handing_over = keeper.epoch
    keeper.give_up()
    for _ in range(3):
        keeper.tick()
    view = lease.read()
    keeper.close()
    database.dispose()

    assert while_handing_over is None, 'it served in the middle of its hand-over'
    assert (keeper.epoch, view.acting) == (view.epoch, True)
    assert served == [epoch, view.epoch]
    assert view.epoch == epoch + noted, 'a noted demotion is final for its epoch'
