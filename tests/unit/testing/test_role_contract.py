"""The contract of the roles finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = '''
from pathlib import Path

from ovca.cluster.roles import Role, RoleError


class Good(Role):
    """A file is the service."""

    @property
    def file(self):
        return Path(self.conf.provision.state_path) / 'service'

    def start(self):
        if not self.file.parent.is_dir():
            raise RoleError(f'{self.file.parent} is missing; make it')
        self.file.write_text('x')

    def stop(self):
        self.file.unlink(missing_ok=True)

    def running(self):
        return self.file.exists()


class Flag(Good):
    started = False

    def start(self):
        super().start()
        self.started = True

    def stop(self):
        super().stop()
        self.started = False

    def running(self):
        return self.started


class Strict(Good):
    def stop(self):
        self.file.unlink()


class Hurried(Good):
    def stop(self):
        pass


class OnceOnly(Good):
    began = False

    def start(self):
        if not self.began:
            super().start()
        self.began = True


class Own(Good):
    """Stops only what it has started itself."""

    mine = False

    def start(self):
        super().start()
        self.mine = True

    def stop(self):
        if self.mine:
            super().stop()


class Quiet(Good):
    def start(self):
        if self.file.parent.is_dir():
            super().start()


class Foreign(Good):
    def start(self):
        self.file.write_text('x')
'''
INSIDE = """
class Inside(Flag):
    def running(self):
        return self.started and self.file.exists()
"""
NAMES = {name.lower(): name for name in ('Good', 'Flag', 'Strict', 'Hurried', 'OnceOnly', 'Own', 'Quiet', 'Foreign')}
TESTS = """
import pathlib


class Base(contracts.RoleContract):
    def kill(self, role):
        role.file.unlink(missing_ok=True)

    def make_broken(self):
        self.config.set('provision', state_path=self.config.folder / 'gone')
        return self.make_role()

    @pytest.fixture(autouse=True)
    def _clean(self, _an_appliance):
        yield
        self._made.clear()

"""
RIGHT = {
    'flag': 'test_running_looks_at_the_world',
    'strict': 'test_starting_and_stopping_may_be_repeated',
    'hurried': 'test_it_starts_and_stops',
    'onceonly': 'test_running_looks_at_the_world',
    'own': 'test_what_an_earlier_process_started_is_seen_and_stopped',
    'quiet': 'test_a_start_that_fails_is_an_error_and_leaves_nothing',
    'foreign': 'test_a_start_that_fails_is_an_error_and_leaves_nothing',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(f'class Test_{name}(Base):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.role': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}


def test_a_role_that_lives_in_the_service_may_say_so(judged: Judged) -> None:
    source = (
        DRIVERS
        + '\n\nclass Inside(Flag):\n    def running(self):\n        return self.started and self.file.exists()\n'
    )
    tests = TESTS + "class TestInside(Base):\n    name = 'inside'\n    in_process = True\n"

    failed = judged({'ovca.role': {'inside': 'Inside'}}, source, tests)

    assert failed == {'TestInside': set()}
