"""Operations: what is held, by whom, and what it forbids; and how a lock that has stayed is broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text

from ovca import conf
from ovca.cluster.lease import Lease
from ovca.daemon.requests import Requests
from ovca.db.models import Event, Node, Operation
from ovca.db.models import Lease as LeaseRow
from ovca.exceptions import DatabaseUnavailable, OvcaError, Refused, UsageError
from ovca.remaster import locks, operations
from ovca.remaster.conflicts import UpdateOpen
from ovca.remaster.operations import OperationHeld, held
from tests.operated import OLD, Operated


@pytest.fixture
def on_each(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    """An appliance whose master is mn1, on each engine."""
    appliance = Operated(tmp_path, url=database_url).started()
    with appliance.database.write() as session:
        session.scalars(select(LeaseRow)).one().incarnation = 'this run'
    yield appliance
    appliance.close()


def names(operated: Operated) -> list[str]:
    return [lock.name for lock in operated.service().locks()]


def journal(operated: Operated) -> list[str]:
    with operated.database.read() as session:
        return [e.detail for e in session.scalars(select(Event).where(Event.kind == 'lock').order_by(Event.id))]


def test_an_operation_is_held_for_the_time_of_its_block_and_told(on_each: Operated) -> None:
    with on_each.service().held('firmware', why='the disk shelf gets firmware 7') as hold:
        hold.check()
        (lock,) = on_each.service().locks()

    assert (lock.name, lock.owner, lock.node, lock.why) == (
        'firmware',
        'otto',
        'mn1',
        'the disk shelf gets firmware 7',
    )
    assert (lock.stale, lock.detail) == (False, f'process {os.getpid()} runs')
    assert names(on_each) == []
    assert journal(on_each) == [
        'otto holds firmware: the disk shelf gets firmware 7',
        'otto has released firmware',
    ]


def test_an_exception_ends_it_too_and_comes_out_as_it_is(on_each: Operated) -> None:
    with pytest.raises(ZeroDivisionError), on_each.service().held('firmware', why='x'):
        raise ZeroDivisionError

    assert names(on_each) == []


def test_an_exception_is_not_hidden_by_a_database_that_has_gone(
    on_each: Operated, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone() -> None:
        raise DatabaseUnavailable('the database is gone')

    with pytest.raises(ZeroDivisionError), on_each.service().held('firmware', why='x'):
        monkeypatch.setattr(on_each.database, 'write', gone)
        raise ZeroDivisionError

    assert 'break it with `ovca lock-break firmware`: the database is gone' in caplog.text


@pytest.mark.parametrize('name', ['firmware', 'cabling'])
def test_one_operation_at_a_time_is_held_and_the_next_is_told_of_it(on_each: Operated, name: str) -> None:
    with on_each.service().held('firmware', why='the disk shelf gets firmware 7') as hold:
        with (
            pytest.raises(OperationHeld) as caught,
            held(on_each.database, name, owner='olga', node='mn2', why='also something'),
        ):
            pytest.fail('both hold one')
        hold.check()

    since = f'{hold.since:%Y-%m-%dT%H:%M:%SZ}'
    assert f'otto holds the operation firmware on mn1 since {since} (the disk shelf gets firmware 7)' in str(
        caught.value
    )


def test_no_operation_begins_while_an_update_is_open(on_each: Operated) -> None:
    on_each.update('INSTALL_1')

    with (
        pytest.raises(UpdateOpen, match=r'update 1 to 1\.1\.0, which otto began at .*Z, is open \(INSTALL_1\)'),
        on_each.service().held('firmware', why='x'),
    ):
        pytest.fail('it began')


@pytest.mark.parametrize('name', ['update', 'images', 'Firm Ware', '', 'x' * 65])
def test_a_name_that_is_none_is_a_programmers_mistake(on_each: Operated, name: str) -> None:
    with pytest.raises(ValueError, match='cannot be the name'), on_each.service().held(name, why='x'):
        pytest.fail('it began')


def test_on_the_tables_of_older_software_nothing_is_held_and_nothing_fails(on_each: Operated) -> None:
    with on_each.database.write() as session:
        session.execute(text('DROP TABLE operation'))

    with pytest.raises(Refused) as caught, on_each.service().held('firmware', why='x'):
        pytest.fail('it began')

    assert caught.value.id == 'schema-behind'
    assert names(on_each) == []
    with on_each.database.read() as session:
        operations.refuse(session, 'an update')


def test_of_many_that_begin_at_once_one_gets_it(on_each: Operated) -> None:
    begin, got, refused = threading.Barrier(4), list[int](), list[OvcaError]()
    done = threading.Event()

    def work(number: int) -> None:
        begin.wait(20)
        try:
            with held(on_each.database, f'work-{number}', owner='otto', node='mn1', why='x'):
                got.append(number)
                done.wait(20)
        except OperationHeld as exc:
            refused.append(exc)
            if len(refused) == 3:
                done.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (len(got), len(refused)) == (1, 3)


def clerk(operated: Operated) -> Requests:
    return Requests(
        conf.load(str(operated.config_file)),
        Lease(operated.database, 'mn1', 'this run', ttl=30),
        epoch=lambda: 3,
        changed=lambda: None,
        running=('1.0.0', OLD),
        fail_over=lambda epoch, who, done, reason: 'mn2',
    )


def test_an_update_and_an_operation_do_not_cross(on_each: Operated) -> None:
    """Both begin at the same moment, again and again: never are both there, and one of them always is."""
    on_each.image()
    master = clerk(on_each)
    for _ in range(10):
        begin, outcomes = threading.Barrier(2), dict[str, object]()

        def opens(begin: threading.Barrier = begin, outcomes: dict[str, object] = outcomes) -> None:
            begin.wait(20)
            try:
                outcomes['update'] = master._duties._open(3, 0, '1.1.0', 'otto', retry_of=None, accepted=(), saved='')
            except OperationHeld as exc:
                outcomes['refused'] = exc

        thread = threading.Thread(target=opens)
        thread.start()
        begin.wait(20)
        try:
            with on_each.service().held('firmware', why='x'):
                outcomes['operation'] = True
                thread.join(20)
        except UpdateOpen as exc:
            outcomes['refused'] = exc
        thread.join(20)

        assert len(outcomes) == 2 and 'refused' in outcomes, outcomes
        with on_each.database.write() as session:
            session.execute(text('DELETE FROM event'))
            session.execute(text('DELETE FROM "update"'))


@pytest.mark.parametrize('situation', ['update', 'operation'])
@pytest.mark.parametrize(
    ('kind', 'args'),
    [
        ('activate', {'version': '1.2.0'}),
        ('retry', {}),
        ('node-set', {'name': 'mn2', 'mac': '52:54:00:00:00:31'}),
        ('node-delete', {'name': 'mn2'}),
    ],
)
def test_the_master_refuses_what_began_after_the_command_had_looked(
    on_each: Operated, situation: str, kind: str, args: dict[str, str]
) -> None:
    on_each.image().image('1.2.0', 'c' * 64)
    on_each.update('FAILED_DEGRADED')
    with on_each.database.write() as session:
        session.get_one(Node, 'mn2').last_seen_at = None
    service, master = on_each.service(), clerk(on_each)
    number = service.submit(kind, **args)
    if situation == 'update':
        on_each.update('INSTALL_1', created_by='olga')
    else:
        on_each.holds('firmware', owner='olga', why='new firmware')

    master.step()
    master.join(20)

    with pytest.raises(Refused, match=r'olga .*\d\d:\d\d:\d\dZ') as caught:
        service.wait(number)
    assert caught.value.id in ('update-open', 'node-pinned', 'operation-held')


# Stale locks.

KILLED = """
import sys, time
from ovca import conf
from ovca.remaster.service import Service

