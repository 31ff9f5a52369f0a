"""Fixtures for all tests: databases on both engines, and how to do without what is not installed.

Two variables choose among the tests; tox sets them from the name of the environment. ``OVCA_TEST_ENGINE=sqlite`` or
``postgresql`` leaves out what runs on the other engine. ``OVCA_TEST_BARE=1`` says that ovca is installed without its
extras on purpose. ``OVCA_REQUIRE_PEERS=1`` makes anything else that is missing a failure.
"""

from __future__ import annotations

import gc
import getpass
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

gc.disable()  # until all is collected: what that makes stays, and a quarter of its time was to look through it

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts what it sends to the background so, and each child would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ['ovca.testing.fixtures']
settings.register_profile(
    'patient', deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a machine may be busy
settings.load_profile('patient')
REQUIRE_PEERS = os.environ.get('OVCA_REQUIRE_PEERS') == '1'
BARE = os.environ.get('OVCA_TEST_BARE') == '1'
ENGINES = ('sqlite', 'postgresql')
LIBRARIES = {'fast': 'isal', 'fuzz': 'atheris', 'lab': 'sushy_tools', 'postgresql': 'psycopg', 'redfish': 'sushy'}
"""What an extra of ovca brings, by the extra."""
DISK = Path('/var/tmp')
"""What lies here outlives a reboot (Filesystem Hierarchy Standard 3.0, 5.15)."""
LABS = 2
"""How many workers run labs: a lab takes a third of a processor while nothing happens in it."""
PATIENCE = 30  # seconds for the server to come up; never reached when all is well


def missing_peer(reason: str) -> NoReturn:
    """Skip the test, or fail it where every peer has to be there (``OVCA_REQUIRE_PEERS=1``)."""
    if REQUIRE_PEERS:
        pytest.fail(f'{reason} (OVCA_REQUIRE_PEERS=1)', pytrace=False)
    pytest.skip(reason)


def need_extra(extra: str) -> None:
    """Skip the test, or fail it, when this extra of ovca is not installed."""
    library = LIBRARIES[extra]
    if importlib.util.find_spec(library) is not None:
        return
    reason = f"{library} is not installed: pip install 'ovca[{extra}]'"
    if BARE:
        pytest.skip(reason)
    missing_peer(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Judge the mark ``extra`` before any fixture is made."""
    for mark in item.iter_markers('extra'):
        need_extra(*mark.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what is no UTF-8 in what a test has logged: a worker of xdist could not send it, and would end."""
    report = yield
    report.sections = [(name, text.encode(errors='backslashreplace').decode()) for name, text in report.sections]
    return report


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups afterwards
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to the engine that is not asked for; let few labs run side by side."""
    _leave_out(config, items)
    stories = [item for item in items if item.get_closest_marker('functional')]
    for place, item in enumerate(each for each in stories if not each.get_closest_marker('xdist_group')):
        item.add_marker(pytest.mark.xdist_group(f'lab-{place % LABS}'))


def _leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    only = os.environ.get('OVCA_TEST_ENGINE', '')
    if not only:
        return
    if only not in ENGINES:
        raise pytest.UsageError(f'OVCA_TEST_ENGINE is {only!r}; it can be one of {", ".join(ENGINES)}')
    left_out = [item for item in items if engine_of(item) not in (only, None)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a pytest in which xdist's groups are none: each worker would make anew what is made once for a group."""
    gc.collect()
    gc.freeze()  # thousands of tests that stay: the collector need not look at them again and again
    gc.enable()
    if not getattr(session.config.option, 'loadgroup', False):
        return
    lost = [item.nodeid for item in session.items if item.get_closest_marker('xdist_group') and '@' not in item.nodeid]
    if lost:
        raise pytest.UsageError(f'{lost[0]} is in no group of xdist; install the versions in constraints.txt')


def engine_of(item: pytest.Item) -> str | None:
    """The engine that a test is about; None for the many that do not care, and use a file where they need rows."""
    chosen = getattr(getattr(item, 'callspec', None), 'params', {}).get('database_url')
    if chosen is None and 'postgresql_server' in getattr(item, 'fixturenames', ()):
        return 'postgresql'
    return chosen


@pytest.fixture
def disk_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder on a disk, as other temporary files may lie in memory (``TMPDIR``); it stays when the test fails."""
    failed = request.session.testsfailed
    folder = Path(tempfile.mkdtemp(prefix='ovca-', dir=DISK))
    yield folder
    if request.session.testsfailed == failed:
        shutil.rmtree(folder)


class PostgresServer:
    """A private PostgreSQL in a folder of its own; it dies with the tests, even if they are killed."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / 'server.log'
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            self._as_user = ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups']
            account = pwd.getpwnam('postgres')
            os.chown(folder, account.pw_uid, account.pw_gid)
        else:
            self._as_user = ['setpriv']

    def start(self) -> None:
        """Create the cluster and start the server on a free port; safe for tests, not for data."""
        options = [
            '--auth=trust',
            '--username=ovca',
            '--encoding=UTF8',
            '--no-locale',
            '--no-sync',
            '--no-instructions',
        ]
        self._run('initdb', '--pgdata', str(self.folder / 'data'), *options)
        for _ in range(5):  # somebody else may take the port between our look and the server's
            self.port = free_port()
            self._process = self._serve()
            if self._ready(self._process):
                return
        raise RuntimeError(f'PostgreSQL does not start: {self._log.read_text(errors="replace")[-2000:]}')

    def url(self, database: str) -> str:
        return f'postgresql://ovca@127.0.0.1:{self.port}/{database}'

    def create(self, database: str) -> None:
        self._sql(f'CREATE DATABASE "{database}"')

    def drop(self, database: str) -> None:
        self._sql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def again(self) -> None:
        """Start it after a stop, on the port of before; return when it answers."""
        self._process = self._serve()
        if not self._ready(self._process):
            raise RuntimeError(f'PostgreSQL does not start again: {self._log.read_text(errors="replace")[-2000:]}')

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE)

    def restart(self) -> None:
        """Start the server that was stopped, with its data and on its port."""
        self._process = self._serve()
        if not self._ready(self._process):
            raise RuntimeError(f'PostgreSQL does not start: {self._log.read_text(errors="replace")[-2000:]}')

    def _serve(self) -> subprocess.Popen[bytes]:
        settings = {
            'port': str(self.port),
            'listen_addresses': '127.0.0.1',
            'unix_socket_directories': '',
            'fsync': 'off',
            'full_page_writes': 'off',
            'max_connections': '200',
            'shared_buffers': '32MB',
        }
        arguments = ['-D', str(self.folder / 'data'), *(f'--{name}={value}' for name, value in settings.items())]
        with self._log.open('ab') as log:
            return subprocess.Popen(
                # The server is told to stop when this process dies.
                [*self._as_user, '--pdeathsig', 'QUIT', str(self.programs / 'postgres'), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _ready(self, process: subprocess.Popen[bytes]) -> bool:
        import psycopg

        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.url('postgres'), connect_timeout=2).close()
                return True
            except psycopg.OperationalError:
                time.sleep(0.05)
        return False

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self.programs / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f'{program} failed: {done.stderr}')

    def _sql(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url('postgres'), autocommit=True) as connection:
            connection.execute(statement.encode())


def free_port(address: str = '127.0.0.1') -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def postgres_programs() -> Path | None:
    """The folder of the newest installed server."""
    found = [path.parent for path in Path('/usr/lib/postgresql').glob('*/bin/postgres')]
    if not found and (other := shutil.which('postgres')):
        found = [Path(other).resolve().parent]
    return max(found, key=lambda path: _number(path.parent.name), default=None)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _have_user_postgres() -> bool:
    try:
        pwd.getpwnam('postgres')
    except KeyError:
        return False
    return True


@pytest.fixture(scope='session')
def postgresql_server() -> Iterator[PostgresServer]:
    """One server for the session (for each worker, under xdist)."""
    need_extra('postgresql')
    programs = postgres_programs()
    if programs is None or shutil.which('setpriv') is None:
        missing_peer('PostgreSQL is not installed: apt-get install postgresql')
    if os.getuid() == 0 and not _have_user_postgres():
        missing_peer(f'{getpass.getuser()} cannot run PostgreSQL and there is no user postgres')
    with tempfile.TemporaryDirectory(prefix='ovca-postgresql-') as folder:
        server = PostgresServer(programs, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgresql_url(postgresql_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database."""
    name = f'ovca_{uuid.uuid4().hex[:12]}'
    postgresql_server.create(name)
    yield postgresql_server.url(name)
    postgresql_server.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f'sqlite:///{tmp_path / "ovca.sqlite"}'


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database; the test runs once on each engine."""
    url: str = request.getfixturevalue(f'{request.param}_url')
    return url
