"""The contract of the power drivers finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = '''
from ovca.exceptions import PowerError
from ovca.power.base import Capability, PowerDriver, PowerState

MACHINE = {'state': PowerState.OFF}


class Good(PowerDriver):
    def _state(self):
        self._reach()
        return MACHINE['state']

    def _on(self):
        self._reach()
        MACHINE['state'] = PowerState.ON

    def _off(self):
        self._reach()
        MACHINE['state'] = PowerState.OFF

    def _reach(self):
        if ':1' in self.bmc.address:
            raise ConnectionRefusedError('the connection is refused')


class Old(Good):
    api = 0


class Stranger:
    api = 1
    capabilities = frozenset()

    def __init__(self, bmc):
        self.bmc = bmc


class Words(Good):
    def _state(self):
        return str(super()._state())


class Remembers(Good):
    mine = PowerState.OFF

    def _state(self):
        self._reach()
        return self.mine

    def _on(self):
        self._reach()
        self.mine = PowerState.ON

    def _off(self):
        self._reach()
        self.mine = PowerState.OFF


class Believes(Good):
    """Says "off" because the order was accepted."""

    said = None

    def _state(self):
        return self.said or super()._state()

    def _off(self):
        self._reach()
        self.said = PowerState.OFF


class Toggles(Good):
    def _on(self):
        self._reach()
        MACHINE['state'] = PowerState.OFF if MACHINE['state'] is PowerState.ON else PowerState.ON


class Boasts(Good):
    capabilities = frozenset({Capability.BOOT_ONCE})


class Hides(Good):
    def _set_boot_once(self, device):
        pass


class Foreign(Good):
    def _reach(self):
        if ':1' in self.bmc.address:
            raise LookupError('no such BMC')


class Talks(Good):
    def _reach(self):
        if ':1' in self.bmc.address:
            raise PowerError(f'{self.bmc.node} {self.bmc.place}: login with {self.bmc.password} failed')


class Nameless(Good):
    def _reach(self):
        if ':1' in self.bmc.address:
            raise PowerError('connection refused')


class Hopes(Good):
    """An unreachable BMC must be off, mustn't it?"""

    def _state(self):
        try:
            return super()._state()
        except ConnectionRefusedError:
            return PowerState.OFF
'''
NAMES = {
    'good': 'Good',
    'old': 'Old',
    'stranger': 'Stranger',
    'words': 'Words',
    'remembers': 'Remembers',
    'believes': 'Believes',
    'toggles': 'Toggles',
    'boasts': 'Boasts',
    'hides': 'Hides',
    'foreign': 'Foreign',
    'talks': 'Talks',
    'nameless': 'Nameless',
    'hopes': 'Hopes',
    'under_score': 'Good',
}
TESTS = """
from ovca.power.base import Bmc


class Base(contracts.PowerContract):
    patience = 0.3

    def make_driver(self):
        return self.loaded()(Bmc('mn1', 'http://bmc1/1:2', 'otto', 'geheim', poll=0.01))

    def make_unreachable(self):
        return self.loaded()(Bmc('mn1', 'http://bmc1:1', 'otto', 'geheim', poll=0.01))

"""
RIGHT = {
    'old': 'test_it_is_written_for_this_api',
    'stranger': 'test_the_entry_point_leads_to_the_class_that_is_tested',
    'words': 'test_the_state_is_one_of_the_enum',
    'remembers': 'test_on_is_seen_by_another_driver',
    'believes': 'test_off_and_wait_returns_when_the_machine_is_off',
    'toggles': 'test_orders_may_be_repeated',
    'boasts': 'test_what_it_declares_it_can_do',
    'hides': 'test_what_it_can_do_it_declares',
    'foreign': 'test_an_unreachable_bmc_is_an_error_that_names_it',
    'talks': 'test_no_error_shows_a_secret',
    'nameless': 'test_an_unreachable_bmc_is_an_error_that_names_it',
    'hopes': 'test_an_unreachable_bmc_never_counts_as_off',
    'under_score': 'test_the_name_holds_no_underscore_and_belongs_to_one_package_only',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(f'class Test_{name}(Base):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.power': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}


def test_a_contract_without_its_factory_fails_and_is_not_passed_over(judged: Judged) -> None:
    tests = "class TestNothing(contracts.PowerContract):\n    name = 'good'\n"

    failed = judged({'ovca.power': {'good': 'Good'}}, DRIVERS, tests)

    assert 'test_on_is_seen_by_another_driver' in failed['TestNothing']
    assert 'test_an_unreachable_bmc_never_counts_as_off' in failed['TestNothing']


def test_a_driver_that_is_not_installed_is_named(judged: Judged) -> None:
    failed = judged({'ovca.power': {'good': 'Good'}}, DRIVERS, TESTS + "class TestGone(Base):\n    name = 'gone'\n")

    assert 'test_the_name_holds_no_underscore_and_belongs_to_one_package_only' in failed['TestGone']
