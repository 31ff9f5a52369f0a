"""The contract of ``ovca.check``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovca.exceptions import OvcaError
from ovca.remaster.checks import Check, CheckContext, CheckResult, Result
from ovca.testing.appliance import Config, open_database, rows
from ovca.testing.contracts.base import DriverContract, assert_sentence

__all__ = ['CheckContract']


class CheckContract(DriverContract):
    """A check: :meth:`make_passing` arranges a world in which it passes, :meth:`make_failing` one in which it fails.

    The world is ``self.config``, an appliance's configuration file that may be changed before :meth:`context` reads
    it, and whatever the check looks at besides.
    """

    group = 'ovca.check'
    base = Check

    @pytest.fixture(autouse=True)
    def _an_appliance(self, tmp_path: Path) -> Iterator[None]:
        self.config = Config(tmp_path / 'appliance')
        self._database = open_database(self.config.load())
        yield
        self._database.dispose()

    def make_passing(self) -> Check:
        """Return a check, ``MyCheck(self.context())``, in a world in which it passes."""
        self.missing('make_passing()')

    def make_failing(self) -> Check:
        """Return a check, ``MyCheck(self.context())``, in a world in which it fails."""
        self.missing('make_failing()')

    def make(self) -> Check:
        """One check."""
        return self.make_passing()

    def context(self, version: str | None = None, *, retry: bool = False) -> CheckContext:
        """What a check may look at, by the present configuration."""
        return CheckContext(self.config.load(), self._database, version, retry)

    def test_its_id_is_the_name_of_its_entry_point(self) -> None:
        """The operator sees the id, and writes it into ``[check] enabled``."""
        assert self.loaded().id == self.name, f'id is {self.loaded().id!r}, and the entry point is {self.name!r}'

    def test_it_passes_when_all_is_well(self) -> None:
        """The answer is a CheckResult that passed, with the facts in one line."""
        answer = self._answer(self.make_passing())
        assert answer.result is Result.PASSED, f'it answers {answer.result}: {answer.detail}'

    def test_it_fails_with_the_facts_and_a_remedy(self) -> None:
        """A failure says what is wrong, and what to do about it; an error of the world has both in its sentence.

        An operator sees the error's whole sentence as the detail, and as the remedy "mend this, then run ``ovca check``
        again".
        """
        try:
            answer = self._answer(self.make_failing())
        except (OvcaError, OSError) as exc:
            assert_sentence(str(exc), 'the error')
            return
        assert answer.result in (Result.FAILED, Result.WARNING), f'it answers {answer.result}: {answer.detail}'
        assert_sentence(answer.remedy, 'the remedy')

    def test_it_answers_the_same_twice(self) -> None:
        """A check decides by the world and not by what it said before."""
        for check in (self.make_passing(), self.make_failing()):
            first, second = _result(check), _result(check)
            assert first is second, f'it answered {first} and then {second}'

    def test_it_changes_nothing(self) -> None:
        """Database, shared storage, the node's folders and the configuration are the same after a check."""
        for make in (self.make_passing, self.make_failing):
            check = make()
            before = self._world()
            _result(check)
            changed = {name for name, value in self._world().items() if before.get(name) != value}
            gone = set(before) - set(self._world())
            assert not changed | gone, f'the check changed {", ".join(sorted(changed | gone))}'

    def _answer(self, check: Check) -> CheckResult:
        answer = check.check()
        assert isinstance(answer, CheckResult), f'it answers {answer!r}; return passed(), failed() or skipped()'
        assert answer.id == self.name, f'it answers as {answer.id!r}, and is called {self.name!r}'
        assert_sentence(answer.detail, 'the detail')
        return answer

    def _world(self) -> dict[str, Any]:
        return {**rows(self._database), **files(self.config.folder)}


def _result(check: Check) -> Result:
    """What a check comes to; an error counts as failed."""
    try:
        return check.check().result
    except (OvcaError, OSError):
        return Result.FAILED


def files(folder: Path) -> dict[str, Any]:
    """Digests of the files below an appliance's folder, without the database's own, which come and go."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ''
        for path in folder.rglob('*')
        if not path.name.startswith('ovca.sqlite')
    }
