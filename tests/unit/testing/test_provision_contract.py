"""The contract of the provision drivers finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = """
import dataclasses
import itertools

from ovca.exceptions import ProvisionError
from ovca.provision.base import ProvisionDriver, words

COUNT = itertools.count()


class Good(ProvisionDriver):
    def install_script(self, order):
        return ' '.join(f'{key}={value}' for key, value in words(order).items())

    def local_script(self):
        return 'local'


class Forgets(Good):
    def install_script(self, order):
        return super().install_script(order).replace(order.tls_fingerprint, '')


class Counts(Good):
    def install_script(self, order):
        return f'{super().install_script(order)} try={next(COUNT)}'


class Keeps(Good):
    last = 'local'

    def install_script(self, order):
        self.last = super().install_script(order)
        return self.last

    def local_script(self):
        return self.last


class Trusts(Good):
    def install_script(self, order):
        return ' '.join(f'{key}={value}' for key, value in dataclasses.asdict(order).items())


class Talks(Good):
    def install_script(self, order):
        try:
            return super().install_script(order)
        except ProvisionError as exc:
            raise ProvisionError(f'{exc}: {dataclasses.asdict(order)}') from exc
"""
NAMES = {name.lower(): name for name in ('Good', 'Forgets', 'Counts', 'Keeps', 'Trusts', 'Talks')}
RIGHT = {
    'forgets': 'test_the_install_script_carries_the_whole_order',
    'counts': 'test_the_same_order_makes_the_same_script',
    'keeps': 'test_the_local_script_installs_nothing',
    'trusts': 'test_a_fact_that_is_not_one_word_makes_no_script',
    'talks': 'test_a_fact_that_is_not_one_word_makes_no_script',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = '\n'.join(f'class Test_{name}(contracts.ProvisionContract):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.provision': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}
