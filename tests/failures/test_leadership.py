"""Failures of who leads: two at once, twice, too late, on a lost answer, or by a clock that jumps."""

from __future__ import annotations

import datetime as dt
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from ovca import conf
from ovca.cluster.keeper import Keeper
from ovca.cluster.lease import Lease
from ovca.cluster.nodes import NodeRow, Pulse
from ovca.db import events, models
from ovca.db.engine import Database
from ovca.db.models import Event, InstallGrant, Node, Request
from ovca.exceptions import GrantRefused, LeaseLost
from ovca.power.base import Bmc, PowerState
from ovca.power.fake import FakeMachine, FakePower
from ovca.remaster import claims
from tests.conftest import PostgresServer
from tests.failures.target import MAC, asking, saved
from tests.mastered import Master
from tests.operated import NEW, OLD, Operated


class Pair:
    """Two nodes with a keeper each, on one database and on clocks of their own; mn1 leads, and can be switched off."""

    def __init__(self, operated: Operated) -> None:
        self.operated, self.seconds = operated, 0.0
        self.machine = FakeMachine(power=PowerState.ON)
        """That of mn1."""
        self.served: list[tuple[str, int, PowerState]] = []
        with operated.database.write() as session:
            session.delete(session.scalars(select(models.Lease)).one())
        self.databases: list[Database] = []
        self.mn1, self.mn2 = self.node('mn1'), self.node('mn2')
        self.mn1.lease.ensure_row()
        self.epoch = self.mn1.lease.claim(self.mn1.lease.read())
        self.mn1.lease.set_acting(self.epoch, 'it is the first')
        self.mn1.tick()

    def node(self, name: str) -> Keeper:
        """A run of a node's service, as far as the lease knows."""
        self.operated.configure(name)
        database = Database(self.operated.url, connect_timeout=1, lock_timeout=1)
        self.databases.append(database)
        lease = Lease(database, name, f'run {len(self.databases)} of {name}', ttl=30)
        return Keeper(
            conf.load(str(self.operated.config_file)),
            lease,
            eligible=lambda session: True,
            fence=self._fence,
            serve=lambda epoch: self.served.append((name, epoch, self.machine.power)),
            stop_serving=lambda: self.served.append((name, 0, self.machine.power)),
            clock=lambda: self.seconds,
        )

    def _fence(self) -> str:
        ticks = iter(range(1000))
        power = FakePower(
            Bmc('mn1', 'fake://mn1'), machine=self.machine, clock=lambda: float(next(ticks)), sleep=lambda _: None
        )
        power.off_and_wait(5)
        return 'mn1 was seen to be off'

    def later(self, seconds: float) -> None:
        """Time passes everywhere, and nobody renews."""
        self.seconds += seconds
        with self.operated.database.write() as session:
            for row in session.scalars(select(models.Lease)):
                assert row.renewed_at is not None
                row.renewed_at -= dt.timedelta(seconds=seconds)

    def expire(self) -> None:
        """mn2 watches the lease for its whole ttl, and mn1 is not heard of."""
        self.later(0)
        self.mn2.tick()
        self.seconds += 31
        with self.operated.database.write() as session:
            session.scalars(select(models.Lease)).one().ttl = 0.0

    def tries(self, until: Callable[[], bool], most: int = 200) -> None:
        """mn2 does what is to be done, until it has come so far."""
        for _ in range(most):
            if until():
                return
            self.mn2.tick()
            self.seconds += 3  # an order that failed is repeated after a pause
            self.mn2._renewed = self.seconds
        raise AssertionError('it does not come so far')

    def close(self) -> None:
        for keeper in (self.mn1, self.mn2):
            keeper.close()
        for database in self.databases:
            database.dispose()


@pytest.fixture
def pair(on_each: Operated) -> Iterator[Pair]:
    nodes = Pair(on_each)
    yield nodes
    nodes.close()


# F7: split brain.


@pytest.mark.parametrize('vice', ['unreachable', 'stuck_on'])
def test_f07_nobody_leads_in_place_of_a_node_that_was_not_seen_to_be_off(pair: Pair, vice: str) -> None:
    setattr(pair.machine.vices, vice, True)
    pair.expire()

    pair.tries(lambda: pair.mn2.stuck is not None)
    assert (pair.mn2.epoch, pair.mn2.lease.read().acting) == (None, False)

    setattr(pair.machine.vices, vice, False)
    pair.tries(lambda: pair.mn2.epoch is not None)
    assert pair.served[-1] == ('mn2', pair.epoch + 1, PowerState.OFF), 'it was off before the other one served'


