"""A node's service as it runs on a simulated machine: the production's own, with simulated surroundings."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ovca.cluster.roles import Role, RoleError
from ovca.daemon.roles import BootService
from ovca.daemon.service import Ovcad, Step
from ovca.daemon.site import SiteCare
from ovca.daemon.surroundings import Surroundings
from ovca.db.engine import Database
from ovca.power import bmc_of
from ovca.provision.fake import FakeProvision
from ovca.remaster.checks import CheckResult, Result
from tests.simulation.machine import Bmc, Machine
from tests.simulation.scheduler import Process, Scheduler, Task

if TYPE_CHECKING:
    from oslo_config import cfg

    from tests.simulation.appliance import Appliance

SITE_INTERVAL = 60.0
ASIDE = 8.0
"""Seconds at least between two passes of a thread that the protocol does not wait for: they may be slow."""
ASIDES = ('notices', 'company', 'components', 'reports')
WATCHDOG = 0.4


class Address(Role):
    """The virtual IP; it stays where it is when the service dies."""

    def __init__(self, conf: cfg.ConfigOpts, machine: Machine) -> None:
        super().__init__(conf)
        self.machine, self.service = machine, machine.service

    def start(self) -> None:
        if not self.service.serving:
            self._effect('starts to serve', True)

    def stop(self) -> None:
        if self.service.serving:
            self._effect('stops serving', False)

    def _effect(self, what: str, serving: bool) -> None:
        try:
            self.machine.appliance.effect(f'{self.machine.name} {what}', self._set, serving)
        except TimeoutError as exc:  # as the product's roles say it of a command that does not answer
            raise RoleError(f'the address: {exc}', id='virtual-ip') from exc

    def running(self) -> bool:
        return self.service.serving

    def _set(self, serving: bool) -> None:
        self.service.serving = serving
        self.machine.appliance.watch.look(f'{self.machine.name} {"serves" if serving else "serves no more"}')


class Boot(BootService):
    """The boot service without sockets: whoever holds the address is asked, see :mod:`tests.simulation.network`."""

    tls_facts = ('https://192.0.2.1:6642', 'f' * 64)  # type: ignore[assignment]

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        Role.__init__(self, conf)
        self.driver = FakeProvision(conf)
        self.open = False

    def start(self) -> None:
        self.open = True

    def stop(self) -> None:
        self.open = False

    def running(self) -> bool:
        return self.open


class Site(SiteCare):
    """The care for the site settings; who asks for a save does it himself, as there is no other thread."""

    def save_now(self, patience: float = 0.0) -> dict[str, Any]:
        self.step()
        return {'node': self.node, **self._answer}

    def _save(self) -> dict[str, Any]:
        # What is gathered from a disk is the matter of other tests; that it is saved, and when, is an effect.
        return {'saved_at': '', 'items': 0, 'lost': 0}


class Inline(concurrent.futures.Executor):
    """Calls that are over at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:
            future.set_exception(exc)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


class Later(concurrent.futures.Future[Any]):
    """A result that another task brings; nobody waits for it, but comes again."""

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return super().exception(0)


class Beside(Inline):
    """Calls in a task of their own."""

    def __init__(self, running: Running, name: str) -> None:
        self._running, self._name = running, name

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future = Later()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as exc:
                future.set_exception(exc)
            self._running.service.wakes['lease'].set()

        self._running.spawn(self._name, work)
        return future


