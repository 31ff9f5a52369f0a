"""What a pair costs that has nothing to do, in statements; and that it still sees whatever is asked of it."""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text

import ovca
from ovca import conf
from ovca.cluster.health import HealthReport
from ovca.cluster.keeper import EARLY
from ovca.daemon.pace import Pace
from ovca.daemon.service import MIGRATE_AGAIN, REPORT_INTERVAL, Ovcad
from ovca.db import events
from ovca.db.models import Lease, Node
from ovca.exceptions import DatabaseUnavailable
from ovca.power.base import Bmc, BootDevice, PowerState
from ovca.power.fake import FakeMachine, FakePower
from ovca.remaster import evidence
from tests.operated import OLD, Operated

HANDFUL = 6
"""Statements of one node between two renewals of the lease, with the product's own times."""


@contextmanager
def counted(service: Ovcad) -> Iterator[list[str]]:
    """The statements that a service gives to its database; begin, commit and SQLite's own settings are none."""
    said: list[str] = []

    def listen(connection: object, cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(('BEGIN', 'PRAGMA')):
            said.append(statement)

    for engine in service.database.engines:
        event.listen(engine, 'before_cursor_execute', listen)
    try:
        yield said
    finally:
        for engine in service.database.engines:
            event.remove(engine, 'before_cursor_execute', listen)


class Pair:
    """Both services, without their threads; time passes for the lease only when it is told to."""

    def __init__(self, operated: Operated, folder: Path) -> None:
        self.operated, self.time = operated, 0.0
        self.nodes: dict[str, Ovcad] = {}
        for name in ('mn2', 'mn1'):
            record = folder / name / 'etc/ovca/installed.json'
            record.parent.mkdir(parents=True)
            record.write_text(json.dumps({'version': ovca.__version__, 'digest': OLD}))
            if name == 'mn2':  # the other one is as it was delivered
                proof = folder / name / evidence.EVIDENCE
                proof.parent.mkdir(parents=True)
                proof.write_text(json.dumps({'node': name, 'update': 0, 'attempt': 1, 'token': 'of an update before'}))
            operated.configure(
                name,
                'shared_storage_mounted = false\n[power]\ndriver = fake\nbmc = mn1:fake://1, mn2:fake://2\n'
                f'[provision]\nroot = {folder / name}\nstate_path = {folder / name / "state"}\n'
                '[health]\nchecks =\n',
            )
            settings = conf.load(str(operated.config_file))
            settings.set_override('roles', [], 'cluster')
            self.nodes[name] = Ovcad(settings)
        with operated.database.write() as session:
            session.scalars(select(Lease)).one().fence_proof = 'mn2 was seen to be off'
        for service in self.nodes.values():
            service._prepare()
            service.keeper.clock = lambda: self.time
        for _ in range(4):
            self.round()

    def round(self) -> None:
        """Everything once, on both nodes."""
        for service in self.nodes.values():
            service.keeper.tick()
            service.health.report = service.health.look()
            service._beat()
            service._decide()
            for step in (service.notices.step, service.company.step, service.components.step, service.reports.step):
                step()
        for service in self.nodes.values():
            service.requests.join(20)

    def close(self) -> None:
        for service in self.nodes.values():
            service.keeper.close()
            service.health.stop()
            service.database.dispose()


@pytest.fixture
def pair(operated: Operated, tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(operated, tmp_path)
    yield pair
    pair.close()


def passes(service: Ovcad, pair: Pair) -> dict[str, tuple[Callable[[], object], float]]:
    """What each thread does when nothing wakes it, and after how many seconds it does it again."""
    look, interval = Pace.QUIET.look(service.conf), service.conf.cluster.renew_interval

    def renewal() -> None:
        pair.time += EARLY * interval
        service.keeper.tick(look=False)

    def afresh() -> None:
        service.company._due, service._looked_at = 0.0, -1e9
        with service.database.read() as session:
            service._look(session)

    return {
        'sign of life': (service._beat, Pace.QUIET.beat(service.conf)),
        'health': (service.health.look, Pace.QUIET.check(service.conf)),
        'renewal': (renewal, EARLY * interval),
        'lease': (service.keeper.tick, look),
        'eligible': (afresh, look),
        'loop': (service._decide, look),
        'notices': (service.notices.step, look),
        'company': (service.company.step, look),
        'components': (service.components.step, look),
        'reports': (service.reports.step, max(look, REPORT_INTERVAL)),
    }


@pytest.mark.parametrize('name', ['mn1', 'mn2'])
def test_an_idle_node_says_a_handful_of_statements_between_two_renewals(pair: Pair, name: str) -> None:
    service, spent = pair.nodes[name], dict[str, int]()
    works = passes(service, pair)

    assert service._pace is Pace.QUIET
    service.database._wrote = -math.inf  # as if all before were long ago
    for what, (work, _) in works.items():
        with counted(service) as said:
            work()
        spent[what] = len(said)

    assert service._pace is Pace.QUIET, 'the passes themselves changed nothing'
    assert (spent['sign of life'], spent['health'], spent['renewal']) == (1, 0, 1), spent
    interval = service.conf.cluster.renew_interval
    whole = sum(spent[what] * interval / every for what, (_, every) in works.items())
    assert whole <= HANDFUL, {**spent, 'between two renewals': whole}


def test_while_all_is_quiet_a_sign_of_life_and_the_health_checks_go_along_with_the_lease(pair: Pair) -> None:
    service, seen = pair.nodes['mn1'], []
    service._clock = service.health._clock = lambda: pair.time
    work = {'lease': service._lease_step, 'beat': service._beat_step}
    rests = {'beat': work['beat'](True), 'health': service.health.step()}
    for flag in (service.wakes['beat'], service.health.wakes):
        flag.clear()

    for _ in range(6):
        pair.time += 5
        work['lease'](False)
        beaten = service.wakes['beat'].is_set()
        if beaten:
            service.wakes['beat'].clear()
            work['beat'](True)
        checked = service.health.wakes.is_set()
        if checked:
            service.health.wakes.clear()
            service.health.step()
        seen.append((beaten, checked))

    assert rests == {'beat': 10, 'health': 15}
    assert seen == [(True, False), (True, True)] * 3


@pytest.mark.parametrize('name', ['mn1', 'mn2'])
def test_whoever_first_sees_that_there_is_something_to_do_tells_the_other_and_looks_at_its_own_health(
    pair: Pair, name: str
) -> None:
    service, poked = pair.nodes[name], []
    service.outside.poke = lambda: poked.append(name)  # type: ignore[method-assign]
    service.health.step()
    service.health.wakes.clear()
    service._beat_step(False)
    calm = (list(poked), service.health.wakes.is_set())
    pair.operated.service().submit('failover')

    rests = [service._beat_step(False), service._beat_step(False)]

    assert calm == ([], False)
    assert (poked, service.health.wakes.is_set()) == ([name], True)
    assert rests == [1.25, 1.25]


def test_a_master_that_is_ill_is_checked_as_often_as_ever(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    service = pair.nodes['mn1']
    well = service.health.step()
    monkeypatch.setattr(service.health, 'look', lambda: HealthReport({'storage': 'it takes no file'}, known=True))

    ill = service.health.step()

    assert (well, ill) == (15, 5)


@pytest.mark.parametrize('returning', [True, False])
def test_a_database_that_cannot_write_and_tell_at_once_is_asked_twice(pair: Pair, returning: bool) -> None:
    service = pair.nodes['mn1']
    writer, _ = service.database.engines
    writer.dialect.update_returning = returning
    before = service._glance

    with counted(service) as said:
        service._beat()
        pair.time += 10
        service.keeper.tick(look=False)

    assert len(said) == (2 if returning else 4)
    assert before is not None and service._glance is not None and service._glance.now > before.now
    assert service._glance.same(before, within=5)
    assert service.keeper.epoch == service.lease.read().epoch


def woken(service: Ovcad) -> bool:
    """Whether the next sign of life wakes the threads, but perhaps its own."""
    for flag in service.wakes.values():
        flag.clear()
    service._beat()
    return all(flag.is_set() for name, flag in service.wakes.items() if name != 'beat')


def test_what_is_asked_and_not_told_is_seen_with_the_next_sign_of_life(pair: Pair) -> None:
    service = pair.nodes['mn1']
    quiet = woken(service)
    pair.operated.service().submit('download', uri='https://example.com/x.zip')  # nobody listens to the poke

    assert not quiet
    assert woken(service)
    assert service._pace is Pace.BUSY


def test_each_change_of_what_the_threads_look_at_wakes_them_once(pair: Pair) -> None:
    service = pair.nodes['mn2']

    def written() -> None:
        with pair.operated.database.write() as session:
            events.append(session, kind='alarm', node='mn1', actor='mn1', detail='something')

    def ill() -> None:
        with pair.operated.database.write() as session:
            session.get_one(Node, 'mn1').health = 'unhealthy'

    number = 0

    def opened() -> None:
        nonlocal number
        number = pair.operated.update('INSTALL_1')

    def ended() -> None:
        pair.operated.move(number, 'DONE', 'done', reason='done')

    def silent() -> None:
        pair.operated.silent(60)

    seen = []
    for change in (written, ill, opened, ended, silent):
        change()
        seen.append((woken(service), woken(service), service._pace))

    assert seen == [
        (True, False, Pace.QUIET),
        (True, False, Pace.CALM),
        (True, False, Pace.BUSY),
        (True, False, Pace.CALM),
        (True, False, Pace.CALM),
    ]


def test_a_sign_of_life_is_said_again_when_what_it_said_had_been_kept(pair: Pair) -> None:
    service, said = pair.nodes['mn2'], []
    changes = [
        lambda: pair.operated.update('INSTALL_1'),  # until now nothing was open, and the answer was kept
        lambda: pair.operated.move(1, 'VERIFY_1', 'first-installed'),
        lambda: pair.operated.move(1, 'DONE', 'done', reason='done'),
        lambda: pair.operated.update('INSTALL_1'),
    ]

    for change in changes:
        change()
        assert woken(service)
        said.append(service.wakes['beat'].is_set())
        woken(service)

    assert said == [True, False, False, True]


@pytest.mark.parametrize(('name', 'looks'), [('mn2', (0, 3, 0, 1)), ('mn1', (0, 0, 0, 0))])
def test_what_an_installer_left_is_read_while_an_update_is_open(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, name: str, looks: tuple[int, ...]
) -> None:
    service, reads = pair.nodes[name], [0]
    true = evidence.finalise

    def counting(*arguments: Any, **named: Any) -> bool:
        reads[0] += 1
        return true(*arguments, **named)

    monkeypatch.setattr(evidence, 'finalise', counting)

    def read() -> int:
        reads[0] = 0
        for _ in range(3):
            service._beat()
        return reads[0]

    quiet = read()
    number = pair.operated.update('VERIFY_1')
    service._beat()  # which sees it
    opened = read()
    pair.operated.move(number, 'DONE', 'done', reason='done')
    service._beat()
    ended = read()
    service._glance = None  # as after a start, or when the last look has failed
    unknown = read()

    assert (quiet, opened, ended, unknown) == looks


def test_a_sign_of_life_that_fails_makes_the_service_look_often(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    service = pair.nodes['mn1']

    with monkeypatch.context() as outage:
        outage.setattr(service.database, 'write', pair.operated.database.read)  # a database that takes no writes
        service._beat()
    during = service._pace

    assert during is Pace.BUSY
    assert woken(service)
    assert service._pace is Pace.QUIET


def test_a_pass_that_fails_is_repeated_soon(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    service = pair.nodes['mn1']

    waited = [service._loop_step(False)]
    monkeypatch.setattr(service.database, 'read', unavailable)
    waited.append(service._loop_step(False))

    assert waited == [Pace.QUIET.look(service.conf), service.conf.cluster.poll_interval]


@contextmanager
def unavailable() -> Iterator[object]:
    """A database that does not answer."""
    raise DatabaseUnavailable('the connection is lost')
    yield


def test_a_lease_that_another_node_has_taken_is_noticed_by_the_renewal(pair: Pair) -> None:
    service = pair.nodes['mn1']
    with service.lease.handing_over(demoted(service)) as session:
        service.lease.hand_over(session, service.keeper.epoch or 0, 'mn2', 'a run of mn2')

    pair.time += 10
    service.keeper.tick(look=False)

    assert service.keeper.epoch is None


def demoted(service: Ovcad) -> int:
    """The epoch that this node has given up in the row, while its keeper does not know yet."""
    epoch = service.keeper.epoch or 0
    service.lease.demote(epoch)
    return epoch


def test_a_time_without_services_that_no_sign_of_life_tells_of_is_no_part_of_a_soak(pair: Pair) -> None:
    (service,) = (each for each in pair.nodes.values() if each.keeper.epoch is not None)
    epoch = service.keeper.epoch

    def healthy_since() -> object:
        service._beat()
        with service.database.read() as session:
            return session.get_one(Node, service.name).healthy_since

    before = healthy_since()
    pair.time += service.conf.cluster.self_demote + 1  # the database was away, and came back before anybody claimed
    service.keeper.demote_if_stale()
    stopped = service.keeper.epoch
    service.keeper.tick()

    assert (stopped, service.keeper.epoch) == (None, epoch)
    assert before is not None and healthy_since() > before  # type: ignore[operator]


def test_who_watches_the_lease_wakes_when_it_gets_stale_and_not_after(pair: Pair) -> None:
    (master,) = (each for each in pair.nodes.values() if each.keeper.epoch is not None)
    (standby,) = (each for each in pair.nodes.values() if each.keeper.epoch is None)
    calm = master._watch_interval, standby._watch_interval

    pair.time += master.keeper.fresh_for - 0.25  # a moment before it has to stop serving
    soon = master._watch_interval

    assert (calm, soon) == ((2.0, 4.0), pytest.approx(0.25))
    assert standby.keeper.fresh_for == math.inf


class Late(threading.Event):
    """Set by somebody at the very moment at which a rest is over."""

    def wait(self, timeout: float | None = None) -> bool:
        before = self.is_set()
        self.set()
        return before


def test_a_waking_that_comes_when_a_rest_is_over_is_heard() -> None:
    service, told = types.SimpleNamespace(wakes={'lease': Late()}, _stop=threading.Event()), list[bool]()

    def step(woken: bool) -> float:
        told.append(woken)
        if len(told) == 3:
            service._stop.set()
        return 60.0

    Ovcad._repeat(service, 'lease', step)  # type: ignore[arg-type]

    assert told == [True, False, True]


def of_revision(pair: Pair, revision: str) -> None:
    """The schema is said to be another one, and the update to what runs here was the last."""
    with pair.operated.database.write() as session:
        session.execute(text('UPDATE alembic_version SET version_num = :to'), {'to': revision})
    pair.operated.update('DONE', digest=OLD, version=ovca.__version__, old_digest=None, old_version=None)


def test_a_schema_that_cannot_be_migrated_is_no_reason_to_leave_the_other_node_off(pair: Pair) -> None:
    service, machine = pair.nodes['mn1'], FakeMachine(power=PowerState.OFF)
    service.peer._power = lambda node: FakePower(Bmc(node, 'fake://2'), machine=machine, sleep=lambda _: None)
    of_revision(pair, '0002')  # but the tables of the next one are there
    service._schema_done = False
    with pair.operated.database.write() as session:
        session.get_one(Node, 'mn2').last_seen_at = None

    changed = service._decide()

    assert changed is None
    assert machine.boots == [BootDevice.DISK]


def test_a_schema_that_cannot_be_migrated_is_an_alarm_and_tried_again_once_a_minute(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    service, now = pair.nodes['mn1'], [1000.0]
    service._clock = lambda: now[0]
    of_revision(pair, '0002')
    service._schema_done = False
    caplog.set_level(logging.INFO)

    found = [service._decide() for _ in range(5)]
    now[0] += MIGRATE_AGAIN
    found.append(service._decide())

    alarms = [event.detail for event in pair.operated.service().journal(kind='alarm', limit=10)]
    assert found == [None, *[False] * 4, None]
    assert caplog.text.count('migrates the database') == 2
    assert len(alarms) == 1
    assert re.match(r'the schema cannot be brought to revision \d{4}: the database .* refused an operation', alarms[0])
    assert alarms[0].endswith('see `ovca db-check` [database-refused]')


def test_who_works_on_the_schema_of_newer_software_does_not_migrate_again_and_again(pair: Pair) -> None:
    service = pair.nodes['mn1']
    of_revision(pair, '0004')
    service._schema_done = False
    service._decide()

    with counted(service) as said:
        service._decide()

    assert not [statement for statement in said if 'alembic_version' in statement]