def test_f07_a_master_that_was_paused_changes_nothing_when_it_wakes_up_and_stops_serving(pair: Pair) -> None:
    pair.expire()
    pair.tries(lambda: pair.mn2.epoch is not None)

    with pytest.raises(LeaseLost), pair.mn1.lease.fenced(pair.epoch) as session:
        session.add(Event(kind='state', actor='mn1', detail='woken up', at=pair.operated.database.now(session)))
    with pytest.raises(LeaseLost):
        pair.mn1.lease.renew(pair.epoch)
    pair.mn1.tick()

    assert (pair.mn1.epoch, pair.served[-1][:2]) == (None, ('mn1', 0))
    assert 'woken up' not in [event.detail for event in pair.operated.service().journal(limit=99)]


@contextmanager
def outage(pair: Pair, server: PostgresServer | None) -> Iterator[None]:
    """The database cannot be reached."""
    url = make_url(pair.operated.url)
    if server is None:
        file = Path(str(url.database))
        file.rename(file.with_name('away'))
        yield
        file.with_name('away').rename(file)
    else:
        server._sql(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS false')
        server._sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.database}'")
        yield
        server._sql(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS true')


def test_f07_a_master_that_does_not_know_whether_it_leads_stops_serving(
    pair: Pair, database_url: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue('postgresql_server') if database_url.startswith('postgresql') else None
    with outage(pair, server):
        pair.seconds += 19
        pair.mn1.tick()
        assert pair.mn1.epoch == pair.epoch
        pair.seconds += 2
        pair.mn1.tick()
        assert (pair.mn1.epoch, pair.served[-1][:2]) == (None, ('mn1', 0))

    pair.mn1.tick()

    assert pair.mn1.epoch == pair.epoch, 'nobody has taken over, so it serves again'


# F8: a switch-over was accepted, and its answer did not come.


class Line:
    """The way to a database, which can lose the answer to the next commit, and break with it."""

    def __init__(self, port: int) -> None:
        self._server, self._port = socket.create_server(('127.0.0.1', 0)), port
        self.lose_commits = 0
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.create_connection(('127.0.0.1', self._port))
        threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
        with closing(client):
            while data := client.recv(65536):
                lost = self.lose_commits and b'COMMIT\0' in data
                if lost:
                    self.lose_commits -= 1
                    client.shutdown(socket.SHUT_RDWR)
                server.sendall(data)
                if lost:
                    return

    @staticmethod
    def _answers(server: socket.socket, client: socket.socket) -> None:
        with closing(server):
            try:
                while data := server.recv(65536):
                    client.sendall(data)
            except OSError:
                pass

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def line(postgresql_url: str, tmp_path: Path) -> Iterator[tuple[Operated, Line]]:
    url = make_url(postgresql_url)
    way = Line(int(url.port or 0))
    appliance = Operated(tmp_path, url=url.set(port=way.port).render_as_string(hide_password=False))
    yield appliance.started().image('1.1.0', NEW), way
    appliance.close()
    way.close()


def test_f08_a_hand_over_whose_answer_was_lost_is_read_and_not_undone(line: tuple[Operated, Line]) -> None:
    operated, way = line
    master = Master(operated)
    operated.update('VERIFY_1')
    operated.entry(1, final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    master.change(Node, 'mn2', running_digest=NEW)
    master.later(130)
    demote = master.lease.demote

    def then_lose(epoch: int) -> None:
        demote(epoch)
        way.lose_commits = 1

    master.lease.demote = then_lose  # type: ignore[method-assign]
    master.run()

    view = master.lease.read()
    assert way.lose_commits == 0, 'the answer was lost'
    assert (master.stopped, master.epoch) == (['stopped', 'gave away, reboots'], None)
    assert (view.holder, view.epoch, master.update().state) == ('mn2', 4, 'PROVING')


def test_f08_a_claim_whose_answer_was_lost_is_read_and_not_repeated(line: tuple[Operated, Line]) -> None:
    operated, way = line
    pair = Pair(operated)
    pair.expire()
    way.lose_commits = 1

    pair.mn2.tick()
    lost = way.lose_commits
    pair.tries(lambda: pair.mn2.epoch is not None)
    epoch = pair.mn2.epoch
    pair.close()

    assert (lost, epoch) == (0, pair.epoch + 1)
    claimed = [e for e in operated.service().journal(kind='lease', limit=99) if 'mn2 claimed' in e.detail]
    assert len(claimed) == 1


# F10: an order that has become stale is carried out later.


def test_f10_an_order_to_hand_over_is_dropped_by_a_later_epoch_and_after_its_time(on_each: Operated) -> None:
    master = Master(on_each)
    number = on_each.service().submit('failover', epoch=2)
    late = on_each.service().submit('failover', epoch=3)
    with on_each.database.write() as session:
        session.get_one(Request, late).created_at -= dt.timedelta(seconds=claims.VALID + 1)
    master.change(Node, 'mn2', running_digest=OLD)

    while master.clerk.step():
        pass

    told = {row.id: (row.state, row.result) for row in on_each.requests()}
    expired = ('failed', {'error_id': 'order-expired'})
    assert told == {number: expired, late: expired}
    assert (master.stopped, master.lease.read().holder) == ([], 'mn1')
    assert master.ask('failover', epoch=3).state == 'done', 'one that is fresh is carried out'


BEGINS = {'activate': {'version': '1.1.0'}, 'retry': {}, 'reinstall': {'node': 'mn2'}, 'replace': {'node': 'mn2'}}


@pytest.mark.parametrize('kind', BEGINS)
@pytest.mark.parametrize(('age', 'epoch', 'dropped'), [(901, 2, True), (901, 3, False), (60, 2, False)])
def test_f10_what_wipes_a_node_is_not_begun_by_who_leads_long_after_it_was_asked_for(
    on_each: Operated, kind: str, age: int, epoch: int, dropped: bool
) -> None:
    master = Master(on_each)
    number = on_each.service().submit(kind, **BEGINS[kind])
    with on_each.database.write() as session:
        now = on_each.database.now(session)
        asked = session.get_one(Request, number).created_at = now - dt.timedelta(seconds=age)
        events.append(session, kind='lease', detail='claimed by who led then', node='mn1', epoch=epoch)
        session.flush()
        session.scalars(select(Event).order_by(Event.id.desc())).first().at = asked
        events.append(session, kind='lease', detail='mn1 serves again', node='mn1', epoch=3)

    assert master.clerk.step()
    master.clerk.join(20)

    request = on_each.requests()[-1]
    assert ((request.result or {}).get('error_id') == 'order-expired') is dropped, request.error
    if dropped:
        assert (request.state, request.exit_code) == ('failed', 6)
        assert kind in str(request.error), 'who reads it later has to know what was asked for'


def test_f10_a_right_to_wipe_is_worth_nothing_after_its_time_or_under_another_epoch(on_each: Operated) -> None:
    master = Master(on_each)
    on_each.update('INSTALL_1')
    on_each.entry(1)
    master.change(Node, 'mn2', mac=MAC)
    master.run()
    order = master.desk().boot(MAC)
    assert order is not None
    saved(master)
    ask = asking(order, 'n' * 32)

    for stale in ({'expires_at': master.now() - dt.timedelta(seconds=1)}, {'epoch': 2}):
        before = {name: getattr(master.grants()[0], name) for name in stale}
        master.change(InstallGrant, master.grants()[0].id, **stale)
        with pytest.raises(GrantRefused, match='has expired or is of an older epoch'):
            master.desk().consume(ask)
        assert master.desk().boot(MAC) is None
        master.change(InstallGrant, master.grants()[0].id, **before)

    assert master.grants()[0].consumed_at is None
    assert master.desk().consume(ask).evidence_token


# F22: clocks of different kinds in one wait.


def test_f22_a_jump_of_the_databases_clock_lets_nobody_take_over_before_its_own_clock_has_waited(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.mn2.tick()
    real = Database.now
    monkeypatch.setattr(Database, 'now', lambda self, session: real(self, session) + dt.timedelta(hours=1))

    for _ in range(5):
        pair.seconds += 5
        pair.mn2.tick()
    pair.mn1.tick()
    pair.mn2.tick()

    view = pair.mn2.lease.read()
    assert (view.holder, view.epoch, view.expired, pair.machine.orders) == ('mn1', pair.epoch, False, [])


def test_f22_a_master_that_died_before_the_databases_clock_was_put_back_is_replaced_after_the_same_time(
    pair: Pair,
) -> None:
    pair.later(-3600)
    pair.seconds = 0.0

    pair.tries(lambda: pair.mn2.lease.read().holder == 'mn2')
    waited = pair.seconds
    pair.tries(lambda: pair.mn2.epoch is not None)

    assert 30 <= waited <= 40, 'and not an hour and more'
    assert (pair.machine.power, pair.mn2.lease.read().epoch) == (PowerState.OFF, pair.epoch + 1)


SET_BY_PEOPLE = re.compile(r'\btime\.time\(|\bdatetime\.now\(|\bdt\.datetime\.now\(|\bgmtime\(\)')
RECORDS = {
    'backup/creation.py': 'the time in the record of a backup',
    'backup/shelf.py': 'the age of a file, which the file system tells by that clock',
    'cli/channel.py': 'whether a signed index has expired',
    'daemon/outside.py': 'the proof in the lease, as text',
    'db/diagnosis.py': 'how far this clock is from the database',
    'image/fetch/http.py': 'a server\'s "Retry-After" as a date',
    'image/note.py': 'the time in the note of a published image',
    'image/store.py': 'the age of a file, which the file system tells by that clock',
    'lab/machine.py': 'the name of a log',
    'notify/__init__.py': 'the time in a message',
    'provision/putback.py': 'the time in the report on an installation',
    'provision/site/state.py': 'the time in the saved settings',
    'provision/tls.py': 'the validity of a certificate',
    'provision/tree.py': 'the time in the record of what is installed',
}
"""Where a clock that can be set is read: for records, never for a wait."""


def test_f22_clocks_that_can_be_set_are_read_for_records_only() -> None:
    package = Path(__file__).parents[2] / 'ovca'
    found = {str(path.relative_to(package)) for path in package.rglob('*.py') if SET_BY_PEOPLE.search(path.read_text())}

    assert found == set(RECORDS)


# F24: what gates a take-over is kept in memory.


@pytest.fixture
def taking_over(on_each: Operated) -> Pair:
    """mn2 has claimed the lease, and the BMC of mn1 is dead."""
    pair = Pair(on_each)
    pair.machine.vices.unreachable = True
    pair.expire()
    pair.tries(lambda: pair.mn2.stuck is not None)
    return pair


def restarted(pair: Pair) -> None:
    """The service of mn2 is started anew."""
    pair.mn2.close()
    pair.mn2 = pair.node('mn2')


def test_f24_an_operators_word_outlives_a_restart_between_its_use_and_the_take_over(taking_over: Pair) -> None:
    pair = taking_over
    pair.operated.service().claim('mn1')
    assert claims.take(pair.operated.database, 'mn2', 'mn1') is not None

    restarted(pair)
    pair.tries(lambda: pair.mn2.epoch is not None)
    view = pair.mn2.lease.read()
    pair.close()

    assert view.acting
    assert str(view.fence_proof).startswith('otto said at ')


def test_f24_a_restart_does_not_repeat_why_there_is_no_take_over(taking_over: Pair) -> None:
    pair = taking_over
    for _ in range(3):
        restarted(pair)
        pair.tries(lambda: pair.mn2.stuck is not None)
    pair.close()

    (alarm,) = pair.operated.service().journal(kind='alarm', limit=99)
    assert alarm.detail.startswith('no take-over: mn1: BMC fake://mn1 was told to power it off')


def test_f24_what_keeps_a_node_from_leading_outlives_its_service(operated: Operated) -> None:
    master = Master(operated)
    operated.update('FAILED_DEGRADED')
    master.change(Node, 'mn2', quarantined=True, quarantine_reason='update 1: it stays unhealthy')
    operated.configure('mn2')
    row = NodeRow(conf.load(str(operated.config_file)), operated.database, incarnation='the next run', boot_id='b')
    row.register('1.0.0', OLD)
    row.beat(lambda session: Pulse(3, 'standby', 'healthy', {}, True))

    request = Master(operated).ask('failover', epoch=3)

    assert (request.state, request.result) == ('failed', {'error_id': 'peer-not-ready'})
    assert 'it is in quarantine (update 1: it stays unhealthy)' in str(request.error)


def test_f24_an_alarm_about_an_update_is_raised_once_for_each_cause_also_after_a_restart(operated: Operated) -> None:
    operated.update('INSTALL_1')
    operated.entry(1)
    silent = Master(operated, install_deadline=3000, order_interval=5)
    silent.machine.vices.unreachable = True
    for _ in range(4):
        silent.run()
        silent.later(6)
    after = Master(operated, install_deadline=3000, order_interval=5)
    after.machine.vices.unreachable = True
    for _ in range(4):
        after.run()
        after.later(6)

    assert after.entry().power_orders == 8
    assert len(after.story('alarm')) == 1

    after.later(3000)
    after.run()
    assert after.entry().attempt == 2
    assert len([text for text in after.story('alarm') if 'fake://bmc' in text]) == 2, 'each attempt tells anew'


# A fenced node's row.


def test_a_node_that_was_seen_to_be_off_is_ready_for_nothing(pair: Pair) -> None:
    pair.expire()
    pair.tries(lambda: pair.mn2.epoch is not None)

    with pair.operated.database.read() as session:
        fenced, own = session.get_one(Node, 'mn1'), session.get_one(Node, 'mn2')
    assert (fenced.ready, fenced.health, fenced.role) == (False, 'unknown', 'standby')
    assert (own.ready, own.health) == (True, 'healthy')


def test_nor_is_one_of_which_an_operator_says_so(on_each: Operated) -> None:
    on_each.configure('mn2')
    on_each.silent(60)
    on_each.service().claim('mn1')
    with on_each.database.write() as session:
        row = session.scalars(select(models.Lease)).one()
        row.holder, row.epoch, row.acting, row.renewed_at = 'mn2', 4, False, on_each.database.now(session)

    assert claims.take(on_each.database, 'mn2', 'mn1') is not None

    with on_each.database.read() as session:
        assert not session.get_one(Node, 'mn1').ready
