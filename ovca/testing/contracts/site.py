"""The contract of ``ovca.site``."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovca.provision.site.base import FileItem, SiteItem, SiteItemError
from ovca.testing.appliance import Config
from ovca.testing.contracts.base import DriverContract, assert_sentence, raised
from ovca.testing.contracts.check import files

__all__ = ['SiteContract']


class SiteContract(DriverContract):
    """A site item: :meth:`prepare` makes settings that it has to keep, :meth:`make_broken` one that cannot read any.

    For an item that keeps the file of a device::

        class TestRackFiles(contracts.SiteContract):
            name = 'rack-files'

            def prepare(self, item, root):
                (root / 'etc/rack').mkdir(parents=True)
                (root / 'etc/rack/lights.conf').write_text('on')

    The item of one whose settings are elsewhere is told by :meth:`forget` that the node was wiped.
    """

    group = 'ovca.site'
    base = SiteItem
    secrets: tuple[bytes, ...] = ()
    """What must not be shown in an error's text."""

    @pytest.fixture(autouse=True)
    def _a_node(self, tmp_path: Path) -> None:
        self.config = Config(tmp_path / 'appliance')
        self.root, self.wiped = tmp_path / 'appliance/root', tmp_path / 'appliance/wiped'
        self.wiped.mkdir()

    def make_item(self) -> SiteItem:
        """Return the item, as the service makes it; ``self.config`` is its configuration."""
        item: SiteItem = self.loaded()(self.config.load())
        item.name = self.name
        return item

    def make(self) -> SiteItem:
        """One item."""
        return self.make_item()

    def prepare(self, item: SiteItem, root: Path) -> None:
        """Make settings that the item keeps, of a system below ``root``."""
        self.missing('prepare()')

    def forget(self, item: SiteItem) -> None:
        """Take away what :meth:`prepare` has made outside of the root; files below it are in another root then."""

    def make_broken(self) -> SiteItem | None:
        """Return an item whose settings cannot be had or set, or None: there is no such case."""
        return None

    def test_without_settings_there_is_nothing_to_save(self) -> None:
        """``save()`` of a node on which nobody has set anything is None, and no error."""
        assert self.make_item().save(self.root) is None

    def test_saving_changes_nothing_and_gives_the_same_twice(self) -> None:
        """It is called every minute: the same settings are the same bytes."""
        item = self.make_item()
        self.prepare(item, self.root)
        before = files(self.root)
        data = item.save(self.root)
        assert isinstance(data, bytes), f'save() returned {data!r}; it has to be bytes'
        assert item.save(self.root) == data, 'save() returned something else the second time'
        assert files(self.root) == before, 'save() changed files'

    def test_what_is_put_back_is_what_was_saved(self) -> None:
        """After ``restore()`` on a wiped node, and again after a second one, ``save()`` returns the same bytes."""
        item = self.make_item()
        self.prepare(item, self.root)
        data = item.save(self.root)
        assert data is not None, 'prepare() made settings, and save() finds none'
        self.forget(item)
        assert item.save(self.wiped) is None, 'the settings are still there after the wipe; see forget()'
        for time in ('first', 'second'):
            item.restore(self.wiped, data)
            assert item.save(self.wiped) == data, f'after the {time} restore() other settings are saved than before'

    def test_a_file_item_touches_only_what_it_names(self) -> None:
        """What an item of files puts back are the files of its patterns."""
        item = self.make_item()
        if not isinstance(item, FileItem):
            return
        self.prepare(item, self.root)
        data = item.save(self.root)
        assert data is not None, 'prepare() made settings, and save() finds none'
        item.restore(self.wiped, data)
        put = {path.relative_to(self.wiped).as_posix() for path in self.wiped.rglob('*') if path.is_file()}
        assert put == set(item.paths(self.root)), f'it put back {sorted(put)}'

    def test_what_cannot_be_done_is_an_error_with_the_items_name(self) -> None:
        """Any failure is a SiteItemError that names the item and shows no secret."""
        item = self.make_broken()
        if item is None:
            return
        for call, what in (
            (lambda: item.save(self.root), 'save()'),
            (lambda: item.restore(self.root, b'x'), 'restore()'),
        ):
            text = str(raised(call, SiteItemError, f'{what} of a broken item'))
            assert_sentence(text, 'the error')
            assert item.name in text, f'the error does not name the item {item.name}: {text}'
            for secret in self.secrets:
                assert secret.decode(errors='replace') not in text, f'the error shows a secret: {text}'
