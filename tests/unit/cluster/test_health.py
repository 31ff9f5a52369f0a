"""What a node finds out about itself: by the core's checks, and by those that its configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovca import conf
from ovca.cluster import health
from ovca.cluster.health import HealthContext, HealthMonitor
from ovca.db.engine import Database
from ovca.exceptions import PluginError

Install = Callable[..., None]
Monitor = Callable[..., HealthMonitor]
VENDOR = """
import threading

from ovca.cluster.health import HealthCheck

RELEASE = threading.Event()
CALLS = []


class Good(HealthCheck):
    def check(self):
        return None


class Raises(HealthCheck):
    def check(self):
        raise ValueError('odd')


class Hangs(HealthCheck):
    def check(self):
        CALLS.append(self)
        RELEASE.wait(60)


class Named(HealthCheck):
    def check(self):
        return threading.current_thread().name


class Leaves(HealthCheck):
    def check(self):
        raise SystemExit('left')


class Bytes(HealthCheck):
    def check(self):
        return 'no file caf\\udce9 \\0'


class Keeps(HealthCheck):
    closed = 0

    def check(self):
        return None

    def close(self):
        Keeps.closed += 1


class FailsToClose(Keeps):
    def close(self):
        raise OSError('it is gone already')


class HangsToClose(Keeps):
    def close(self):
        RELEASE.wait(60)
"""


@pytest.fixture
def monitor(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    """A monitor of the checks with these names."""
    database, made = Database(sqlite_url), []
    monkeypatch.setattr(health, 'CORE', ())  # an appliance's own checks are not the matter here

    def make(*checks: str, timeout: float = 20) -> HealthMonitor:
        path = tmp_path / 'ovca.conf'
        path.write_text(f'[health]\nchecks = {",".join(checks)}\ntimeout = {timeout}\n')
        context = HealthContext(conf.load(str(path)), database, 'mn1', lambda: False)
        made.append(HealthMonitor(context, changed=lambda: None))
        return made[-1]

    yield make
    for each in made:
        each.stop()
    database.dispose()


def test_a_check_that_is_installed_and_not_named_is_not_even_imported(install: Install, monitor: Monitor) -> None:
    install('vendor', {'ovca.health': {'odd': 'vendorhealth:Odd'}}, vendorhealth='raise RuntimeError("imported")')

    assert monitor('fake').look() == health.HealthReport({}, known=True)


def test_a_named_check_that_cannot_be_loaded_is_an_error_at_the_start(install: Install, monitor: Monitor) -> None:
    install('vendor', {'ovca.health': {'odd': 'vendorhealth:Odd'}}, vendorhealth='raise RuntimeError("imported")')

    with pytest.raises(
        PluginError, match=r'ovca.health: odd of package vendor 1.0 cannot be loaded: RuntimeError: imp'
    ):
        monitor('odd')


def test_a_check_that_raises_is_a_problem_and_the_others_go_on(install: Install, monitor: Monitor) -> None:
    entries = {'good': 'vendorhealth:Good', 'raises': 'vendorhealth:Raises'}
    install('vendor', {'ovca.health': entries}, vendorhealth=VENDOR)

    report = monitor('good', 'raises').look()

    assert (report.status, dict(report.problems)) == ('unhealthy', {'raises': 'odd'})


def test_what_a_check_says_can_be_stored_and_sent_whatever_is_in_it(install: Install, monitor: Monitor) -> None:
    install('vendor', {'ovca.health': {'bytes': 'vendorhealth:Bytes'}}, vendorhealth=VENDOR)

    assert dict(monitor('bytes').look().problems) == {'bytes': r'no file caf\udce9 \x00'}


def test_what_checks_keep_is_let_go_when_the_service_stops_and_none_of_them_holds_it_up(
    install: Install, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {'fails': 'FailsToClose', 'hangs': 'HangsToClose', 'keeps': 'Keeps'}
    install('vendor', {'ovca.health': {n: f'vendorhealth:{what}' for n, what in names.items()}}, vendorhealth=VENDOR)
    monkeypatch.setattr(health, 'LETTING_GO', 0.2)
    stopping = monitor(*names)
    import vendorhealth

    assert stopping.look().status == 'healthy'
    stopping.stop()
    stopping.close()

    assert vendorhealth.Keeps.closed == 1
    vendorhealth.RELEASE.set()


def test_a_check_that_hangs_is_not_called_again_and_the_others_go_on(install: Install, monitor: Monitor) -> None:
    install(
        'vendor', {'ovca.health': {'good': 'vendorhealth:Good', 'hangs': 'vendorhealth:Hangs'}}, vendorhealth=VENDOR
    )
    hanging = monitor('good', 'hangs', timeout=0.2)
    import vendorhealth

    reports = [hanging.look() for _ in range(3)]
    vendorhealth.RELEASE.set()

    assert [dict(report.problems) for report in reports] == 3 * [{'hangs': 'no answer within 0.2 s'}]
    assert len(vendorhealth.CALLS) == 1


def test_checks_that_answer_at_once_wake_one_thread_and_those_behind_one_that_hangs_another(
    install: Install, monitor: Monitor
) -> None:
    entries = {name: 'vendorhealth:Named' for name in ('a', 'b', 'y', 'z')}
    install('vendor', {'ovca.health': {**entries, 'hangs': 'vendorhealth:Hangs'}}, vendorhealth=VENDOR)
    import vendorhealth

    report = monitor('a', 'b', 'hangs', 'y', 'z', timeout=0.2).look()
    vendorhealth.RELEASE.set()

    threads = report.problems
    assert threads['a'] == threads['b'] != threads['y'] == threads['z']
    assert threads['hangs'] == 'no answer within 0.2 s'


def test_a_check_that_leaves_its_thread_is_a_problem_and_the_others_go_on(install: Install, monitor: Monitor) -> None:
    entries = {'leaves': 'vendorhealth:Leaves', 'good': 'vendorhealth:Good', 'raises': 'vendorhealth:Raises'}
    install('vendor', {'ovca.health': entries}, vendorhealth=VENDOR)

    assert dict(monitor('leaves', 'good', 'raises').look().problems) == {'leaves': 'left', 'raises': 'odd'}


def test_each_fall_is_counted_so_that_one_between_two_signs_of_life_is_not_lost(
    install: Install, monitor: Monitor
) -> None:
    install('vendor', {'ovca.health': {'good': 'vendorhealth:Good', 'odd': 'vendorhealth:Raises'}}, vendorhealth=VENDOR)
    watched = monitor('good', 'odd')

    falls = []
    for ill in (True, True, False, True):
        watched.look = lambda ill=ill: health.HealthReport({'odd': 'ill'} if ill else {}, known=True)  # type: ignore[misc,method-assign]
        watched.step()
        falls.append(watched.falls)

    assert falls == [1, 1, 1, 2]
