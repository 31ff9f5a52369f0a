"""Failures of what goes on around an update: gates that nobody heeds, automation, events, room, acknowledgements."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from ovca import conf
from ovca.cluster.peer import PeerCare
from ovca.daemon.components import ComponentCare
from ovca.daemon.service import Ovcad
from ovca.daemon.site import ask_node
from ovca.db.models import Entry, Node, Request, Update
from ovca.exceptions import Refused
from ovca.power.base import Bmc, BootDevice, PowerState
from ovca.power.fake import FakeMachine, FakePower
from ovca.provision.site.state import PREVIOUS, SiteState, folder, save, stored_digest
from ovca.remaster import acceptance, asking, checks, evidence, protocol
from ovca.remaster.checks import CheckResult, Result, run_all
from ovca.remaster.checks.patience import Patience
from ovca.remaster.checks.stages import stage_checks
from ovca.remaster.fakes import FakeComponent, FakeDevice
from ovca.remaster.protocol import ENDED, Act, Health, Situation, Software, State, Verdict, Which, abort_landing
from tests.conftest import free_port
from tests.failures.target import HOST_KEY
from tests.mastered import Master
from tests.operated import NEW, OLD, Operated, saving
from tests.unit.daemon.test_company import Watch
from tests.unit.remaster.checks.conftest import MACS, Checked


@pytest.fixture
def checked(tmp_path: Path) -> Iterator[Checked]:
    appliance = Checked(tmp_path)
    yield appliance
    appliance.close()


def healthy(master: Master, node: str) -> None:
    """The node has proved itself, and is as healthy as its soak asks for."""
    attempt = master.entry(node).attempt
    master.change(Entry, (1, node), final_at=master.now(), final_attempt=attempt, final_digest=NEW, step='final')
    master.change(Node, node, running_digest=NEW)
    master.later(700)


def ill(master: Master, node: str) -> None:
    """The node has been unhealthy for an hour, as all may see."""
    since = master.now() - dt.timedelta(hours=1)
    master.alive.discard(node)
    master.later(0)
    master.change(
        Node, node, health='unhealthy', unhealthy_since=since, healthy_since=None, ready=False,
        last_seen_at=master.now(), health_detail={'database': 'no'},
    )  # fmt: skip


# F13: a network card has another name under the new system; a certificate expires midway.


def test_f13_cards_certificates_and_clocks_are_looked_at_before_an_update_begins(
    checked: Checked, tmp_path: Path
) -> None:
    now = dt.datetime.now(dt.UTC)
    issued = trustme.CA().issue_cert('node.example.com', not_after=now + dt.timedelta(hours=20))
    (tmp_path / 'web.pem').write_bytes(issued.cert_chain_pems[0].bytes())
    checked.image()
    checked.config.set('provision', mac=MACS)
    checked.config.set('check', certificates=[tmp_path / 'web.pem'])
    checked.card()
    (checked.cards / 'eth0').rename(checked.cards / 'enp3s0')  # its name does not matter

    def differs(facts: dict[str, Any]) -> None:
        facts['time'] -= 90
        facts['cards'] = [{'name': 'eth0', 'mac': '52:54:00:00:00:77', 'link': True}]

    checked.tell(differs)

    found = {r.id: r for r in run_all(checked.config.load(), checked.database, '1.1.0')}

    assert found['network-cards'].detail == f'mn2 has no network card {MACS["mn2"]}'
    # Some of the 90 seconds may have passed while the node was asked.
    assert re.match(r'the clock of mn2 is [89]\d(\.\d)? s behind', found['clocks'].detail), found['clocks']
    assert found['clocks'].result == 'failed'
    assert (found['certificates'].result, 'expires' in found['certificates'].detail) == ('warning', True)
    with pytest.raises(Refused, match='network-cards: mn2 has no network card') as caught:
        acceptance.judged(list(found.values()), frozenset({'certificates'}))
    assert caught.value.id == 'checks-failed'


# F16: other automation fights the update.


class Care:
    """The master's care for mn2, which is off and silent, as each run of the service has it."""

    def __init__(self, master: Master) -> None:
        self.master, self.machine = master, FakeMachine(power=PowerState.OFF)
        master.alive = {'mn1'}
        master.later(600)

    def tick(self) -> bool:
        """One look of a service that has just been started."""

        def power(node: str) -> FakePower:
            return FakePower(Bmc(node, 'fake://bmc'), machine=self.machine, sleep=lambda _: None)

        assert self.master.epoch is not None
        return PeerCare(self.master.conf, self.master.lease, power=power).tick(self.master.epoch)


