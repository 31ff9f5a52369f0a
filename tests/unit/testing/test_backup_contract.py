"""The contract of the sources of backups finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = """
from ovca.backup.base import BackupSource, SourceFailed

THING = {}


class Good(BackupSource):
    broken = False

    def save(self, folder):
        self.reach()
        (folder / 'deep').mkdir()
        (folder / 'deep/text').write_text(THING['text'])

    def restore(self, folder):
        self.reach()
        THING['text'] = (folder / 'deep/text').read_text()

    def reach(self):
        if self.broken:
            raise SourceFailed('the switch does not answer; see its cable')


class Forgets(Good):
    def restore(self, folder):
        self.reach()


class Marks(Good):
    def save(self, folder):
        super().save(folder)
        THING['text'] += ' saved'


class Links(Good):
    def save(self, folder):
        super().save(folder)
        (folder / 'link').symlink_to('/etc/passwd')


class Remembers(Good):
    def save(self, folder):
        super().save(folder)
        THING['folder'] = folder

    def restore(self, folder):
        self.reach()
        super().restore(THING['folder'] if folder == THING['folder'] else folder / 'elsewhere')


class Eats(Good):
    def restore(self, folder):
        super().restore(folder)
        (folder / 'deep/text').unlink()


class Foreign(Good):
    def reach(self):
        if self.broken:
            raise LookupError('no such switch')
"""
NAMES = {name.lower(): name for name in ('Good', 'Forgets', 'Marks', 'Links', 'Remembers', 'Eats', 'Foreign')}
TESTS = """
class Base(contracts.BackupContract):
    @pytest.fixture(autouse=True)
    def _new(self):
        wrong.THING.clear()
        wrong.THING['text'] = 'as it was'

    def make_broken(self):
        source = self.make_driver()
        source.broken = True
        return source

    def state(self):
        return wrong.THING['text']

    def change(self):
        wrong.THING['text'] = 'changed'

"""
RIGHT = {
    'forgets': 'test_what_was_saved_comes_back',
    'marks': 'test_saving_changes_nothing',
    'links': 'test_what_is_saved_is_plain_files',
    'remembers': 'test_only_what_is_in_the_files_counts',
    'eats': 'test_putting_back_twice_is_as_once',
    'foreign': 'test_what_fails_says_why',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(f'class Test_{name}(Base):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.backup': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}
