"""The keeper on a real lease: what becomes of a hand-over that is given up."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from ovca.cluster.keeper import Keeper
from ovca.cluster.lease import Lease
from ovca.db.engine import Database
from ovca.db.models import Event
from ovca.db.models import Lease as LeaseRow
from ovca.exceptions import DatabaseUnavailable, LeaseLost, PowerError
from ovca.testing import tables


@pytest.mark.parametrize('noted', [False, True], ids=['before the demotion', 'after the demotion'])
def test_a_master_whose_hand_over_is_given_up_serves_again(tmp_path: Path, noted: bool) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    lease = Lease(database, 'mn1', 'run-1', ttl=30)
    lease.ensure_row()
    conf: Any = SimpleNamespace(
        cluster=SimpleNamespace(peer='mn2', ttl=30, renew_interval=10, self_demote=20, poll_interval=0.1)
    )
    served: list[int] = []
    keeper = Keeper(
        conf,
        lease,
        eligible=lambda session: True,
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


def test_a_role_that_starts_slowly_does_not_cost_its_node_the_lease(tmp_path: Path) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    lease = Lease(database, 'mn1', 'run-1', ttl=30)
    lease.ensure_row()
    conf: Any = SimpleNamespace(
        cluster=SimpleNamespace(peer='mn2', ttl=30, renew_interval=0.1, self_demote=20, poll_interval=0.05)
    )
    kept: list[bool] = []

    def start(epoch: int) -> None:
        """It serves only when the lease has been renewed meanwhile; ten seconds are more than enough."""
        begun, end = lease.read().renewed_at, time.monotonic() + 10
        while lease.read().renewed_at == begun and time.monotonic() < end:
            time.sleep(0.02)
        kept.append(lease.read().renewed_at != begun)

    keeper = Keeper(
        conf,
        lease,
        eligible=lambda session: True,
        fence=lambda: 'mn2 was seen to be off',
        serve=start,
        stop_serving=lambda: None,
    )

    while keeper.epoch is None:
        keeper.tick()
    keeper.close()
    database.dispose()

    assert kept == [True], 'nobody renewed the lease while the role started'


def test_a_role_that_fails_in_an_unforeseen_way_ends_the_service(tmp_path: Path) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    lease = Lease(database, 'mn1', 'run-1', ttl=30)
    lease.ensure_row()
    conf: Any = SimpleNamespace(
        cluster=SimpleNamespace(peer='mn2', ttl=30, renew_interval=10, self_demote=20, poll_interval=0.05)
    )

    def broken(epoch: int) -> None:
        raise ZeroDivisionError('a mistake in a role')

    keeper = Keeper(
        conf,
        lease,
        eligible=lambda session: True,
        fence=lambda: 'mn2 was seen to be off',
        serve=broken,
        stop_serving=lambda: None,
    )

    with pytest.raises(ZeroDivisionError):
        while keeper.epoch is None:
            keeper.tick()
    keeper.close()
    database.dispose()


def test_a_master_that_served_nobody_for_a_while_says_for_how_long_when_it_serves_again(tmp_path: Path) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    lease, time = Lease(database, 'mn1', 'run-1', ttl=30), [100.0]
    lease.ensure_row()
    conf: Any = SimpleNamespace(
        cluster=SimpleNamespace(peer='mn2', ttl=30, renew_interval=10, self_demote=20, poll_interval=0.1)
    )
    served: list[int] = []
    keeper = Keeper(
        conf,
        lease,
        eligible=lambda session: True,
        fence=lambda: 'mn2 was seen to be off',
        serve=served.append,
        stop_serving=lambda: None,
        clock=lambda: time[0],
    )
    while keeper.epoch is None:
        keeper.tick()
    epoch = keeper.epoch

    time[0] += 20.5  # the database was away
    keeper.demote_if_stale()
    stopped = keeper.epoch
    time[0] += 24
    for _ in range(3):
        keeper.tick()
        time[0] += 11
    with database.read() as session:
        told = [event.detail for event in session.scalars(select(Event).where(Event.detail.contains('again')))]
    keeper.close()
    database.dispose()

    assert (stopped, keeper.epoch, served) == (None, epoch, [epoch, epoch])
    assert told == ['mn1 serves again: the lease could not be renewed, and nobody acted for 24.0 s']


class Bmc:
    """The other node's, as a claimant asks it to switch off: one answer after the other, the last one for ever."""

    def __init__(self, *answers: Exception | str) -> None:
        self.answers = list(answers)

    def fence(self) -> str:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def claimed(tmp_path: Path) -> Iterator[Lease]:
    """mn1 was master and is gone; mn2 has claimed the lease and has to fence mn1."""
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    before = Lease(database, 'mn1', 'run-1', ttl=0.01)
    before.ensure_row()
    before.claim(before.read())
    yield Lease(database, 'mn2', 'run-2', ttl=30)
    database.dispose()