class Turn:
    """A lock; who waits for it lets the others go on."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._held = scheduler, False

    def __enter__(self) -> bool:
        while self._held:
            self._scheduler.sleep(0.01)
        self._held = True
        return True

    def __exit__(self, *_: object) -> None:
        self._held = False

    def locked(self) -> bool:
        return self._held


class Running:
    """One run of a node's service, as a process with a task for each of its threads."""

    def __init__(self, appliance: Appliance, machine: Machine, conf: cfg.ConfigOpts, version: str) -> None:
        self.appliance, self.machine, self.version = appliance, machine, version
        self.process = Process(f'{machine.name} service {appliance.next_number()}')
        self.process.version = version
        self.booted = appliance.scheduler.now
        self.tasks: dict[str, Task] = {}
        self.conf = conf
        self.healthy: dict[str, str] = {}
        appliance.scheduler.start(self.process, 'start', self._start)

    def _start(self) -> None:
        appliance, machine = self.appliance, self.machine
        clock = self._clock
        around = Surroundings(
            load_drivers=lambda conf: None,
            database=lambda conf: appliance.server.open(appliance.gate, appliance.after_commit, clock),
            power=self._power,
            roles=lambda conf: [Address(conf, machine), Boot(conf)],
            health_checks=lambda context: appliance.health_checks(self, context),
            site=lambda conf, database: Site(conf, database, []),
            run_checks=self._run_checks,
            stage_checks=self._stage_checks,
            clock=clock,
            monotonic=clock,
            boot_id=lambda: f'{machine.name}-boot-{machine.boots}',
            pool=lambda size, name: Beside(self, name) if name == 'fence' else Inline(),
            turn=lambda: Turn(appliance.scheduler),
            spawn=self.spawn,
            reboot=lambda conf: appliance.reboot(machine),
            wake=lambda url: appliance.wake(machine, url),
            save_site=self._save_site,
        )
        self.service = service = Ovcad(self.conf, around)
        while not service.register():
            appliance.scheduler.sleep(self.conf.cluster.poll_interval)
        service.site.step()
        machine.running = self
        own = {'health': lambda woken: service.health.step(), 'site': self._site, 'watchdog': self._watchdog}
        steps = {**own, **service.steps()}
        for name, step in steps.items():
            self.tasks[name] = appliance.scheduler.start(self.process, name, lambda s=step, n=name: self._repeat(n, s))
        self.events = {self.tasks[name]: event for name, event in service.wakes.items() if name not in ASIDES}
        self.events[self.tasks['health']] = service.health.wakes

    def _repeat(self, name: str, step: Step) -> None:
        task, appliance = self.tasks[name], self.appliance
        least, woken = ASIDE if name in ASIDES else 0.0, True
        while True:
            woken = appliance.rest(task, self.events.get(task), max(least, step(woken)))

    def _clock(self) -> float:
        return self.appliance.scheduler.now - self.booted + 100.0

    def _site(self, woken: bool) -> float:
        self.service.site.step()
        return SITE_INTERVAL

    def _watchdog(self, woken: bool) -> float:
        self.service.keeper.demote_if_stale()
        return WATCHDOG

    def spawn(self, name: str, work: Callable[[], None]) -> Task:
        """A thread beside the others."""
        return self.appliance.scheduler.start(self.process, name, work)

    def _power(self, conf: cfg.ConfigOpts, database: Database, node: str) -> Bmc:
        appliance = self.appliance
        driver = Bmc(
            bmc_of(conf, node),
            machine=appliance.machines[node].fake,
            clock=self._clock,
            sleep=appliance.scheduler.sleep,
        )
        driver.appliance = appliance
        return driver

    def _run_checks(self, *_: Any, **__: Any) -> list[CheckResult]:
        return [CheckResult('simulated', Result.PASSED, '')]

    def _stage_checks(self, *_: Any, **__: Any) -> list[CheckResult]:
        failed = self.appliance.blocked()
        return [CheckResult('simulated', Result.FAILED if failed else Result.PASSED, 'blocked' if failed else '')]

    def _save_site(self, conf: cfg.ConfigOpts, database: Database, node: str) -> bool:
        self.appliance.point(f'{self.machine.name} asks {node} to save its site settings')
        return True

    @property
    def serving(self) -> Boot | None:
        """The boot service, while it answers."""
        boot = self.service.serving.roles[1]
        return boot if isinstance(boot, Boot) and boot.open else None
