"""The contract of the health checks finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = """
import pathlib
import sqlite3

from ovca.cluster.health import HealthCheck


class Good(HealthCheck):
    def check(self):
        return 'the reserve is large; make it smaller' if self.context.conf.image.space_reserve > 100 else None


class Chatty(Good):
    def check(self):
        return super().check() or 'all is well'


class Bool(Good):
    def check(self):
        return None if super().check() is None else True


class Novel(Good):
    def check(self):
        problem = super().check()
        return problem and problem + '\\nand so on\\nand on'


class Once(Good):
    said = False

    def check(self):
        problem, self.said = None if self.said else super().check(), True
        return problem


class Bound(Good):
    def __init__(self, context):
        super().__init__(context)
        self.database = sqlite3.connect(':memory:')

    def check(self):
        self.database.execute('select 1')
        return super().check()


class Litters(Good):
    def check(self):
        (pathlib.Path(self.context.conf.image.shared_storage) / 'probe').write_text('x')
        return super().check()
"""
NAMES = {name.lower(): name for name in ('Good', 'Chatty', 'Bool', 'Novel', 'Once', 'Bound', 'Litters')}
TESTS = """
class Base(contracts.HealthContract):
    def make_healthy(self):
        self.config.set('image', space_reserve=0)
        return self.loaded()(self.context())

    def make_unhealthy(self):
        self.config.set('image', space_reserve=1000)
        return self.loaded()(self.context())

"""
RIGHT = {
    'chatty': 'test_a_node_that_is_well_is_answered_with_none',
    'bool': 'test_a_problem_is_a_sentence',
    'novel': 'test_a_problem_is_a_sentence',
    'once': 'test_it_goes_on_answering',
    'bound': 'test_each_question_may_come_from_another_thread',
    'litters': 'test_it_leaves_nothing_behind',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(f'class Test_{name}(Base):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.health': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}
