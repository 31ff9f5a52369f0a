"""Health: what a node finds out about itself, again and again, and writes down for the other to see."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovca import plugins
from ovca.db.engine import Database

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
GROUP = 'ovca.health'


@dataclass(frozen=True)
class HealthContext:
    """What a health check may look at."""

    conf: cfg.ConfigOpts
    database: Database
    node: str
    acting: Callable[[], bool]
    """Whether this node acts as master now."""


class HealthCheck(ABC):
    """One question about this node's health; entry-point group ``ovca.health``.

    :meth:`check` returns None when all is well, or else a sentence for the operator. It is called every
    ``[health] interval`` seconds from a thread of its own and may take ``[health] timeout`` seconds; an exception
    counts as unhealthy.
    """

    api = 1

    def __init__(self, context: HealthContext) -> None:
        self.context = context

    @abstractmethod
    def check(self) -> str | None:
        """Return None, or what is wrong."""


@dataclass(frozen=True)
class HealthReport:
    """The latest result: which checks fail, and why."""

    problems: Mapping[str, str] = field(default_factory=dict)
    known: bool = False

    @property
    def status(self) -> str:
        """``healthy``, ``unhealthy`` or ``unknown``."""
        if not self.known:
            return 'unknown'
        return 'unhealthy' if self.problems else 'healthy'


class HealthMonitor:
    """Runs the configured checks; :attr:`report` is always the newest result."""

    def __init__(self, context: HealthContext, *, changed: Callable[[], None]) -> None:
        self.context, self._changed = context, changed
        self.report = HealthReport()
        self._wake, self._stop = threading.Event(), threading.Event()
        names = ['database', 'shared-storage', 'peer-bmc', 'software', *context.conf.health.checks]
        self._checks = {name: self._load(name) for name in dict.fromkeys(names)}
        for name in plugins.names(GROUP):
            if name not in self._checks:
                self._checks[name] = self._load(name)
        self._pool = concurrent.futures.ThreadPoolExecutor(len(self._checks) * 2, 'health')

    def _load(self, name: str) -> HealthCheck:
        check: HealthCheck = plugins.load_one(GROUP, name, api=1)(self.context)
        return check

    def run(self) -> None:
        """Check until :meth:`stop`."""
        while not self._stop.is_set():
            report = self._once()
            different = report != self.report
            self.report = report
            if different:
                for name, problem in report.problems.items():
                    LOG.warning('health %s: %s', name, problem)
                self._changed()
            self._wake.wait(self.context.conf.health.interval)
            self._wake.clear()

    def again(self) -> None:
        """Forget the last result and check at once (a change of role or epoch)."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread that runs the checks."""
        self._stop.set()
        self._wake.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _once(self) -> HealthReport:
        timeout = self.context.conf.health.timeout
        futures = {name: self._pool.submit(check.check) for name, check in self._checks.items()}
        concurrent.futures.wait(futures.values(), timeout)
        problems = {}
        for name, future in futures.items():
            if not future.done():
                problems[name] = f'no answer within {timeout} s'
                continue
            error = future.exception()
            problem = str(error) or type(error).__name__ if error else future.result()
            if problem:
                problems[name] = problem
        return HealthReport(problems, known=True)