def keeper_with(lease: Lease, bmc: Bmc) -> Keeper:
    conf: Any = SimpleNamespace(
        cluster=SimpleNamespace(peer='mn1', ttl=30, renew_interval=10, self_demote=20, poll_interval=0.01)
    )
    return Keeper(
        conf, lease, eligible=lambda session: True, fence=bmc.fence, serve=lambda epoch: None, stop_serving=lambda: None
    )


def alarms(lease: Lease) -> list[str]:
    with lease.database.read() as session:
        return [e.detail for e in session.scalars(select(Event).where(Event.kind == 'alarm').order_by(Event.id))]


def ticks(keeper: Keeper, number: int = 20) -> None:
    for _ in range(number):
        keeper.tick()
        time.sleep(0.02)


def test_why_there_is_no_take_over_is_an_alarm_once_for_each_cause(claimed: Lease) -> None:
    silent, stays_on = PowerError('no answer', id='bmc-silent'), PowerError('it says on', id='not-off')
    keeper = keeper_with(claimed, Bmc(silent, silent, stays_on, silent, stays_on, 'mn1 was seen to be off'))

    while keeper.stuck is None:
        keeper.tick()
    stuck = keeper.stuck
    while keeper.epoch is None:
        keeper.tick()
    keeper.close()

    assert alarms(claimed) == ['no take-over: no answer [bmc-silent]', 'no take-over: it says on [not-off]']
    assert (stuck, keeper.stuck) == (keeper.epoch, None)


def test_the_alarm_is_written_as_soon_as_the_database_takes_it(claimed: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = keeper_with(claimed, Bmc(PowerError('no answer', id='bmc-silent')))
    tried: list[str] = []

    def locked(epoch: int, detail: str, *, cause: str) -> None:
        tried.append(detail)
        raise DatabaseUnavailable('locked')

    with monkeypatch.context() as outage:
        outage.setattr(claimed, 'alarm', locked)
        while len(tried) < 2:
            keeper.tick()
    ticks(keeper)
    keeper.close()

    assert alarms(claimed) == ['no take-over: no answer [bmc-silent]']


def test_a_claimant_that_has_lost_the_lease_writes_no_alarm(claimed: Lease) -> None:
    with pytest.raises(LeaseLost):
        claimed.alarm(1, 'no take-over [x]', cause='x')

    assert alarms(claimed) == []


class Renewer:
    """mn1 leads and renews; mn2 watches, and may not lead itself."""

    def __init__(self, database: Database) -> None:
        self.time = 0.0
        self.leader = Lease(database, 'mn1', 'run-1', ttl=0.01)
        self.leader.ensure_row()
        self.epoch = self.leader.claim(self.leader.read())
        conf: Any = SimpleNamespace(
            cluster=SimpleNamespace(peer='mn1', ttl=30, renew_interval=10, self_demote=20, poll_interval=2)
        )
        self.keeper = Keeper(
            conf,
            Lease(database, 'mn2', 'run-2', ttl=30),
            eligible=lambda session: False,
            fence=lambda: 'never',
            serve=lambda epoch: None,
            stop_serving=lambda: None,
            clock=lambda: self.time,
        )


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Renewer]:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite')
    tables.prepare(database)
    renewer = Renewer(database)
    yield renewer
    renewer.keeper.close()
    database.dispose()


@pytest.mark.parametrize('busy', [False, True])
def test_a_node_that_may_not_lead_does_not_ask_without_a_pause_when_the_master_is_gone(
    watching: Renewer, busy: bool
) -> None:
    with watching.leader.database.write() as session:
        row = session.scalars(select(LeaseRow)).one()
        row.renewed_at = watching.leader.read(session).now - dt.timedelta(hours=1)
    watching.keeper.tick()
    watching.time += 3600.0
    watching.keeper.tick()

    assert watching.keeper.pause(busy=busy) == 2


def test_a_clock_of_the_database_that_was_put_back_does_not_let_a_node_sleep_for_as_long(watching: Renewer) -> None:
    with watching.leader.database.write() as session:
        row = session.scalars(select(LeaseRow)).one()
        row.renewed_at = watching.leader.read(session).now + dt.timedelta(hours=1)
    watching.keeper.tick()

    assert watching.keeper.pause(busy=False) <= 10.1