@pytest.mark.parametrize('known', [True, False], ids=['known', 'replaced by another machine'])
def test_f16_nobody_else_switches_a_node_on_while_its_installation_is_due_and_afterwards_it_is(
    operated: Operated, known: bool
) -> None:
    master = Master(operated)
    operated.update('INSTALL_1')
    operated.entry(1)
    care = Care(master)
    if not known:
        master.change(Node, 'mn2', last_seen_at=None)

    assert not care.tick()
    master.ask('pause')
    assert not care.tick()
    assert care.machine.orders == []

    master.ask('abort')
    master.run()
    assert care.tick()
    assert (care.machine.orders, care.machine.boots) == (['boot disk', 'on'], [BootDevice.DISK])


def test_f16_nor_does_anybody_else_begin_what_would_disturb_it(operated: Operated) -> None:
    master = Master(operated)
    operated.update('INSTALL_1')
    master.alive = {'mn1'}
    master.later(60)

    refused = {kind: master.ask(kind, **args) for kind, args in OTHERS.items()}

    assert {kind: (row.result or {}).get('error_id') for kind, row in refused.items()} == {
        'failover': 'update-open',
        'reinstall': 'update-open',
        'node-delete': 'node-pinned',
        'node-set': 'node-pinned',
    }
    with pytest.raises(Refused) as caught, operated.service().held('firmware', why='new firmware'):
        pass
    assert caught.value.id == 'update-open'


OTHERS: dict[str, dict[str, Any]] = {
    'failover': {'epoch': 3},
    'reinstall': {'node': 'mn2'},
    'node-delete': {'name': 'mn2'},
    'node-set': {'name': 'mn2', 'mac': '52:54:00:00:00:31'},
}


def test_f24_how_often_a_node_was_powered_on_outlives_the_service_even_of_a_node_that_was_never_seen(
    operated: Operated,
) -> None:
    master = Master(operated, order_interval=1)
    with operated.database.write() as session:
        session.delete(session.get_one(Node, 'mn2'))
    master.alive = {'mn1'}
    care = Care(master)
    attempts: int = master.conf.cluster.power_on_attempts

    for _ in range(attempts + 3):
        care.tick()
        care.machine.power = PowerState.OFF
        master.later(60)

    assert care.machine.orders.count('on') == attempts
    assert [f'for the last time ({attempts})' in text for text in master.story('alarm')] == [True]


# F17: an event is lost.


