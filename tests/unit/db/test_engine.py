from __future__ import annotations

import datetime as dt
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from ovca.db import engine, events, sqlite
from ovca.db.engine import Database
from ovca.db.models import Event
from ovca.exceptions import ConfigError, DatabaseError, DatabaseUnavailable, SchemaError


def add(session: Session, detail: str = 'something') -> None:
    events.append(session, kind='test', detail=detail, node='mn1')


def details(session: Session) -> list[str]:
    return list(session.scalars(select(Event.detail).order_by(Event.id)))


def test_what_is_written_is_there_afterwards(database: Database) -> None:
    with database.write() as session:
        add(session, 'kept')

    with database.read() as session:
        assert details(session) == ['kept']


def test_an_exception_takes_everything_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:
        add(session)
        session.flush()
        raise ZeroDivisionError

    with database.read() as session:
        assert details(session) == []


def test_a_reader_sees_one_snapshot_while_others_write(database: Database) -> None:
    with database.read() as reader:
        before = details(reader)
        with database.write() as writer:
            add(writer)

        assert details(reader) == before == []


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseError), database.read() as session:
        add(session)
        session.flush()


def test_a_connection_that_was_used_for_reading_can_write_afterwards(database: Database) -> None:
    for _ in range(3):
        with database.read() as session:
            details(session)
        with database.write() as session:
            add(session)

    with database.read() as session:
        assert len(details(session)) == 3


def test_what_was_loaded_stays_usable_after_the_transaction(database: Database) -> None:
    with database.write() as session:
        add(session, 'kept')

    with database.read() as session:
        event = session.scalars(select(Event)).one()

    assert (event.detail, event.actor) == ('kept', 'mn1')


def test_a_write_inside_a_write_is_a_mistake_and_is_said_at_once(database: Database) -> None:
    with database.write(), pytest.raises(RuntimeError), database.write():
        pass

    with database.write() as session:
        add(session)


def test_time_is_aware_utc_and_goes_on_within_a_transaction(database: Database) -> None:
    with database.write() as session:
        first, second = database.now(session), database.now(session)

    assert first.tzinfo is dt.UTC
    assert first <= second


def test_a_time_comes_back_as_it_was_written_whatever_its_zone(database: Database) -> None:
    moment = dt.datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    with database.write() as session:
        session.add(Event(kind='test', actor='', at=moment))

    with database.read() as session:
        found = session.scalars(select(Event.at)).one()

    assert found == moment
    assert found.utcoffset() == dt.timedelta(0)


def test_who_finds_the_database_locked_is_told_so(database: Database, database_url: str) -> None:
    other = Database(database_url, lock_timeout=0.2)

    def lock(session: Session) -> None:
        if database.dialect == 'postgresql':
            session.execute(text('LOCK TABLE event'))

    with database.write() as session:
        lock(session)
        with pytest.raises(DatabaseUnavailable) as caught, other.write() as second:
            lock(second)

    assert caught.value.id == 'database-locked'
    with other.write() as session:
        add(session)
    other.dispose()


def test_a_refused_statement_is_a_database_error_in_one_line(database: Database) -> None:
    with pytest.raises(DatabaseError, match='no_such_table') as caught, database.write() as session:
        session.execute(text('SELECT * FROM no_such_table'))

    assert not isinstance(caught.value, DatabaseUnavailable)
    assert '\n' not in str(caught.value)


def test_a_database_without_tables_is_told_from_one_that_refuses(database_url: str) -> None:
    database = Database(database_url)

    with pytest.raises(DatabaseError) as caught, database.read() as session:
        session.execute(text('SELECT * FROM event'))
    database.dispose()

    assert caught.value.id == 'schema-missing'


def test_reading_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / 'ovca.sqlite'
    database = Database(f'sqlite:///{path}')

    with pytest.raises(SchemaError, match=f'{path} does not exist; start ovca.service') as caught, database.read():
        pass
    database.dispose()

    assert (caught.value.id, path.exists()) == ('schema-missing', False)


def test_a_statement_that_is_not_understood_is_refused(database: Database) -> None:
    with pytest.raises(DatabaseError) as caught, database.read() as session:
        session.execute(text('SELEKT 1'))

    assert caught.value.id == 'database-refused'


