"""The contract of the checks finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = """
import pathlib

from ovca.db.models import Node
from ovca.remaster.checks import Check, CheckResult, Result


class Good(Check):
    id = 'good'

    def check(self):
        if self.context.conf.image.space_reserve > 100:
            return self.failed('the reserve is large', 'make it smaller')
        return self.passed('the reserve is small')


class Other(Good):
    id = 'another'


class Silent(Good):
    id = 'silent'

    def check(self):
        answer = super().check()
        return answer if answer.result is Result.PASSED else self.failed(answer.detail, '')


class Always(Good):
    id = 'always'

    def check(self):
        return self.passed('fine')


class Never(Good):
    id = 'never'

    def check(self):
        return self.failed('it is Monday', 'wait')


class Raises(Good):
    id = 'raises'

    def check(self):
        answer = super().check()
        if answer.result is Result.FAILED:
            raise KeyError('reserve')
        return answer


class Moody(Good):
    id = 'moody'
    asked = 0

    def check(self):
        self.asked += 1
        return super().check() if self.asked < 2 else self.passed('I said it already')


class Writes(Good):
    id = 'writes'

    def check(self):
        (pathlib.Path(self.context.conf.image.shared_storage) / 'probe').write_text('x')
        return super().check()


class Mends(Good):
    id = 'mends'

    def check(self):
        with self.context.database.write() as session:
            session.get_one(Node, 'mn2').quarantined = True
        return super().check()


class Bare(Good):
    id = 'bare'

    def check(self):
        return True
"""
NAMES = {
    name.lower(): name
    for name in ('Good', 'Other', 'Silent', 'Always', 'Never', 'Raises', 'Moody', 'Writes', 'Mends', 'Bare')
}
TESTS = """
class Base(contracts.CheckContract):
    def make_passing(self):
        self.config.set('image', space_reserve=0)
        return self.loaded()(self.context())

    def make_failing(self):
        self.config.set('image', space_reserve=1000)
        return self.loaded()(self.context())

"""
RIGHT = {
    'other': 'test_its_id_is_the_name_of_its_entry_point',
    'silent': 'test_it_fails_with_the_facts_and_a_remedy',
    'always': 'test_it_fails_with_the_facts_and_a_remedy',
    'never': 'test_it_passes_when_all_is_well',
    'raises': 'test_it_fails_with_the_facts_and_a_remedy',
    'moody': 'test_it_answers_the_same_twice',
    'writes': 'test_it_changes_nothing',
    'mends': 'test_it_changes_nothing',
    'bare': 'test_it_passes_when_all_is_well',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(f'class Test_{name}(Base):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.check': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}
