"""A check and a component in memory: for tests, and as the shortest examples of drivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovca.remaster.checks import Check, CheckContext, CheckResult
from ovca.remaster.components import Component, ComponentError

if TYPE_CHECKING:
    from oslo_config import cfg


class FakeCheck(Check):
    """Fails while :attr:`problem` holds a text, and passes otherwise."""

    id = 'fake'

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        self.problem: str | None = None

    def check(self) -> CheckResult:
        if self.problem:
            return self.failed(self.problem, 'set `problem` to None')
        return self.passed('nothing was looked at')


@dataclass
class FakeDevice:
    """The device behind a component, with the vices of real ones; both nodes' components may talk to it."""

    version: str | None = None
    """What is in force."""
    unreachable: bool = False
    """Every call fails."""
    failures: int = 0
    """So many attempts to apply a version end in the middle."""
    forgetful: bool = False
    """A version is accepted, and nothing happens."""
    asked: int = 0
    """How often it was asked for its version."""
    orders: list[tuple[str, Path]] = field(default_factory=list)
    """Each version that it was told to apply, and from where."""


class FakeComponent(Component):
    """Applies versions to a :class:`FakeDevice`."""

    def __init__(self, conf: cfg.ConfigOpts, *, device: FakeDevice | None = None) -> None:
        super().__init__(conf)
        self.device = device or FakeDevice()

    def applied(self) -> str | None:
        self._reach()
        self.device.asked += 1
        return self.device.version

    def apply(self, version: str, tree: Path) -> None:
        self._reach()
        self.device.orders.append((version, tree))
        if self.device.failures > 0:
            self.device.failures -= 1
            raise ComponentError('the fake device fails in the middle; try again')
        if not self.device.forgetful:
            self.device.version = version

    def _reach(self) -> None:
        if self.device.unreachable:
            raise ComponentError('the fake device does not answer; set `unreachable` to False')
