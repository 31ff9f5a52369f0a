"""Health: what a node finds out about itself, again and again, and writes down for the other to see."""

from __future__ import annotations

import collections
import concurrent.futures
import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ovca import plugins
from ovca.db.engine import Database
from ovca.db.models import storable

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['HealthCheck', 'HealthContext']

LOG = logging.getLogger(__name__)
GROUP = 'ovca.health'
CORE = ('database', 'shared-storage', 'peer-bmc', 'software')
QUICK = 0.25
"""Seconds after which a check that has not answered yet holds up no other."""

LETTING_GO = 2.0
"""Seconds, at most, that a service which stops waits for its checks to let go of what they keep."""

Call = concurrent.futures.Future[str | None]
"""A check that was called, or is about to be."""


@dataclass(frozen=True)
class HealthContext:
    """What a health check may look at."""

    conf: cfg.ConfigOpts
    database: Database
    node: str
    acting: Callable[[], bool]
    """Whether this node acts as master now."""


class HealthCheck(ABC):
    """One question about this node's own health; entry-point group ``ovca.health``.

    A driver writes :meth:`check`: None says that all is well, a sentence says what is wrong. The entry point's name is
    what an operator writes into ``[health] checks``, and what ``ovca node-list`` shows beside the sentence.

    *When it is called.* ovcad builds the check once, at its start, on each node whose configuration names it;
    :attr:`context` is all that it gets. ``__init__`` must not connect anywhere; a ``ConfigError`` from it stops ovcad.
    Then :meth:`check` is called every ``[health] interval`` seconds, three times less often while both nodes are well
    and have nothing to do, and at once when the node's role changes, on the master and on the standby alike.
    ``context.acting()`` tells which of them this node is, for what only one of them has.

    *From which thread.* From one of a pool, another one each time. Checks that answer at once are called one after the
    other; as soon as one takes longer, the rest goes on beside it. One check is never called again before its last call
    has returned.

    *How long it may take.* ``[health] timeout`` seconds; later it counts as failed, with "no answer", until that call
    returns. So give your own connections a shorter time-out.

    *What the answer means.* A failing check makes the node unhealthy: a standby gets no hand-over, a freshly installed
    node is not proven, and after ``[remaster] unhealthy_limit`` seconds an update gives the node up and may roll back.
    So answer for this node's ability to serve, not for the world: what is broken on both nodes alike is no reason to
    prefer either. A check does not repair anything and takes nobody's mastership. An exception counts as unhealthy, and
    its text is what the operator reads.

    *What must be idempotent.* All of it: a call looks and changes nothing, however often it is made.

    *What it may keep.* A connection, from one call to the next; then :meth:`close` lets go of it.

    .. code-block:: python

        class Exports(HealthCheck):
            api = 1

            def check(self) -> str | None:
                if self.context.acting() and not Path('/run/nfsd.pid').exists():
                    return 'the NFS server does not run; see `systemctl status nfs-server`'
                return None
    """

    api: ClassVar[int] = 1

    def __init__(self, context: HealthContext) -> None:
        self.context = context

    @abstractmethod
    def check(self) -> str | None:
        """Return None, or what is wrong."""

    def close(self) -> None:  # noqa: B027 most keep nothing
        """Let go of what is kept; called once when ovcad stops, which waits a moment for it. An error is no matter."""


def configured(conf: cfg.ConfigOpts) -> list[str]:
    """The names of the checks to run: the core's, then those of ``[health] checks``."""
    return list(dict.fromkeys([*CORE, *conf.health.checks]))


