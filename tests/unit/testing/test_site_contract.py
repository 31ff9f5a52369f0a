"""The contract of the site items finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = """
import itertools

from ovca.provision.site.base import FileItem, SiteItem

NUMBERS = itertools.count()


class Good(FileItem):
    patterns = ('etc/rack/*',)


class Chatty(Good):
    def _save(self, root):
        data = super()._save(root)
        return data and data + b' ' * next(NUMBERS)


class Eager(Good):
    def _save(self, root):
        return super()._save(root) or b'[]'


class Writes(Good):
    def _save(self, root):
        (root / 'mark').write_text('x')
        return super()._save(root)


class Lazy(Good):
    def _restore(self, root, data):
        pass


class More(Good):
    def _restore(self, root, data):
        super()._restore(root, data)
        (root / 'mark').write_text('x')


class Mute(SiteItem):
    def save(self, root):
        raise KeyError('x')

    restore = save
    _save = _restore = None
"""
NAMES = {name.lower(): name for name in ('Good', 'Chatty', 'Eager', 'Writes', 'Lazy', 'More', 'Mute')}
TESTS = """
class Base(contracts.SiteContract):
    def prepare(self, item, root):
        (root / 'etc/rack').mkdir(parents=True)
        (root / 'etc/rack/x').write_text('on')

    def make_broken(self):
        return self.make_item() if self.name == 'mute' else None

"""
RIGHT = {
    'chatty': 'test_saving_changes_nothing_and_gives_the_same_twice',
    'eager': 'test_without_settings_there_is_nothing_to_save',
    'writes': 'test_saving_changes_nothing_and_gives_the_same_twice',
    'lazy': 'test_what_is_put_back_is_what_was_saved',
    'more': 'test_a_file_item_touches_only_what_it_names',
    'mute': 'test_what_cannot_be_done_is_an_error_with_the_items_name',
}


def test_each_wrong_item_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(f'class Test_{name}(Base):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.site': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}
