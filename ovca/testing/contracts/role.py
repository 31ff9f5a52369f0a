"""The contract of ``ovca.role``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.cluster.roles import Role
from ovca.exceptions import OvcaError
from ovca.testing.appliance import Config
from ovca.testing.contracts.base import DriverContract, assert_sentence, raised

__all__ = ['RoleContract']


class RoleContract(DriverContract):
    """A role: :meth:`make_role` gives objects of one service, :meth:`kill` ends it behind their backs."""

    group = 'ovca.role'
    base = Role
    in_process = False
    """Whether the service lives inside of the node's own and dies with it. Any other outlives a crash, so that the next
    process has to see and stop it."""

    @pytest.fixture(autouse=True)
    def _an_appliance(self, tmp_path: Path) -> Iterator[None]:
        self.config = Config(tmp_path / 'appliance')
        self._made: list[Role] = []
        yield
        for role in self._made:
            role.stop()

    def make_role(self) -> Role:
        """Return a new role at each call, for the same service; by default from ``self.config``."""
        role: Role = self.loaded()(self.config.load())
        return role

    def kill(self, role: Role) -> None:
        """End the service that the role has started, and not by the role: as a crash or another person would."""
        self.missing('kill()')

    def make_broken(self) -> Role:
        """Return a role that cannot start, because something in the world is not there."""
        self.missing('make_broken()')

    def make(self) -> Role:
        """One role; it is stopped when the test ends."""
        role = self.make_role()
        self._made.append(role)
        return role

    def test_it_starts_and_stops(self) -> None:
        """``start()`` returns when it serves, ``stop()`` when it is gone, and it may start again."""
        role = self.make()
        for _ in range(2):
            role.start()
            assert role.running() is True, 'after start() it is not running'
            role.stop()
            assert role.running() is False, 'after stop() it is still running'

    def test_starting_and_stopping_may_be_repeated(self) -> None:
        """A second ``start()`` and a second ``stop()`` are no errors and change nothing."""
        role = self.make()
        role.stop()
        assert role.running() is False, 'nothing was started, and it is running'
        role.start()
        role.start()
        assert role.running() is True, 'after a second start() it is not running'
        role.stop()
        role.stop()
        assert role.running() is False, 'after a second stop() it is running'

    def test_running_looks_at_the_world(self) -> None:
        """When the service dies, ``running()`` says so, and ``start()`` brings it back."""
        role = self.make()
        role.start()
        self.kill(role)
        assert role.running() is False, 'the service was killed, and running() still says True'
        role.start()
        assert role.running() is True, 'after a crash, start() does not bring it back'

    def test_what_an_earlier_process_started_is_seen_and_stopped(self) -> None:
        """A hand-over goes on only when nothing is left, also of what was started before the node's service crashed."""
        before, after = self.make(), self.make()
        before.start()
        if self.in_process:
            assert after.running() is False, 'in_process is True, but a new object sees what an old one started'
            return
        assert after.running() is True, 'a new object does not see what runs; set in_process if it dies with ovcad'
        after.stop()
        assert before.running() is False, 'a new object cannot stop what an old one has started'

    def test_a_start_that_fails_is_an_error_and_leaves_nothing(self) -> None:
        """What cannot start says why in one sentence, is not running, and can be stopped."""
        role = self.make_broken()
        assert_sentence(str(raised(role.start, OvcaError, 'start() of what cannot start')), 'the error')
        try:
            running = role.running()
        except OvcaError:
            return  # it cannot even be looked at, and says so: a hand-over is given up, as it must be
        assert running is False, 'start() failed, and it is running'
        role.stop()