def test_f17_the_service_finds_what_is_to_be_done_although_nobody_told_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, '_wake', lambda address: None)
    file = tmp_path / 'ovca.conf'
    (tmp_path / 'shared').mkdir()
    record = tmp_path / evidence.INSTALLED
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({'version': '1.0.0', 'digest': OLD}))
    file.write_text(
        f'[database]\nconnection = sqlite:///{tmp_path}/ovca.sqlite\n'
        f'lock_timeout = 1\nidle_timeout = 1\nstatement_timeout = 2\n'
        f'[image]\nshared_storage = {tmp_path}/shared\n[provision]\nroot = {tmp_path}\nsite_files = ovca.conf\n'
        f'[cluster]\nnode_name = mn1\nport = {free_port()}\nroles =\npoll_interval = 0.1\n'
        f'ttl = 6\nrenew_interval = 1\nself_demote = 4\n[remaster]\nready_age = 1\n'
    )
    service = Ovcad(conf.load(str(file)))
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    commands = asking.Asking(conf.load(str(file)), user='otto')

    def soon(what: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end, 'it does not find it'
            time.sleep(0.05)

    soon(lambda: service.keeper.epoch is not None)
    number = commands.submit('pause')
    soon(lambda: commands.request(number).state == 'failed')
    with service.database.write() as session:
        now = service.database.now(session)
        session.add(
            Update(
                state='REQUESTED', version='9.9.9', digest=NEW, old_digest=OLD, first='mn2', second='mn1',
                created_at=now, state_since=now, deadline_from=now, handovers=0,
            )
        )  # fmt: skip

    def ended() -> bool:
        with service.database.read() as session:
            return session.get_one(Update, 1).state == 'ABORTED'

    soon(ended)
    service.stop()
    thread.join(20)
    commands.close()
    service.database.dispose()


# F19: a gate detects something, and nobody acts.


def no_room(master: Master) -> None:
    hands = master.loop.hands
    master.loop.hands = replace(hands, checks=lambda _: ['space: full'], stage_checks=lambda *_: ['space: full'])


@dataclass(frozen=True)
class Gate:
    """What a gate finds in a state, and what is done about it: the next state, and who is shut out."""

    state: State
    leads: str
    """Which software the leader, mn1, runs; the update installs mn2 after it, or before it."""
    find: Callable[[Master], object]
    then: State
    shut_out: tuple[str, ...] = ()
    attempts: int = 2


def no_room_until_the_deadline(master: Master) -> None:
    no_room(master)
    master.later(3000)


GATES = {
    'the checks before the start': Gate(State.REQUESTED, OLD, no_room, State.ABORTED),
    'the health of the standby': Gate(
        State.VERIFY_1, OLD, lambda master: ill(master, 'mn2'), State.FAILED_DEGRADED, ('mn2',)
    ),
    'the checks before the hand-over': Gate(
        State.VERIFY_1, OLD, no_room_until_the_deadline, State.FAILED_DEGRADED, ('mn2',)
    ),
    'the health of the new master': Gate(State.PROVING, NEW, lambda master: ill(master, 'mn1'), State.ROLLBACK),
    'the checks before the second wipe': Gate(State.PROVING, NEW, no_room_until_the_deadline, State.ROLLBACK),
    'the health of the second node': Gate(
        State.VERIFY_2, NEW, lambda master: ill(master, 'mn2'), State.INSTALL_2
    ),
    'the health of the second node in its last attempt': Gate(
        State.VERIFY_2, NEW, lambda master: ill(master, 'mn2'), State.FAILED_FORWARD, ('mn2',), attempts=1
    ),
}  # fmt: skip


@pytest.mark.parametrize('gate', GATES.values(), ids=GATES)
def test_f19_what_a_gate_finds_is_acted_upon(operated: Operated, gate: Gate) -> None:
    master = Master(operated, runs=gate.leads, attempts=gate.attempts)
    first, second = ('mn1', 'mn2') if gate.leads == NEW else ('mn2', 'mn1')
    operated.update(gate.state.value, first=first, second=second)
    for node in (first, 'mn2') if gate.state is not State.PROVING else (first,):
        operated.entry(1, node)
        healthy(master, node)
    gate.find(master)

    for _ in range(6):
        if master.update().state != gate.state:
            break
        master.loop.step()

    assert master.update().state == gate.then
    with operated.database.read() as session:
        quarantined = tuple(node for node in ('mn1', 'mn2') if session.get_one(Node, node).quarantined)
    assert quarantined == gate.shut_out


def test_f19_a_master_that_stays_ill_outside_of_an_update_is_an_alarm_once_and_its_end_too(operated: Operated) -> None:
    watch = Watch(operated)
    watch.master('unhealthy')
    watch.look()
    assert watch.alarms() == [], 'it may pass'
    for _ in range(3):
        watch.look(30)
    watch.restarted()
    watch.look()
    watch.look(30)
    watch.master('healthy')
    watch.look()
    watch.look()

    begin, end = watch.alarms()
    assert begin == (
        'the master, mn1, is unhealthy (storage: it takes no file); mend that, or hand over: `ovca failover`'
    )
    assert end.startswith('the master, mn1, is healthy; this ends the alarm of ')


def test_f19_an_open_update_judges_the_master_itself(operated: Operated) -> None:
    watch = Watch(operated)
    operated.update('PROVING', first='mn1', second='mn2')
    watch.master('unhealthy')
    for _ in range(3):
        watch.look(30)

    assert watch.alarms() == []


def test_f19_no_rule_of_the_table_waits_when_a_node_that_counts_stays_unhealthy() -> None:
    waits = []
    for state, leader, runs, left, final in itertools.product(
        (State.VERIFY_1, State.PROVING, State.VERIFY_2), Which, Software, (True, False), (True, False)
    ):
        s = Situation(
            state=state, leader=leader, leader_runs=runs, leader_final=final, peer_final=final, attempts_left=left,
            peer_health=Health.FAILED, leader_health=Health.FAILED, checks=Verdict.PASSED,
        )  # fmt: skip
        if not s.target_leads and protocol.decide(s).act is Act.WAIT:
            waits.append(s)

    assert waits == []


# F20: a disk is full midway.


def test_f20_room_is_looked_for_on_both_nodes_with_a_reserve_before_the_start_and_again_before_the_second_wipe(
    checked: Checked,
) -> None:
    checked.image()
    checked.config.set('check', space_reserve=1000)
    full = {'path': '/var/log', 'free': 999, 'total': 10**9, 'shared': False}
    checked.tell(lambda facts: facts['file_systems'].append(full))
    with checked.database.write() as session:
        now = checked.database.now(session)
        session.add(
            Update(
                state='PROVING', version='1.1.0', digest=NEW, first='mn1', second='mn2', created_at=now,
                state_since=now, deadline_from=now, handovers=0,
            )
        )  # fmt: skip

    def space(results: list[CheckResult]) -> tuple[str, str]:
        (found,) = [result for result in results if result.id == 'space']
        return found.result.value, found.detail

    settings = checked.config.load()
    told = '/var/log of mn2 has 999 bytes free, fewer than [check] space_reserve = 1000'
    assert space(run_all(settings, checked.database, '1.1.0', only=['space'])) == ('failed', told)
    before_wipe = stage_checks(settings, checked.database, '1.1.0', State.INSTALL_2)
    assert space(before_wipe)[0] == 'passed', 'mn2 is wiped, so its own disks do not matter'
    full['shared'] = True
    checked.config.set('image', space_reserve=1000)
    again = stage_checks(checked.config.load(), checked.database, '1.1.0', State.INSTALL_2)
    assert space(again) == ('failed', told.replace('[check]', '[image]'))


# F21: a copy failed, and its success was reported.


@pytest.fixture
def standby(operated: Operated) -> Iterator[dict[str, Any]]:
    """mn2, which says that it has saved its settings."""
    answer: dict[str, Any] = {'saved_at': 'now'}
    with saving(operated, answer):
        yield answer


def test_f21_settings_count_as_saved_only_if_what_lies_on_the_storage_has_the_digest_that_was_told(
    operated: Operated, standby: dict[str, Any]
) -> None:
    settings, shared = conf.load(str(operated.config_file)), operated.folder / 'shared'
    save(SiteState('mn2', None, '', (), ()), shared)
    before = stored_digest(shared, 'mn2')
    save(SiteState('mn2', None, '', (), (HOST_KEY,)), shared)
    standby['digest'] = stored_digest(shared, 'mn2')
    assert ask_node(settings, operated.database, 'mn2')

    newest = folder(shared, 'mn2') / 'site.json'
    newest.write_bytes((folder(shared, 'mn2') / PREVIOUS).read_bytes())
    assert stored_digest(shared, 'mn2') == before
    assert not ask_node(settings, operated.database, 'mn2')
    newest.write_bytes(newest.read_bytes()[:-9])
    assert not ask_node(settings, operated.database, 'mn2')

    told = [event.detail for event in operated.service().journal(kind='site', limit=9)]
    assert told[0] == 'mn2: the site settings are saved'
    assert all('what it says that it saved is not on the shared storage, as mn1 sees it' in t for t in told[1:])


# F23: an abort at the wrong step hangs.


@pytest.mark.parametrize(
    ('state', 'wiped'),
    [(state, False) for state in State] + [(State.INSTALL_1, True)],
    ids=lambda value: str(value),
)
def test_f23_an_abort_lands_where_the_table_says_that_it_lands(operated: Operated, state: State, wiped: bool) -> None:
    new = state in (State.PROVING, State.ROLLBACK, State.INSTALL_2, State.VERIFY_2)
    places = {'first': 'mn1', 'second': 'mn2'} if new else {}
    master = Master(operated, runs=NEW, version='1.1.0') if new else Master(operated)
    operated.update(state.value, **places)
    operated.entry(1, 'mn2')
    if new:
        operated.entry(1, 'mn1', final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    if wiped:
        operated.wiped(1)
    landing = abort_landing(state, wiped=wiped)

    request = master.ask('abort')
    master.run()
    if master.lease.read().holder == 'mn2':
        Master(operated, here='mn2', epoch=master.lease.read().epoch).run()

    assert (request.state == 'done') is landing.possible
    assert master.update().state == (landing.lands_in or state)
    assert landing.sentence if state in ENDED else master.update().finished_at is not None


# F25: the second run skips something and does not say so.


class Mute(checks.Check):
    """A check that is skipped for no reason."""

    api = 1
    id = 'mute'

    def check(self) -> CheckResult:
        return self.skipped(' ')


def test_f25_what_is_skipped_is_a_result_with_a_reason(checked: Checked) -> None:
    found = run_all(checked.config.load(), checked.database, None)
    context = checks.CheckContext(checked.config.load(), checked.database, None)
    mute = checks.answer('mute', lambda: Mute(context), Patience())

    skipped = [result for result in found if result.result is Result.SKIPPED]
    assert len(skipped) > 3
    assert [result.id for result in skipped if len(result.detail) < 10] == []
    assert (mute.result, mute.detail) == ('failed', 'it was skipped, and does not say why')


def test_f25_a_component_that_is_in_force_already_is_told_once(operated: Operated) -> None:
    (operated.folder / 'shared/hmp_image/1.1.0').mkdir(parents=True)
    operated.update('DONE')
    master, device = Master(operated), FakeDevice('1.1.0')

    for _ in range(3):  # the service is started anew
        ComponentCare(
            master.conf, master.lease, {'hmp': FakeComponent(master.conf, device=device)},
            epoch=lambda: master.epoch, running_digest=NEW,
        ).step()  # fmt: skip

    assert device.orders == []
    assert master.story('component') == ['hmp: 1.1.0 was in force already, so nothing was done']


def test_f25_an_order_that_is_given_twice_says_what_came_of_the_first(operated: Operated) -> None:
    master = Master(operated)
    operated.update('INSTALL_1')

    again = master.ask('activate', version='1.1.0')

    assert (again.state, again.result) == ('done', {'update_id': 1})
    with operated.database.read() as session:
        assert session.get_one(Request, again.id).finished_at is not None
