"""The contract of the components finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = """
from ovca.remaster.components import Component, ComponentError

DEVICE = {}


class Good(Component):
    broken = False

    def applied(self):
        return DEVICE.get('version')

    def apply(self, version, tree):
        if self.broken:
            raise ComponentError('the switch does not answer; see its cable')
        if not (tree / 'release').exists():
            raise ComponentError(f'{tree} is empty; download the image again')
        DEVICE['version'] = version


class Empty(Good):
    def applied(self):
        return super().applied() or ''


class Late(Good):
    def apply(self, version, tree):
        DEVICE['version'], DEVICE['next'] = DEVICE.get('next'), version


class Notes(Good):
    mine = None

    def applied(self):
        return self.mine

    def apply(self, version, tree):
        super().apply(version, tree)
        self.mine = version


class Eats(Good):
    def apply(self, version, tree):
        super().apply(version, tree)
        (tree / 'release').unlink()


class Refuses(Good):
    def apply(self, version, tree):
        if self.applied() == version:
            raise ComponentError(f'{version} is there already')
        super().apply(version, tree)


class Claims(Good):
    def apply(self, version, tree):
        DEVICE['version'] = version
        super().apply(version, tree)


class Foreign(Good):
    def apply(self, version, tree):
        if self.broken:
            raise LookupError('no such switch')
        super().apply(version, tree)
"""
NAMES = {name.lower(): name for name in ('Good', 'Empty', 'Late', 'Notes', 'Eats', 'Refuses', 'Claims', 'Foreign')}
TESTS = """
class Base(contracts.ComponentContract):
    @pytest.fixture(autouse=True)
    def _new(self):
        wrong.DEVICE.clear()

    def make_driver(self):
        return self.loaded()(self.config.load())

    def make_broken(self):
        component = self.make_driver()
        component.broken = True
        return component

"""
RIGHT = {
    'empty': 'test_applied_is_a_version_or_none',
    'late': 'test_a_version_is_in_force_when_apply_returns',
    'notes': 'test_the_other_node_sees_what_is_applied',
    'eats': 'test_the_published_tree_is_left_as_it_is',
    'refuses': 'test_applying_again_changes_nothing',
    'claims': 'test_what_fails_is_an_error_that_says_why_and_is_not_in_force',
    'foreign': 'test_what_fails_is_an_error_that_says_why_and_is_not_in_force',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(f'class Test_{name}(Base):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.component': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}
