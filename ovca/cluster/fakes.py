"""A health check and a role in memory: for tests, and as the shortest examples of drivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovca.cluster.health import HealthCheck, HealthContext
from ovca.cluster.roles import Role, RoleError

if TYPE_CHECKING:
    from oslo_config import cfg


class FakeHealth(HealthCheck):
    """Says what :attr:`problem` says."""

    def __init__(self, context: HealthContext) -> None:
        super().__init__(context)
        self.problem: str | None = None

    def check(self) -> str | None:
        return self.problem


@dataclass
class FakeService:
    """The service behind a role, with the vices of real ones; it outlives the role, as a service outlives ovcad."""

    serving: bool = False
    broken: str | None = None
    """Why it does not start."""
    stuck: bool = False
    """It does not stop."""
    orders: list[str] = field(default_factory=list)
    """What was really done: ``start`` and ``stop``."""


class FakeRole(Role):
    """Starts and stops a :class:`FakeService`."""

    def __init__(self, conf: cfg.ConfigOpts, *, service: FakeService | None = None) -> None:
        super().__init__(conf)
        self.service = service or FakeService()

    def start(self) -> None:
        if self.running():
            return
        if self.service.broken:
            raise RoleError(f'the fake service does not start: {self.service.broken}')
        self.service.serving = True
        self.service.orders.append('start')

    def stop(self) -> None:
        if not self.running():
            return
        if self.service.stuck:
            raise RoleError('the fake service does not stop')
        self.service.serving = False
        self.service.orders.append('stop')

    def running(self) -> bool:
        return self.service.serving
