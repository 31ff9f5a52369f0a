"""The contract of ``ovca.backup``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovca.backup.base import BackupSource
from ovca.exceptions import OvcaError
from ovca.testing.appliance import Config
from ovca.testing.contracts.base import DriverContract, assert_sentence, raised

__all__ = ['BackupContract']


class BackupContract(DriverContract):
    """A source of backups: :meth:`make_driver` gives objects of one thing, :meth:`change` changes that thing.

    For a driver that saves the file that its option names::

        class TestRackPlan(contracts.BackupContract):
            name = 'rack-plan'

            @pytest.fixture(autouse=True)
            def _plan(self, tmp_path):
                self.plan = tmp_path / 'plan'
                self.plan.write_text('mn1 on top')

            def make_driver(self):
                self.config.set('rack', plan=self.plan)
                return super().make_driver()

            def make_broken(self):
                self.config.set('rack', plan='/no/such/folder/plan')
                return super().make_driver()

            def state(self):
                return self.plan.read_text()

            def change(self):
                self.plan.write_text('mn2 on top')
    """

    group = 'ovca.backup'
    base = BackupSource

    @pytest.fixture(autouse=True)
    def _an_appliance(self, tmp_path: Path) -> None:
        self.config = Config(tmp_path / 'appliance')
        self.folders = tmp_path / 'folders'
        self.folders.mkdir()

    def make_driver(self) -> BackupSource:
        """Return a new object of the same thing at each call, as another node has it; ``self.config`` is for it."""
        source: BackupSource = self.loaded()(self.config.load())
        return source

    def make_broken(self) -> BackupSource:
        """Return an object that can neither save nor put back: its thing is not there, or refuses."""
        self.missing('make_broken()')

    def state(self) -> object:
        """Return what the thing is like now, to compare it before and after."""
        self.missing('state()')

    def change(self) -> None:
        """Change the thing, as an operator or an accident would; each part of it that is saved."""
        self.missing('change()')

    def make(self) -> BackupSource:
        """One object."""
        return self.make_driver()

    def folder(self, name: str) -> Path:
        """A folder as a backup gives it: empty, and private."""
        folder = self.folders / name
        folder.mkdir(mode=0o700)
        return folder

    def test_what_was_saved_comes_back(self) -> None:
        """After a change, ``restore()`` by another object makes the thing what it was."""
        before, folder = self.state(), self.folder('saved')
        self.make_driver().save(folder)
        self.change()
        assert self.state() != before, 'change() changed nothing, so this test would show nothing'
        self.make_driver().restore(folder)
        assert self.state() == before, f'before: {before!r}; after restore(): {self.state()!r}'

    def test_saving_changes_nothing(self) -> None:
        """``save()`` only reads."""
        before = self.state()
        self.make_driver().save(self.folder('saved'))
        assert self.state() == before, f'before: {before!r}; after save(): {self.state()!r}'

    def test_what_is_saved_is_plain_files(self) -> None:
        """Links, devices and pipes are not kept in a backup; and an empty one says nothing."""
        folder = self.folder('saved')
        self.make_driver().save(folder)
        found = list(folder.rglob('*'))
        odd = [path.name for path in found if path.is_symlink() or not (path.is_file() or path.is_dir())]
        assert not odd, f'save() has written what is no file: {", ".join(odd)}'
        assert any(path.is_file() for path in found), 'save() has written no file'

    def test_only_what_is_in_the_files_counts(self) -> None:
        """A backup keeps neither modes nor times, and its folder is another one when it is put back."""
        before, folder, other = self.state(), self.folder('saved'), self.folder('copied')
        self.make_driver().save(folder)
        for path in sorted(folder.rglob('*')):
            target = other / path.relative_to(folder)
            if path.is_dir():
                target.mkdir(mode=0o700)
            else:
                target.write_bytes(path.read_bytes())
                target.chmod(0o600)
                os.utime(target, (0, 0))
        self.change()
        self.make_driver().restore(other)
        assert self.state() == before, f'before: {before!r}; after restore(): {self.state()!r}'

    def test_putting_back_twice_is_as_once(self) -> None:
        """``restore()`` may be repeated."""
        before, folder = self.state(), self.folder('saved')
        self.make_driver().save(folder)
        for _ in range(2):
            self.make_driver().restore(folder)
            assert self.state() == before, f'before: {before!r}; after restore(): {self.state()!r}'

    def test_what_fails_says_why(self) -> None:
        """What can be neither saved nor put back is an OvcaError with one sentence."""
        saved = self.folder('saved')
        self.make_driver().save(saved)
        broken = self.make_broken()
        for what, call in (
            ('save() of what is broken', lambda: broken.save(self.folder('none'))),
            ('restore() of what is broken', lambda: broken.restore(saved)),
        ):
            assert_sentence(str(raised(call, OvcaError, what)), 'the error')
