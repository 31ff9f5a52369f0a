"""What is refused while an update is open or an operation is held, by the table of the manual; and the locks."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text

from ovca import conf, plugins
from ovca.cluster.lease import Lease
from ovca.daemon.requests import Requests
from ovca.db.models import Lease as LeaseRow
from ovca.db.models import Node, Operation
from tests.operated import OLD, Operated
from tests.unit.cli.test_commands import asked, run

PAGE = Path(__file__).parents[3] / 'doc/source/tasks/locks.rst'
ROW = re.compile(r'   \* - ``(?P<command>[a-z-]+)``\n     - (?P<update>.+)\n     - (?P<operation>.+)\n')
TABLE = {row['command']: row.groupdict() for row in ROW.finditer(PAGE.read_text())}
COMMANDS = sorted(name for name, extension in plugins.chosen('ovca.cli').items() if extension.core)
SITUATIONS = ('update', 'operation')
REFUSED = [(name, each) for name in TABLE for each in SITUATIONS if TABLE[name][each].startswith('refused')]
TYPED: dict[str, tuple[str, ...]] = {
    'activate': ('activate', '1.2.0', '--yes'),
    'db-upgrade': ('db-upgrade', '--yes'),
    'failover': ('failover', '--yes'),
    'image-delete': ('image-delete', '1.1.0', '--yes'),
    'lock-break': ('lock-break', 'update', '--yes'),
    'node-delete': ('node-delete', 'mn2', '--yes'),
    'node-reinstall': ('node-reinstall', 'mn2', '--yes'),
    'node-replace': ('node-replace', 'mn2', '--mac', '52:54:00:00:00:31', '--yes'),
    'node-set': ('node-set', 'mn2', '--mac', '52:54:00:00:00:31'),
    'update': ('update', 'https://example.com/x.zip', '--image-version', '1.2.0'),
    'update-retry': ('update-retry', '--yes'),
}
"""A command line that would be carried out, were it not for the situation."""


@contextmanager
def clerk(operated: Operated) -> Iterator[None]:
    """The acting master's own clerk carries out what is asked for."""
    with operated.database.write() as session:
        session.scalars(select(LeaseRow)).one().incarnation = 'this run'
    master = Requests(
        conf.load(str(operated.config_file)),
        Lease(operated.database, 'mn1', 'this run', ttl=30),
        epoch=lambda: 3,
        changed=lambda: None,
        running=('1.0.0', OLD),
        fail_over=lambda epoch, who, done, reason: 'mn2',
    )
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.02):
            master.step()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(20)
        master.join(20)


@pytest.mark.parametrize('name', COMMANDS)
def test_the_manual_says_of_each_command_what_refuses_it(name: str) -> None:
    assert name in TABLE, f'add ``{name}`` to the table in {PAGE.name}'
    for situation in SITUATIONS:
        assert re.match(r'works|refused( for [a-z ]+)?, :error:`', TABLE[name][situation])


def test_the_manual_names_no_command_that_is_none() -> None:
    assert set(TABLE) <= set(COMMANDS)


