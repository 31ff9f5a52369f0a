"""The whole appliance: two machines, what they share, and the points at which something may break."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import ovca
from ovca.cluster import health_checks
from ovca.cluster.health import HealthCheck, HealthContext
from ovca.power.base import BootDevice, PowerState
from tests.simulation import database
from tests.simulation.database import Server
from tests.simulation.disks import NODES, OLD, Disks
from tests.simulation.faults import Kind, Mishap, Now, Schedule, Strike
from tests.simulation.machine import Machine
from tests.simulation.node import Running
from tests.simulation.operator import Operator
from tests.simulation.scheduler import LEAST, Process, Scheduler, Stopped, Task
from tests.simulation.watch import Watch

if TYPE_CHECKING:
    from oslo_config import cfg

    from tests.simulation.spread import Spread

T = TypeVar('T')
MACS = {'mn1': '52:54:00:00:00:01', 'mn2': '52:54:00:00:00:02'}
RETURNS = 8.0
"""Seconds until the power returns after a loss at a point."""


class Condition(HealthCheck):
    """Whether the image is any good on this node, in its present role; and what passes."""

    appliance: Appliance
    running: Running

    def check(self) -> str | None:
        appliance, image = self.appliance, self.appliance.schedule.image
        appliance.reach_bmc(str(self.context.conf.cluster.peer))
        if appliance.broken.ill.get(self.context.node):
            return 'it is ill for a while'
        new = self.running.service.digest == appliance.new_digest
        if new and (image == 'bad' or (image == 'bad-as-master' and self.context.acting())):
            return 'this software is no good'
        return None


class Appliance:
    """One run: everything in it follows from the schedule."""

    def __init__(self, disks: Disks, server: Server, confs: dict[str, cfg.ConfigOpts], schedule: Schedule) -> None:
        self.disks, self.server, self.confs, self.schedule = disks, server, confs, schedule
        self.rng = Random(schedule.seed)
        self.scheduler = Scheduler(self.rng if schedule.seed is not None else None)
        self.scheduler.before = self._before
        self.macs, self.new_digest = MACS, disks.images['1.1.0'].digest
        self.machines = {name: Machine(self, name) for name in NODES}
        self.points = self.changes = 0
        """How many points were passed, and how often something was done that outlives a process."""
        self.spread: Spread | None = None
        self.deaf = False
        """Files are put back by whoever watches, which is no effect."""
        self.trace: list[str] | None = None
        self.labels: list[str] | None = None
        self.broken = Now()
        self._strikes: dict[int, list[Strike]] = {}
        self._to_come: list[Task] = []
        """The faults that have a time."""
        self.calm_after = 0.0
        """When the last one of these is over."""
        self.last_fault = 0.0
        self._numbers = 0
        self._jump = 0.0
        self.world = Process('the world')
        self.world.version = ovca.__version__
        server.committing = self._committing
        self.watch = Watch(self)
        self._expect(schedule, after=-1.0)
        self.operator = Operator(self)
        if schedule.held is not None:
            self.later(schedule.held, 'an operator lets it go on', lambda: self.operator.asks('continue'))
        for machine in self.machines.values():
            machine.fake.power = PowerState.ON
            machine.start_service()

    def _expect(self, schedule: Schedule, *, after: float) -> None:
        """Let the faults of a schedule happen that are still to come."""
        for strike in schedule.strikes:
            if strike.point >= self.points:
                self._strikes.setdefault(strike.point, []).append(strike)
        for mishap in schedule.mishaps:
            if mishap.at > after:
                what, happens = str(mishap), partial(self._happens, mishap)
                self._to_come.append(self.later(mishap.at - self.scheduler.now, what, happens))
        self.calm_after = schedule.calm_after

    def goes_on_with(self, schedule: Schedule) -> None:
        """From here on the faults are those of another schedule, and so is the order of threads."""
        self.note(f'** from here on as {schedule.name}')
        self.schedule = schedule
        self.rng.seed(schedule.name)
        self._strikes.clear()
        while self._to_come:
            self._to_come.pop().done = True
        self._expect(schedule, after=self.scheduler.now)

    # Running.

    def next_number(self) -> int:
        """A number that no other process has."""
        self._numbers += 1
        return self._numbers

    def start_service(self, machine: Machine) -> None:
        """Start what is on a machine's disk."""
        digest, _, _ = self.disks.state(machine.name)
        version = next((v for v, image in self.disks.images.items() if image.digest == digest), OLD)
        running = Running(self, machine, self.confs[machine.name], version)
        machine.process = running.process

    def _before(self, task: Task) -> None:
        ovca.__version__ = task.process.version
        self.server.utc = self.scheduler.now + self._jump + 1000.0

    def later(self, seconds: float, what: str, work: Callable[[], None]) -> Task:
        """Let something happen."""

        def happen() -> None:
            self.note(what)
            work()

        return self.scheduler.start(self.world, what, happen, seconds)

    def step(self) -> bool:
        """Run the next thread that is due until it rests."""
        went = self.scheduler.step()
        for machine in self.machines.values():
            running = machine.running
            if running is not None:
                for task, event in running.events.items():
                    if task.resting and event.is_set():
                        event.clear()
                        task.woken = True
                        self.scheduler.hasten(task, LEAST)
                for task in running.process.tasks:
                    if task.failure is not None:
                        self._ended(task, task.failure)
        return went

    def _ended(self, task: Task, failure: BaseException) -> None:
        """A thread of a service ended, and so would the service: nothing that a schedule does may lead there."""
        for line in ''.join(traceback.format_exception(failure)).splitlines():
            self.note(line)
        self.watch.wrong(f'the thread {task.name} of {task.process} ended: {type(failure).__name__}: {failure}')

    def rest(self, task: Task, event: threading.Event | None, seconds: float) -> bool:
        """Let a thread of a service rest as long as it says, or until it is woken; return whether it was."""
        woken = seconds <= 0 or (event is not None and event.is_set())
        if woken:
            seconds = LEAST
            if event is not None:
                event.clear()
        if self.schedule.seed is not None:
            seconds *= self.rng.uniform(1.0, 1.2)
        task.woken = woken
        self.scheduler.sleep(seconds, resting=True)
        return task.woken

    def note(self, what: str) -> None:
        """Tell what happens, if anybody wants to know."""
        if self.trace is not None:
            self.trace.append(f'{self.scheduler.now:9.3f} {what}')

    # Points.

    def here(self) -> Process:
        """The process that does what is done now. :raises Stopped: it is dead."""
        task = self.scheduler.current
        if task is None or not task.process.alive:
            raise Stopped
        return task.process

    def machine_here(self) -> Machine | None:
        """Its machine."""
        process = self.here()
        return next((m for m in self.machines.values() if m.process is process), None)

    def point(self, label: str, *, after: bool = False, inside: bool = False) -> None:
        """Something may break here; ``inside`` a transaction nobody is paused, as on SQLite all would wait for him.

        :raises Stopped: it breaks. :raises LostReply: what was done before is not heard of.
        """
        machine = self.machine_here()
        number, self.points = self.points, self.points + 1
        if self.labels is not None:
            self.labels.append(f'{machine.name if machine else "?"}: {label}')
        self.note(f'{number}: {machine.name if machine else "?"}: {label}')
        if self.spread is not None and machine is not None:
            strike = self.spread.at(self, number, (self.scheduler.activations, self.changes))
            if strike is not None:
                self._strike(strike, machine, after, inside)
        for strike in self._strikes.get(number, ()):
            self._strike(strike, machine, after, inside)

    def _strike(self, strike: Strike, machine: Machine | None, after: bool, inside: bool) -> None:
        if machine is None:
            return
        self.note(f'** {strike}')
        self.fault(self.scheduler.now)
        match strike.kind:
            case Kind.KILL:
                if machine.running is not None:
                    machine.kill_service()
                else:
                    machine.reset(BootDevice.DISK)
            case Kind.POWER:
                self.fault(self.scheduler.now + RETURNS)
                machine.lose_power(RETURNS)
            case Kind.POWER_PEER:
                self.fault(self.scheduler.now + RETURNS)
                self.other(machine).lose_power(RETURNS)
            case Kind.PAUSE:
                self._pause(machine, strike.seconds, sleep=not inside)
            case Kind.LOST if after:
                raise LostReply
        self.here()

    def fault(self, until: float) -> None:
        """Something is broken until then."""
        self.last_fault = max(self.last_fault, until)

    def _pause(self, machine: Machine, seconds: float, *, sleep: bool = True) -> None:
        if machine.process is None:
            return
        self.fault(self.scheduler.now + seconds)
        machine.process.paused_until = self.scheduler.now + seconds
        task = self.scheduler.current
        if sleep and task is not None and task.process is machine.process:
            self.scheduler.sleep(seconds)

    def other(self, machine: Machine) -> Machine:
        return next(m for m in self.machines.values() if m is not machine)

    def effect(self, label: str, work: Callable[..., T], *args: Any) -> T:
        """Do something that reaches beyond the process, with a point before it and one after."""
        self._interrupted()
        try:
            self.point(f'before: {label}')
            done = work(*args)
            self.changes += 1
            self.watch.look(label)
            self.here()
            self.point(f'after: {label}', after=True)
        except LostReply:
            raise TimeoutError('no answer in time') from None
        return done

    def _interrupted(self) -> None:
        """Another thread of the same service may be faster here; not where a lock is held, which it would wait for."""
        chance = self.schedule.preempted
        if chance and self.rng.random() < chance:
            task = self.scheduler.current
            if task is not None and task.name not in ('site', 'start'):
                running = next((m.running for m in self.machines.values() if m.process is task.process), None)
                if running is None or not running.service.serving.busy:
                    self.scheduler.sleep(self.rng.uniform(0.0, 1.5))

    # The database.

    def gate(self, writing: bool) -> None:
        """Before each transaction. :raises DatabaseUnavailable: there is no way to the database now."""
        self._interrupted()
        machine = self.machine_here()
        for strike in self._pauses() if writing and machine is not None else ():
            # Its commit is the next point: who is paused there has read, and has not begun to write.
            self.note(f'** {strike}')
            self._pause(machine, strike.seconds)
        if self.broken.outage or (machine is not None and self.broken.cut.get(machine.name)):
            raise database.unavailable('an outage')

    def _pauses(self) -> list[Strike]:
        """Take away those of the next point: while the first of them lasts, others go on to points of their own."""
        strikes = self._strikes.pop(self.points, [])
        self._strikes[self.points] = [strike for strike in strikes if strike.kind is not Kind.PAUSE]
        return [strike for strike in strikes if strike.kind is Kind.PAUSE]

    def _committing(self, tables: set[str]) -> None:
        self.point(f'before: commit {" ".join(sorted(tables))}', inside=True)

    def after_commit(self, normal: bool, tables: set[str]) -> None:
        """After each transaction that was committed."""
        self.changes += 1
        self.watch.committed(tables)
        try:
            self.point(f'after: commit {" ".join(sorted(tables))}', after=True)
        except LostReply:
            if normal:
                raise database.unavailable('the reply to a commit was lost') from None

    # The network.

    def wake(self, machine: Machine, url: str) -> None:
        """One node's service wakes the other's."""
        self.here()
        peer = self.other(machine).running
        if peer is not None:
            peer.service.wake()

    def reach_bmc(self, node: str) -> None:
        """:raises OSError: the BMC of this node does not answer."""
        self.here()
        if self.broken.bmc_dead.get(node):
            raise ConnectionRefusedError('the BMC does not answer')

    def reboot(self, machine: Machine) -> None:
        """A service reboots its node; as the product's, it goes on when it hears nothing of its command."""
        with contextlib.suppress(TimeoutError):
            self.effect(f'{machine.name} reboots', machine.reset)

    def blocked(self) -> bool:
        """Whether the checks before a stage fail now."""
        return self.broken.blocked > 0

    def health_checks(self, running: Running, context: HealthContext) -> dict[str, HealthCheck]:
        """The product's own, but for the one that asks a BMC by its real driver, and the one that knows the image."""
        condition = Condition(context)
        condition.appliance, condition.running = self, running
        kept = (health_checks.Database, health_checks.Software)
        return {**{kind.__name__: kind(context) for kind in kept}, 'condition': condition}

    # Faults at a time.

    def _happens(self, mishap: Mishap) -> None:
        machine, seconds = self.machines[mishap.node], mishap.seconds
        self.fault(self.scheduler.now + (seconds if mishap.kind is not Kind.CLOCK else 0.0))
        match mishap.kind:
            case Kind.KILL:
                machine.kill_service()
            case Kind.POWER:
                machine.lose_power(seconds)
            case Kind.PAUSE:
                self._pause(machine, seconds)
            case Kind.NETWORK_BOOT:
                machine.reset(BootDevice.NETWORK) if machine.on else machine.power_returns()
            case Kind.CLOCK:
                self._jump += seconds
            case Kind.BMC_STUCK:
                self._for(seconds, lambda on: setattr(machine.fake.vices, 'stuck_on', on))
            case Kind.BMC_REPEATS:
                self._for(seconds, lambda on: setattr(machine.fake.vices, 'repeat_network_boot', on))
            case Kind.OUTAGE:
                self._for(seconds, lambda on: setattr(self.broken, 'outage', self.broken.outage + (1 if on else -1)))
            case Kind.BLOCKED:
                self._for(seconds, lambda on: setattr(self.broken, 'blocked', self.broken.blocked + (1 if on else -1)))
            case Kind.CUT:
                self._for(seconds, lambda on: _count(self.broken.cut, mishap.node, on))
            case Kind.ILL:
                self._for(seconds, lambda on: _count(self.broken.ill, mishap.node, on))
            case Kind.BMC_DEAD:
                self._for(seconds, lambda on: _count(self.broken.bmc_dead, mishap.node, on))
            case Kind.ABORT:
                self.operator.asks('abort')
            case Kind.PAUSED:
                self.operator.asks('pause')
                self.later(seconds, 'an operator continues', lambda: self.operator.asks('continue'))

    def _for(self, seconds: float, switch: Callable[[bool], None]) -> None:
        switch(True)
        self.later(seconds, 'it is over', lambda: switch(False))

    # The disks.

    def file_effect(self, name: str) -> None:
        """A file is about to be written, replaced or removed."""
        if self.scheduler.current is not None and not self.deaf:
            self.point(f'before: {name}', inside=True)
            self.changes += 1


class LostReply(Exception):
    """The answer to what was done is lost."""


def _count(counts: dict[str, int], node: str, on: bool) -> None:
    counts[node] = counts.get(node, 0) + (1 if on else -1)
