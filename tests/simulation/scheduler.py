"""Time that is told, not waited for: all services' threads as greenlets in one thread, run in an order from a seed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from greenlet import getcurrent, greenlet

LEAST = 0.001
"""Seconds between two passes of a thread that does not rest: an endless loop must not stop the clock."""


class Stopped(BaseException):
    """The process in which this runs is gone."""


class Process:
    """What dies as a whole: a service, or the firmware and installer of a machine."""

    def __init__(self, name: str) -> None:
        self.name, self.alive = name, True
        self.version = '?'
        """Of the software that it runs."""
        self.paused_until = 0.0
        self.tasks: list[Task] = []

    def __repr__(self) -> str:
        return self.name


class Task:
    """One thread of a process."""

    def __init__(self, process: Process, name: str) -> None:
        self.process, self.name = process, name
        self.greenlet: greenlet | None = None
        self.ticket = 0
        self.resting = False
        """It waits for its next pass, and may be woken; else it was interrupted in the middle of one."""
        self.woken = False
        """Its rest was cut short."""
        self.done = False
        self.failure: BaseException | None = None

    def is_alive(self) -> bool:
        """As of a thread."""
        return not self.done

    def join(self, timeout: float | None = None) -> None:
        """As of a thread; nobody waits here."""


class Scheduler:
    """Runs tasks by their times; those of one moment in an order that ``rng`` gives (None: as they came)."""

    def __init__(self, rng: Random | None = None) -> None:
        self.now = 0.0
        self.rng = rng
        self.current: Task | None = None
        self.before: Callable[[Task], None] = lambda task: None
        """Called before a task goes on."""
        self.activations = 0
        self._queue: list[tuple[float, float, int, int, Task]] = []
        self._count = 0
        self._hub = getcurrent()
        self._dying: list[Process] = []

    def start(self, process: Process, name: str, work: Callable[[], None], delay: float = 0.0) -> Task:
        """Begin a thread."""
        task = Task(process, name)
        process.tasks.append(task)
        task.greenlet = greenlet(lambda: self._body(task, work), self._hub)
        self._at(task, self.now + delay)
        return task

    def _body(self, task: Task, work: Callable[[], None]) -> None:
        try:
            if task.process.alive:
                work()
        except Stopped:
            pass
        except BaseException as exc:
            task.failure = exc
        task.done = True

    def sleep(self, seconds: float, *, resting: bool = False) -> None:
        """Let the present task go on later. :raises Stopped: its process is gone by then."""
        task = self.current
        if task is None:
            raise RuntimeError('only a task can sleep')
        if not task.process.alive:
            raise Stopped
        task.resting = resting
        self._at(task, self.now + max(0.0, seconds))
        self._hub.switch()
        task.resting = False
        if not task.process.alive:
            raise Stopped

    def hasten(self, task: Task, seconds: float = 0.0) -> None:
        """Let a resting task go on earlier."""
        if task.resting and not task.done:
            self._at(task, self.now + seconds)

    def kill(self, process: Process) -> None:
        """End a process: its tasks see :exc:`Stopped` where they are, and never come to anything else."""
        if process.alive:
            process.alive = False
            self._dying.append(process)

    def step(self) -> bool:
        """Run the next task until it sleeps; return whether there was one."""
        self._bury()
        while self._queue:
            due, _, _, ticket, task = heapq.heappop(self._queue)
            if ticket != task.ticket or task.done:
                continue
            if task.process.paused_until > due:
                self._at(task, task.process.paused_until)
                continue
            self.now = max(self.now, due)
            self._activate(task)
            return True
        return False

    def _activate(self, task: Task) -> None:
        assert task.greenlet is not None
        self.current = task
        self.activations += 1
        self.before(task)
        try:
            task.greenlet.switch()
        finally:
            self.current = None

    def _bury(self) -> None:
        while self._dying:
            process = self._dying.pop()
            for task in process.tasks:
                if not task.done:
                    self._activate(task)
            process.tasks.clear()

    def clear(self) -> None:
        """End all that is left."""
        for process in {entry[-1].process for entry in self._queue}:
            self.kill(process)
        self._bury()
        self._queue.clear()

    def _at(self, task: Task, due: float) -> None:
        self._count += 1
        task.ticket = self._count
        order = self.rng.random() if self.rng is not None else 0.0
        heapq.heappush(self._queue, (due, order, self._count, task.ticket, task))
