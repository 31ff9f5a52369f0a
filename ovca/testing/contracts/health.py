"""The contract of ``ovca.health``."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ovca.cluster.health import HealthCheck, HealthContext
from ovca.exceptions import OvcaError
from ovca.testing.appliance import Config, open_database
from ovca.testing.contracts.base import DriverContract, assert_sentence
from ovca.testing.contracts.check import files

__all__ = ['HealthContract']


class HealthContract(DriverContract):
    """A health check: :meth:`make_healthy` arranges a world that is well, :meth:`make_unhealthy` one that is not."""

    group = 'ovca.health'
    base = HealthCheck

    @pytest.fixture(autouse=True)
    def _an_appliance(self, tmp_path: Path) -> Iterator[None]:
        self.config = Config(tmp_path / 'appliance')
        self._database = open_database(self.config.load())
        yield
        self._database.dispose()

    def make_healthy(self) -> HealthCheck:
        """Return a check, ``MyCheck(self.context())``, in a world that is well."""
        self.missing('make_healthy()')

    def make_unhealthy(self) -> HealthCheck:
        """Return a check, ``MyCheck(self.context())``, in a world that is not."""
        self.missing('make_unhealthy()')

    def make(self) -> HealthCheck:
        """One check."""
        return self.make_healthy()

    def context(self, *, node: str = 'mn1', acting: bool = True) -> HealthContext:
        """What a health check may look at, by the present configuration."""
        return HealthContext(self.config.load(), self._database, node, lambda: acting)

    def test_a_node_that_is_well_is_answered_with_none(self) -> None:
        """None, and nothing else, means healthy."""
        answer = self.make_healthy().check()
        assert answer is None, f'all is well, and it answers {answer!r}'

    def test_a_problem_is_a_sentence(self) -> None:
        """What is wrong is returned as one line for the operator, or raised as an error with one."""
        assert_sentence(_said(self.make_unhealthy()), 'the answer when something is wrong')

    def test_it_goes_on_answering(self) -> None:
        """It is asked every few seconds for months: the same world gets the same answer."""
        for check in (self.make_healthy(), self.make_unhealthy()):
            answers = [_said(check) for _ in range(5)]
            assert len({answer is None for answer in answers}) == 1, f'asked five times, it answered {answers}'

    def test_each_question_may_come_from_another_thread(self) -> None:
        """It is asked from a pool of threads, by one at a time."""
        check = self.make_healthy()
        answers = []
        for _ in range(3):
            with ThreadPoolExecutor(1) as pool:  # a new thread each time
                answers.append(pool.submit(check.check).result())
        assert answers == [None] * 3, f'asked from three threads, it answered {answers}'

    def test_it_leaves_nothing_behind(self) -> None:
        """A probe that it writes is gone when it has answered."""
        for make in (self.make_healthy, self.make_unhealthy):
            check = make()
            before = files(self.config.folder)
            _said(check)
            after = files(self.config.folder)
            left = sorted({*before.items()} ^ {*after.items()})
            assert not left, f'the check changed {", ".join(name for name, _ in left)}'


def _said(check: HealthCheck) -> str | None:
    """What the operator reads; an error of the world counts as a problem."""
    try:
        return check.check()
    except (OvcaError, OSError) as exc:
        return str(exc)