@pytest.mark.parametrize('change', [{'database': 'nowhere'}, {'username': 'nobody'}])
def test_who_is_not_let_in_is_told_so(postgresql_url: str, change: dict[str, str]) -> None:
    database = Database(make_url(postgresql_url).set(**change).render_as_string(hide_password=False))

    with pytest.raises(DatabaseUnavailable) as caught, database.read():
        pass
    database.dispose()

    assert caught.value.id == 'database-login'


def test_a_mistake_of_the_programmer_is_not_hidden(database: Database) -> None:
    with pytest.raises(Exception, match='without a zone') as caught, database.write() as session:
        session.add(Event(kind='test', actor='', at=dt.datetime(2026, 1, 1)))

    assert not isinstance(caught.value, DatabaseError)


def test_sqlite_is_durable_waits_for_locks_and_keeps_references(tmp_path: Path) -> None:
    database = Database(f'sqlite:///{tmp_path}/ovca.sqlite', lock_timeout=3)

    with database.write() as session:
        names = ('journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout')
        found = [session.execute(text(f'PRAGMA {name}')).scalar_one() for name in names]

    assert found == ['wal', 2, 1, 3000]
    database.dispose()


def test_postgresql_limits_every_wait_of_a_session(on_postgresql: Database) -> None:
    names = (
        'lock_timeout',
        'statement_timeout',
        'idle_in_transaction_session_timeout',
        'transaction_isolation',
    )

    with on_postgresql.write() as session:
        found = [session.execute(text(f'SHOW {name}')).scalar_one() for name in names]

    assert found == ['1s', '2s', '2s', 'read committed']


def test_a_commit_survives_a_crash_even_where_the_server_is_set_to_be_fast(
    on_postgresql: Database, postgresql_url: str
) -> None:
    with on_postgresql.write() as session:
        name = session.execute(text('SELECT current_database()')).scalar_one()
        session.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    fresh = Database(postgresql_url)

    with fresh.write() as session:
        assert session.execute(text('SHOW synchronous_commit')).scalar_one() == 'on'
    fresh.dispose()


def test_a_session_that_the_server_ended_is_replaced(on_postgresql: Database) -> None:
    with on_postgresql.read() as session:
        mine = session.execute(text('SELECT pg_backend_pid()')).scalar_one()
    killer = Database(_url(on_postgresql))
    with killer.write() as session:
        session.execute(text('SELECT pg_terminate_backend(:pid)'), {'pid': mine})
    killer.dispose()

    with on_postgresql.write() as session:
        assert session.execute(text('SELECT pg_backend_pid()')).scalar_one() != mine


def test_a_transaction_that_stands_still_is_ended_by_the_server(postgresql_url: str) -> None:
    database = Database(postgresql_url, idle_timeout=0.2)

    with pytest.raises(DatabaseUnavailable), database.write() as session:
        session.execute(text('SELECT 1'))
        threading.Event().wait(1)
        session.execute(text('SELECT 1'))

    with database.read() as session:
        assert session.execute(text('SELECT 1')).scalar_one() == 1
    database.dispose()


class Forwarder:
    """A cable between a client and PostgreSQL that can go dead without closing."""

    def __init__(self, host: str, port: int) -> None:
        self.target, self.alive, self.sockets = (host, port), True, list[socket.socket]()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            self.sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.alive:
                    sink.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        for one in (self.listener, *self.sockets):
            one.close()


@pytest.fixture
def cable(postgresql_url: str) -> Iterator[Forwarder]:
    url = make_url(postgresql_url)
    host = url.host or str(url.query.get('host', '127.0.0.1'))
    if host.startswith('/'):
        pytest.skip('the server listens on a file only')
    forwarder = Forwarder(host, url.port or int(str(url.query.get('port', 5432))))
    yield forwarder
    forwarder.close()