@pytest.mark.parametrize(('name', 'situation'), REFUSED)
def test_what_the_manual_calls_refused_is_refused_with_who_since_when_and_why(
    operated: Operated, name: str, situation: str
) -> None:
    operated.started().image().image('1.2.0', 'c' * 64)
    operated.configure('mn1')
    operated.silent(20)  # nobody is forgotten who is alive
    if situation == 'update':
        operated.update('INSTALL_1', created_by='olga')
        why = r'update 1|updated to 1\.1\.0'
    else:
        operated.update('FAILED_DEGRADED')
        operated.holds('firmware', owner='olga', why='the disk shelf gets firmware 7')
        why = r'firmware.*\(the disk shelf gets firmware 7\)'
    if name == 'db-upgrade':
        with operated.database.write() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '0002'"))

    with clerk(operated):
        before = operated.rows()
        result = run(operated, *TYPED[name])

    found = re.search(r':error:`([a-z-]+)`', TABLE[name][situation])
    assert found is not None
    assert result.code == 6, result.err
    told = result.err.splitlines()[-1]
    assert told.endswith(f'[{found[1]}]')
    assert 'olga' in told
    assert re.search(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', told)
    assert re.search(why, told)
    assert operated.rows() == before, 'it was refused, and has changed something'


def test_what_is_refused_for_one_thing_works_for_another(operated: Operated) -> None:
    operated.started().image().image('0.9.0', 'c' * 64)
    operated.update('INSTALL_1')

    with clerk(operated):
        results = [
            run(operated, 'image-delete', '0.9.0', '--yes'),
            run(operated, 'node-add', 'cn1', '--kind', 'compute'),
            run(operated, 'node-set', 'cn1', '--mac', '52:54:00:00:00:31'),
            run(operated, 'node-delete', 'cn1', '--yes'),
            run(operated, 'update-abort', '--yes'),
        ]

    assert [result.code for result in results] == [0] * 5, [result.err for result in results]


def test_lock_list_says_who_where_since_when_and_why_on_both_nodes(operated: Operated) -> None:
    operated.started().update('INSTALL_1')
    operated.configure('mn2')

    (lock,) = run(operated, 'lock-list', '-f', 'json').json
    table = run(operated, 'lock-list').out

    assert (lock['name'], lock['owner'], lock['node'], lock['stale']) == ('update', 'otto', 'mn1', False)
    assert lock['why'] == 'mn2, then mn1, are updated to 1.1.0'
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', lock['since'])
    assert table.splitlines()[0].split() == ['name', 'owner', 'node', 'since', 'why', 'stale']


def test_a_stale_lock_is_broken_after_one_question(operated: Operated) -> None:
    operated.started().holds('firmware', owner='olga', why='new firmware', boot_id='an earlier one')

    with clerk(operated):
        no = asked(operated, 'n', 'lock-break', 'firmware')
        yes = asked(operated, 'y', 'lock-break', 'firmware', '--reason', 'the power failed')

    assert (no.code, yes.code, yes.out) == (6, 0, 'the lock firmware is broken\n'), yes.err
    assert 'firmware: held by olga on mn1 since ' in yes.err
    assert 'it looks stale: mn1 has started anew since' in yes.err
    assert yes.err.count('[y/N]') == 1
    (event,) = run(operated, 'event-list', '--kind', 'lock', '-f', 'json').json
    assert re.search(
        r'broke the lock firmware of olga, held since .*Z \(new firmware\); .*; the power failed$', event['detail']
    )


def test_the_name_is_answer_enough_whatever_the_lock_looks_like(operated: Operated) -> None:
    operated.started().holds('firmware', owner='olga', why='new firmware', boot_id='an earlier one')

    with clerk(operated):
        wrong = run(operated, 'lock-break', 'firmware', '--confirm', 'firmwares', '--yes')
        right = run(operated, 'lock-break', 'firmware', '--confirm', 'firmware')

    assert (wrong.code, right.code) == (6, 0), right.err
    assert wrong.err.endswith("'firmwares' is not the name of the lock; nothing was done [declined]\n")


def test_one_that_does_not_look_stale_wants_its_name_typed(operated: Operated) -> None:
    operated.started().holds('firmware', owner='olga', why='new firmware')

    with clerk(operated):
        script = run(operated, 'lock-break', 'firmware', '--yes')
        wrong = asked(operated, 'y', 'lock-break', 'firmware')
        other = run(operated, 'lock-break', 'firmware', '--confirm', 'firmwares')
        held = run(operated, 'lock-list', '-f', 'json').json
        right = asked(operated, 'firmware', 'lock-break', 'firmware')

    assert [script.code, wrong.code, other.code, right.code] == [6, 6, 6, 0], right.err
    assert script.err.endswith('[lock-alive]\n')
    assert wrong.err.endswith("'y' is not the name of the lock; nothing was done [declined]\n")
    assert [lock['name'] for lock in held] == ['firmware']
    assert run(operated, 'lock-list', '-f', 'json').json == []


def test_a_lock_is_broken_on_the_master_only(operated: Operated) -> None:
    operated.started().holds('firmware', owner='olga', why='new firmware', boot_id='an earlier one')
    operated.configure('mn2')

    result = run(operated, 'lock-break', 'firmware', '--yes')

    assert (result.code, 'run the command on mn1' in result.err) == (7, True)
    with operated.database.read() as session:
        assert session.get(Operation, 'firmware') is not None


def test_where_the_cluster_shows_itself_it_says_that_it_runs_on_one_node(operated: Operated) -> None:
    operated.started()
    both = run(operated, 'node-list'), run(operated, 'master-show', '-f', 'json').json
    with operated.database.write() as session:
        node = session.get_one(Node, 'mn2')
        node.last_seen_at = session.scalars(select(LeaseRow)).one().renewed_at - dt.timedelta(seconds=600)
    since = f'{node.last_seen_at:%Y-%m-%dT%H:%M:%SZ}'

    table, data, master = (
        run(operated, *words) for words in (['node-list'], ['node-list', '-f', 'json'], ['master-show', '-f', 'json'])
    )

    assert both[0].err == ''
    assert (both[1]['alone_since'], both[1]['alone_because']) == (None, None)
    line = f'running on one node, mn1, since {since}: mn2 was last seen then\n'
    assert (table.err, data.err) == (line, line)
    assert [row['name'] for row in data.json] == ['mn1', 'mn2']
    assert (master.json['alone_since'], master.json['alone_because']) == (since, 'mn2 was last seen then')