def load(context: HealthContext) -> dict[str, HealthCheck]:
    """The checks to run, by name. :raises PluginError: one of them cannot be loaded."""
    return {name: plugins.build(GROUP, name, context, api=HealthCheck.api) for name in configured(context.conf)}


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

    def __init__(
        self,
        context: HealthContext,
        *,
        changed: Callable[[], None],
        load: Callable[[HealthContext], dict[str, HealthCheck]] = load,
        pool: Callable[[int, str], concurrent.futures.Executor] = concurrent.futures.ThreadPoolExecutor,
        rest: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``rest`` says how many seconds follow on a round in which all was well; None: ``[health] interval``."""
        self.context, self._changed = context, changed
        self._rest, self._clock = rest or (lambda: float(context.conf.health.interval)), clock
        self._begun = -math.inf
        """When the last round began."""
        self.report = HealthReport()
        self.falls = 0
        """How often it has become unhealthy."""
        self.wakes, self._stop = threading.Event(), threading.Event()
        """Set when it is time to check at once."""
        self._checks = load(context)
        self._calls: dict[str, Call] = {}
        self._pool = pool(len(self._checks), 'health')

    def run(self) -> None:
        """Check until :meth:`stop`."""
        while not self._stop.is_set():
            self.wakes.wait(self.step())
            self.wakes.clear()

    def step(self) -> float:
        """Check once, and tell if the result is another one; the seconds until the next time."""
        self._begun = self._clock()
        report = self.look()
        different = report != self.report
        self.falls += report.status == 'unhealthy' != self.report.status
        self.report = report
        if different:
            for name, problem in report.problems.items():
                LOG.warning('health %s: %s', name, problem)
            self._changed()
        return self._rest() if report.status == 'healthy' else float(self.context.conf.health.interval)

    def soon(self) -> None:
        """Check at once, if half of the rest is over: an idle node's threads cost less when they wake together."""
        if self._clock() - self._begun >= self._rest() / 2:
            self.wakes.set()

    def again(self) -> None:
        """Forget the last result and check at once (a change of role or epoch)."""
        self.wakes.set()

    def stop(self) -> None:
        """End the thread that runs the checks."""
        self._stop.set()
        self.wakes.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Have the checks let go of what they keep, each in a thread of its own: one that hangs is left there."""
        closing = [threading.Thread(target=_close, args=item, daemon=True) for item in self._checks.items()]
        for thread in closing:
            thread.start()
        end = time.monotonic() + LETTING_GO
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))

    def look(self) -> HealthReport:
        """Ask each check once, and return what they say."""
        timeout: float = self.context.conf.health.timeout
        todo: collections.deque[tuple[HealthCheck, Call]] = collections.deque()
        for name, check in self._checks.items():
            # A call that hangs is waited for and not made again.
            if name not in self._calls or self._calls[name].done():
                self._calls[name] = Call()
                todo.append((check, self._calls[name]))
        self._wait(todo, timeout)
        problems = {}
        for name, future in self._calls.items():
            if not future.done():
                problems[name] = f'no answer within {timeout:g} s'
                continue
            error = future.exception()
            problem = str(error) or type(error).__name__ if error else future.result()
            if problem:
                problems[name] = storable(str(problem))  # each node reads it, and who asks the status server
        return HealthReport(problems, known=True)

    def _wait(self, todo: collections.deque[tuple[HealthCheck, Call]], timeout: float) -> None:
        """Have them called, until all have answered or the last one has had ``timeout`` seconds.

        Each thread that is woken costs an idle node more than what most checks do, so one thread calls them all; when
        it gets no answer, another one goes on with those that are left.
        """
        end = time.monotonic() + timeout
        while not self._stop.is_set() and (left := end - time.monotonic()) > 0:
            uncalled = bool(todo)
            if uncalled:
                self._pool.submit(_call_each, todo)
            if not concurrent.futures.wait(self._calls.values(), QUICK if uncalled else left).not_done:
                return
            if uncalled:
                end = time.monotonic() + timeout  # the last one was perhaps called just now


def _call_each(todo: collections.deque[tuple[HealthCheck, Call]]) -> None:
    """Call what nobody has called yet."""
    while todo:
        try:
            check, call = todo.popleft()
        except IndexError:  # another thread has taken it
            return
        try:
            call.set_result(check.check())
        except BaseException as exc:
            call.set_exception(exc)
            if not isinstance(exc, Exception):
                raise


def _close(name: str, check: HealthCheck) -> None:
    try:
        check.close()
    except Exception as exc:  # the service ends all the same
        LOG.debug('health %s could not be closed: %s', name, exc)