def test_a_dead_line_ends_the_wait_of_old_and_new_connections(postgresql_url: str, cable: Forwarder) -> None:
    url = make_url(postgresql_url).set(host='127.0.0.1', port=cable.port)
    database = Database(
        url.render_as_string(hide_password=False), connect_timeout=1, statement_timeout=0.2, lock_timeout=0.2
    )
    with pytest.raises(DatabaseUnavailable, match='no answer'), database.write() as session:
        cable.alive = False
        session.execute(text('SELECT 1'))

    with pytest.raises(DatabaseUnavailable), database.read():
        pass  # a new connection, to a server that never says a word

    database.dispose()


@pytest.mark.extra('postgresql')
def test_an_unreachable_server_is_named_without_the_password() -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    database = Database(f'postgresql://ovca:s3cret@127.0.0.1:{port}/ovca?sslpassword=hidden1')

    with pytest.raises(DatabaseUnavailable) as caught, database.read():
        pass

    for text_ in (str(caught.value), repr(caught.value.__cause__), str(database), repr(database)):
        assert 's3cret' not in text_
        assert 'hidden1' not in text_
    assert f'127.0.0.1:{port}' in str(caught.value)
    assert caught.value.id == 'database-unavailable'


@pytest.mark.parametrize(
    'url',
    [
        '',
        's3cret',
        'postgresql://ovca:s3cret@host:port/x',
        'mysql://ovca:s3cret@host/x',
        'sqlite://',
        'sqlite:///:memory:',
    ],
)
def test_a_wrong_url_is_a_configuration_error_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Database(url)

    assert 's3cret' not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    database = Database(f'sqlite:///{tmp_path}/missing/ovca.sqlite')

    with pytest.raises(DatabaseUnavailable, match=r'missing/ovca\.sqlite'), database.read():
        pass


def configuration(tmp_path: Path, **given: Any) -> Any:
    database: dict[str, Any] = {
        'connection': f'sqlite:///{tmp_path}/ovca.sqlite',
        'connection_file': None,
        'single_host': False,
    }
    database |= {'connect_timeout': 2, 'lock_timeout': 2, 'statement_timeout': 2, 'idle_timeout': 2}
    peer = given.pop('peer', None)
    return SimpleNamespace(database=SimpleNamespace(**database | given), cluster=SimpleNamespace(peer=peer))


def test_sqlite_beside_a_peer_is_refused_unless_both_are_on_one_machine(tmp_path: Path) -> None:
    engine.check_single_host(configuration(tmp_path))
    engine.check_single_host(configuration(tmp_path, peer='mn2', single_host=True))
    engine.check_single_host(configuration(tmp_path, peer='mn2', connection='postgresql://host/ovca'))

    with pytest.raises(ConfigError, match='single_host'):
        engine.check_single_host(configuration(tmp_path, peer='mn2'))


def test_the_url_can_come_from_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / 'url'
    conf = configuration(tmp_path, connection_file=str(file))
    with pytest.raises(ConfigError, match='cannot be read'):
        Database.from_conf(conf)

    file.write_text(f'sqlite:///{tmp_path}/other.sqlite\n')
    file.chmod(0o600)

    assert str(Database.from_conf(conf)) == f'sqlite:///{tmp_path}/other.sqlite'


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
35 21 0:40 / /nfs/shared\\040storage rw,relatime shared:2 - nfs4 filer:/export rw,vers=4.2
36 35 8:2 / /nfs/shared\\040storage/local rw - xfs /dev/sdb1 rw
37 21 0:41 / /sshfs rw - fuse.sshfs me@there: rw
"""


@pytest.mark.parametrize(
    ('file', 'refused'),
    [
        ('/var/lib/ovca/ovca.sqlite', False),
        ('/nfs/shared storage/ovca.sqlite', True),
        ('/nfs/shared storage/local/ovca.sqlite', False),
        ('/nfs/shared storage more/ovca.sqlite', False),
        ('/sshfs/a/b.sqlite', True),
    ],
)
def test_an_sqlite_file_on_a_network_file_system_is_refused(tmp_path: Path, file: str, refused: bool) -> None:
    mounts = tmp_path / 'mountinfo'
    mounts.write_text(MOUNTS)

    if refused:
        with pytest.raises(ConfigError, match='network file system'):
            sqlite.refuse_network(Path(file), mounts)
    else:
        sqlite.refuse_network(Path(file), mounts)


def _url(database: Database) -> str:
    return database._url.render_as_string(hide_password=False)