with Service(conf.load(sys.argv[1]), user='olga').held('firmware', why='the disk shelf gets firmware 7'):
    print('held', flush=True)
    time.sleep(600)
"""


@pytest.fixture
def left(on_each: Operated) -> Operated:
    """Somebody was killed in the middle of an operation."""
    argv = [sys.executable, '-c', KILLED, str(on_each.config_file)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': ':'.join(sys.path)}) as child:
        assert child.stdout is not None and child.stdout.readline() == b'held\n'
        child.send_signal(signal.SIGKILL)
    return on_each


def break_it(operated: Operated, name: str = 'firmware', **args: object) -> None:
    """Ask for it as the command does, and let the master do it."""
    service = operated.service()
    lock = service.breakable(name)
    number = service.submit('lock-break', name=name, since=lock.since.isoformat(), **args)
    clerk(operated).step()
    service.wait(number)


def test_what_a_killed_process_held_stays_looks_stale_and_is_broken_on_record(left: Operated) -> None:
    (lock,) = left.service().locks()

    break_it(left, reason='its terminal is gone')

    assert lock.stale
    assert lock.detail.endswith('has ended')
    assert names(left) == []
    since = f'{lock.since:%Y-%m-%dT%H:%M:%SZ}'
    assert journal(left)[-1] == (
        f'otto broke the lock firmware of olga, held since {since} (the disk shelf gets firmware 7); {lock.detail}; '
        f'its terminal is gone'
    )


def test_what_does_not_look_stale_is_broken_only_if_that_is_certain(on_each: Operated) -> None:
    with pytest.raises(Refused) as told, on_each.service().held('firmware', why='x') as hold:
        with pytest.raises(Refused) as caught:
            break_it(on_each)
        break_it(on_each, certain=True)
        with pytest.raises(Refused, match='somebody broke its lock'):
            hold.check()

    assert (caught.value.id, told.value.id) == ('lock-alive', 'lock-broken')
    assert names(on_each) == []
    assert journal(on_each)[-1].endswith('it did not look stale, and the name was given once more')


def test_what_was_taken_anew_meanwhile_is_not_broken(left: Operated) -> None:
    service = left.service()
    before = service.breakable('firmware')
    break_it(left)
    with service.held('firmware', why='again'):
        number = service.submit('lock-break', name='firmware', since=before.since.isoformat())
        clerk(left).step()

        with pytest.raises(Refused, match='was taken anew by otto meanwhile') as caught:
            service.wait(number)

    assert caught.value.id == 'lock-taken-anew'


def test_to_break_what_is_gone_already_is_no_error(left: Operated) -> None:
    service = left.service()
    number = service.submit('lock-break', name='firmware', since=service.breakable('firmware').since.isoformat())
    with left.database.write() as session:
        session.execute(delete(Operation))

    clerk(left).step()

    assert service.wait(number).state == 'done'


def test_the_open_update_is_a_lock_and_is_not_broken(on_each: Operated) -> None:
    on_each.update('INSTALL_1')

    (lock,) = on_each.service().locks()
    with pytest.raises(Refused, match='end it with `ovca update-abort`') as caught:
        on_each.service().breakable('update')
    with pytest.raises(UsageError, match='held are: update'):
        on_each.service().breakable('firmware')

    assert (lock.name, lock.owner, lock.node, lock.stale) == ('update', 'otto', 'mn1', False)
    assert lock.why == 'mn2, then mn1, are updated to 1.1.0'
    assert caught.value.id == 'lock-is-update'


@pytest.mark.parametrize('certain', [None, True])
def test_the_master_does_not_break_an_open_update_whoever_asks_for_it(on_each: Operated, certain: bool | None) -> None:
    on_each.update('INSTALL_1')
    service = on_each.service()
    (lock,) = service.locks()
    before = journal(on_each)

    asked = service.submit('lock-break', name='update', since=lock.since.isoformat(), certain=certain)
    clerk(on_each).step()

    with pytest.raises(Refused, match='the open update itself') as caught:
        service.wait(asked)
    assert caught.value.id == 'lock-is-update'
    assert journal(on_each) == before
    assert [(each.name, each.since) for each in service.locks()] == [('update', lock.since)]


@pytest.mark.parametrize(
    ('here', 'boot_id', 'runs', 'stale', 'detail'),
    [
        ('mn1', 'boot-1', True, False, 'process 77 runs'),
        ('mn1', 'boot-1', False, True, 'process 77 has ended'),
        ('mn1', 'boot-2', True, True, 'mn1 has started anew since'),
        ('mn2', 'boot-1', False, False, 'process 77 is on mn1; only there it can be seen'),
        ('mn2', 'boot-2', False, True, 'mn1 has started anew since'),
        ('mn2', None, False, False, 'nothing is known of mn1'),
    ],
)
def test_stale_is_only_what_certainly_is(here: str, boot_id: str | None, runs: bool, stale: bool, detail: str) -> None:
    row = Operation(name='firmware', owner='otto', node='mn1', boot_id='boot-1', pid=77, why='x')

    judged = locks.judge(row, here=here == 'mn1', boot_id=boot_id, last_seen=None, runs=lambda pid: runs)

    assert judged == (stale, detail)


def test_the_other_node_sees_by_the_row_of_the_node_that_it_has_started_anew(left: Operated) -> None:
    left.configure('mn2')
    with left.database.write() as session:
        session.get_one(Node, 'mn1').boot_id = session.scalars(select(Operation)).one().boot_id
    (before,) = left.service().locks()

    with left.database.write() as session:
        session.get_one(Node, 'mn1').boot_id = 'another'
    (after,) = left.service().locks()

    assert not before.stale and 'only there it can be seen' in before.detail
    assert after.stale and after.detail == 'mn1 has started anew since'


def test_who_works_on_the_images_is_a_lock_too(on_each: Operated) -> None:
    script = 'import sys\nfrom pathlib import Path\nfrom ovca.image import Store\n'
    script += f'with Store(Path({str(on_each.folder / "shared")!r}), owner="request 7 on mn2").lock():\n'
    script += '    print("locked", flush=True)\n    sys.stdin.read()'
    before = on_each.service().locks()
    env = {**os.environ, 'PYTHONPATH': ':'.join(sys.path)}

    with subprocess.Popen(
        [sys.executable, '-c', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b'locked\n'
        (lock,) = on_each.service().locks()
        with pytest.raises(Refused) as caught:
            on_each.service().breakable('images')
        other.kill()

    assert (before, on_each.service().locks()) == ((), ())
    assert (lock.name, lock.owner, lock.node, lock.stale) == ('images', 'request 7 on mn2', 'mn2', False)
    assert lock.since is not None
    assert caught.value.id == 'lock-is-images'
