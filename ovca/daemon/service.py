"""``ovcad``: one service on each node; it keeps the lease, carries out updates, and proves what it runs.

A few threads, each level-triggered: whatever wakes it, it reads the world afresh. An exception that nobody expected
ends the service, and the service manager starts it again; that is always safe.
"""

from __future__ import annotations

import logging
import math
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ovca
from ovca import notify
from ovca.cluster import machine
from ovca.cluster.glance import Glance
from ovca.cluster.health import HealthContext, HealthMonitor
from ovca.cluster.keeper import SHORTEST, Keeper
from ovca.cluster.lease import Lease
from ovca.cluster.nodes import NodeRow, Pulse, silent_after
from ovca.cluster.peer import PeerCare
from ovca.cluster.roles import Role
from ovca.daemon import systemd
from ovca.daemon.board import Board
from ovca.daemon.company import Company
from ovca.daemon.components import ComponentCare
from ovca.daemon.notices import Notices
from ovca.daemon.outside import Outside
from ovca.daemon.pace import Pace
from ovca.daemon.reports import Reports
from ovca.daemon.requests import Requests, Waiting
from ovca.daemon.roles import BootService, StatusService
from ovca.daemon.serving import Serving
from ovca.daemon.status import status_app
from ovca.daemon.surroundings import Surroundings
from ovca.db import schema
from ovca.db.engine import check_single_host
from ovca.exceptions import DatabaseError, DatabaseUnavailable, ImageError, LeaseLost, OvcaError
from ovca.provision.bounded import Bounds
from ovca.provision.server import HttpServer
from ovca.remaster import components, evidence
from ovca.remaster.checks.patience import Patience
from ovca.remaster.conflicts import stamp
from ovca.remaster.eligible import eligible
from ovca.remaster.grants import GrantDesk
from ovca.remaster.hands import Hands
from ovca.remaster.loop import RemasterLoop
from ovca.remaster.observe import Observation, newest_update
from ovca.remaster.protocol import State, StateUnknown

if TYPE_CHECKING:
    from oslo_config import cfg
    from sqlalchemy.orm import Session

LOG = logging.getLogger(__name__)
REPORT_INTERVAL = 60.0
"""Seconds, at least, between two looks for a report that is due; the loop wakes it when it has changed something."""
MIGRATE_AGAIN = 60.0
"""Seconds until it is tried again to bring the schema up."""
WATCHED = 4.0
"""Seconds between two signs to systemd, at most; its unit wants one in ten."""

Step = Callable[[bool], float]
"""One pass of a thread, told whether something woke it; it returns the seconds that it may rest, 0 to go on at once."""


class Ovcad:
    """The service. :meth:`run` returns when :meth:`stop` was called.

    Its threads repeat what :meth:`steps` names; whoever calls these one after the other needs no threads.
    """

    def __init__(self, conf: cfg.ConfigOpts, around: Surroundings = Surroundings()) -> None:  # noqa: B008
        check_single_host(conf)
        around.load_drivers(conf)
        self.conf, self.around, self._clock = conf, around, around.clock
        self.name: str = conf.cluster.node_name
        self.root = Path(conf.provision.root)
        self.database = around.database(conf)
        record = evidence.installed(self.root)
        self.version = record.version if record else ovca.__version__
        self.digest = record.digest if record else None
        self.incarnation, self.boot_id = uuid.uuid4().hex, around.boot_id()
        self.lease = Lease(self.database, self.name, self.incarnation, ttl=conf.cluster.ttl)
        self.site = around.site(conf, self.database)
        self.row = NodeRow(conf, self.database, incarnation=self.incarnation, boot_id=self.boot_id)
        self._stop = threading.Event()
        self.wakes = {
            name: threading.Event() for name in ('lease', 'loop', 'beat', 'notices', 'company', 'components', 'reports')
        }
        """Set when the thread of that name is to look at once."""
        self._fatal: BaseException | None = None
        self._proof_done, self._schema_done = not evidence.given(self.root), False
        self._migrate_at = -math.inf
        """When the schema may be brought up next."""
        self._unproved: str | None = None
        """What keeps this node from proving what it runs, and may pass."""
        self._glance: Glance | None = None
        """What the last sign of life has seen; None: it failed, or there was none yet."""
        self._may_lead, self._looked_at, self._lease_due = False, -math.inf, -math.inf
        self._beaten = -math.inf
        """When the last sign of life was begun."""
        self._said: str | None = None
        """The health in the last sign of life."""
        self.patience = Patience()
        self.outside = Outside(conf, self.lease, around, self.patience)
        self.serving = Serving(self._load_roles(), around.turn())
        self.keeper = Keeper(
            conf,
            self.lease,
            eligible=self._eligible,
            fence=self.outside.fence,
            serve=self._serve,
            stop_serving=lambda: self.serving.stop(lambda: self.keeper.epoch is None),
            clock=around.clock,
            pool=around.pool,
        )
        self.health = HealthMonitor(
            HealthContext(conf, self.database, self.name, lambda: self.keeper.epoch is not None),
            changed=self.wake,
            load=around.health_checks,
            pool=around.pool,
            rest=lambda: self._pace.check(conf),
            clock=around.clock,
        )
        hands = Hands(
            epoch=self._epoch,
            power=self.outside.power,
            checks=lambda version: self.outside.check(version, self._epoch()),
            stage_checks=self.outside.check_stage,
            stop_serving=self._stand_down,
            gave_away=self._gave_away,
            give_up=self._give_up,
            poke=self.outside.poke,
            save_site=self.outside.save_site,
        )
        self.loop = RemasterLoop(conf, self.lease, hands, running_digest=self.digest, clock=around.monotonic)
        self.requests = Requests(
            conf,
            self.lease,
            epoch=self._epoch,
            changed=self.wake,
            running=(self.version, self.digest),
            fail_over=self.loop.hand_over.on_request,
            patience=self.patience,
            run_checks=around.run_checks,
            spawn=around.spawn,
            clock=around.monotonic,
        )
        self.peer = PeerCare(conf, self.lease, power=self.outside.power)
        self.notices = Notices(conf, self.database, notify.load(conf), epoch=self._telling, clock=around.monotonic)
        self.company = Company(conf, self.lease, epoch=self._epoch, clock=around.monotonic)
        self.components = ComponentCare(
            conf,
            self.lease,
            components.load(conf),
            epoch=self._epoch,
            running_digest=self.digest,
            clock=around.monotonic,
        )
        self.reports = Reports(conf, self.lease, epoch=self._epoch, clock=around.monotonic)
        self.board = Board(conf, self.database)

    def run(self) -> None:
        """Serve until :meth:`stop`. :raises OvcaError: the service cannot go on."""
        app = status_app(self.facts, self.wake, self.board.tell, self.site.save_now, machine=self.machine)
        bounds = Bounds.from_conf(self.conf)
        status = HttpServer(app, self.conf.cluster.address, self.conf.cluster.port, bounds=bounds)
        status.start()
        try:
            self._prepare()
            works = {name: partial(self._repeat, name, step) for name, step in self.steps().items()}
            for name, work in {'health': self.health.run, 'site': self._site_thread, **works}.items():
                threading.Thread(target=self._guarded, args=(name, work), name=name, daemon=True).start()
            systemd.notify('READY=1')
            LOG.info(
                '%s: ovca %s, image %s, boot %s',
                self.name,
                self.version,
                (self.digest or '-')[:12],
                self.boot_id,
            )
            while not self._stop.wait(self._watch_interval):
                self.keeper.demote_if_stale()
                systemd.notify('WATCHDOG=1')
            systemd.notify('STOPPING=1')
        finally:
            self._stop.set()
            self.health.stop()
            self.site.wake()
            self.keeper.close()
            self.serving.stop()
            status.stop()
            self.health.close()
        if self._fatal is not None:
            raise self._fatal

    def stop(self) -> None:
        """End :meth:`run`; the lease stays, a restart re-claims it."""
        self._stop.set()
        self.wake()

    def wake(self, *, but: str | None = None) -> None:
        """Something changed: look now, all but one thread."""
        self._looked_at = -math.inf
        for name, event in self.wakes.items():
            if name != but:
                event.set()

    def facts(self) -> dict[str, Any]:
        """What the status server tells."""
        alone = self.company.seen
        return {
            'node': self.name,
            'version': self.version,
            'digest': self.digest,
            'boot_id': self.boot_id,
            'acting': self.keeper.epoch is not None,
            'epoch': self.keeper.seen_epoch,
            'health': self.health.report.status,
            'problems': dict(self.health.report.problems),
            'alone': alone is not None,
            'alone_since': stamp(alone.since) if alone and alone.since else None,
            'alone_because': alone.why if alone else None,
        }

    def machine(self) -> dict[str, Any]:
        """What the status server tells of the machine."""
        return machine.look(self.conf, self.database).as_dict()

    # Start.

    def _prepare(self) -> None:
        """Wait for the database, say who this node is, save its site files."""
        while not self._stop.is_set() and not self.register():
            self._stop.wait(self.conf.cluster.poll_interval)
        self.site.step()

    def register(self) -> bool:
        """Say who this node is; return whether the database took it. :raises DatabaseError: it never will."""
        try:
            schema.prepare(self.database)
            self.lease.ensure_row()
            self.row.register(self.version, self.digest)
        except DatabaseUnavailable as exc:
            LOG.warning('%s', exc)
            return False
        return True

    def _load_roles(self) -> list[Role]:
        found = self.around.roles(self.conf)
        for role in found:
            if isinstance(role, BootService):
                role.authority = self._grant_desk(role)
            elif isinstance(role, StatusService):
                # What is asked of one node, as to save its settings, is asked at that node's own address.
                role.app = status_app(self.facts, self.wake, lambda after: self.board.tell(after))
        return found

    def _grant_desk(self, boot: BootService) -> GrantDesk:
        return GrantDesk(
            self.conf,
            self.lease,
            epoch=self._epoch,
            boot_url=lambda: boot.boot_url,
            tls=lambda: boot.tls_facts,
            changed=self.wake,
        )

    # The threads.

    @property
    def _watch_interval(self) -> float:
        """Seconds until the next look whether the lease is stale; who begins to act meanwhile has just renewed it."""
        left, demote = self.keeper.fresh_for, self.keeper.self_demote
        # Not only when it gets stale: a machine may stand still, and this clock of waiting with it.
        return min(WATCHED, demote / (4 if left == math.inf else 10), max(SHORTEST, left))

    def steps(self) -> dict[str, Step]:
        """What the threads repeat, by their names; :attr:`wakes` may cut a rest short.

        Health and site settings have loops of their own.
        """
        return {
            'lease': self._lease_step,
            'beat': self._beat_step,
            'loop': self._loop_step,
            'notices': partial(self._aside, 'notices', self.notices.step),
            'company': partial(self._aside, 'company', self.company.step),
            'components': partial(self._aside, 'components', self.components.step),
            'reports': partial(self._aside, 'reports', self.reports.step, least=REPORT_INTERVAL),
        }

    def _repeat(self, name: str, step: Step) -> None:
        woken, wakes = True, self.wakes[name]
        while not self._stop.is_set():
            seconds = step(woken)
            woken = seconds <= 0 or wakes.wait(seconds)
            if woken:  # else who has set it since the rest was over would not be heard
                wakes.clear()  # the next pass sees what it was set for; what is set from here on means another one

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as exc:
            if self._stop.is_set():  # it needs what was closed already; or another thread has told of the cause
                LOG.debug('the thread %s ended as the service stops', name, exc_info=True)
                return
            LOG.exception('the thread %s ended; the service stops and is started again', name)
            self._fatal = exc
            self._stop.set()

    @property
    def _pace(self) -> Pace:
        return Pace.of(self._glance, self.conf)

    def _lease_step(self, woken: bool) -> float:
        before = (self.keeper.epoch, self.keeper.seen_epoch)
        pace = self._pace
        look = woken or self.keeper.blind or pace is not Pace.QUIET or self._clock() >= self._lease_due
        self.keeper.tick(look=look)
        if look:
            self._lease_due = self._clock() + pace.look(self.conf)
        if (self.keeper.epoch, self.keeper.seen_epoch) != before:
            self.wake()
            return 0.0
        if pace is Pace.QUIET and self._clock() - self._beaten >= pace.beat(self.conf) / 2:
            self.wakes['beat'].set()  # which is due soon: threads cost an idle node less when they wake together
        return self.keeper.pause(busy=pace is Pace.BUSY)

    def _beat_step(self, woken: bool) -> float:
        before = self._pace
        self._beat()
        pace = self._pace
        if pace is Pace.QUIET:
            self.health.soon()
        elif before is Pace.QUIET:
            self.health.again()
            self.outside.poke()  # the other node may have nothing to do, and says little until it knows better
        return pace.beat(self.conf)

    def _beat(self) -> None:
        """Give a sign of life, and wake the threads when it tells that something has changed."""
        glance = None
        begun = self._beaten = self._clock()
        try:
            self._prove()
            glance = self.row.beat(self._pulse)
            told = self.row.told
            if told is not None and told.health != self._said:
                self._said = told.health
                self.wakes['company'].set()  # which reads it from the row
        except LeaseLost as exc:
            LOG.info('%s', exc)
        except DatabaseError as exc:
            LOG.warning('%s', exc)
        before, self._glance = self._glance, glance
        if glance is not None and not glance.same(before, within=silent_after(self.conf)):
            # What this one said was read in the same moment, if it had not been kept; and was proved, if need be.
            said = self._looked_at >= begun and (before is None or before.open or not glance.open)
            self.wake(but='beat' if said else None)

    def _site_thread(self) -> None:
        while not self._stop.is_set():
            self.site.wait(self._stop)
            self.site.step()

    def _loop_step(self, woken: bool) -> float:
        changed = self._decide()
        if changed:
            self.wakes['reports'].set()  # it may have been the end of an update
            return 0.0
        return (Pace.BUSY if changed is None else self._pace).look(self.conf)

    def _decide(self) -> bool | None:
        """Take one request, one step of the update, and care for the peer.

        Returns whether there may be more to do; None: it failed, and what woke it is still to be done.
        """
        epoch = self._epoch()
        if epoch is None:
            return False
        try:
            waiting, seen, silent = self._look_around(epoch)
            taken = self.requests.take(epoch, waiting)
            if taken:
                _, seen, silent = self._look_around(epoch)  # it may have changed everything
            if self.loop.act(epoch, seen) or taken:
                return True
            try:
                self._migrate(epoch)
            finally:  # a schema that cannot be migrated is no reason to leave the peer off
                if silent:
                    self.peer.care(epoch)
            return False
        except LeaseLost as exc:
            LOG.info('%s', exc)
        except OvcaError as exc:
            LOG.error('%s', exc)
        return None

    def _look_around(self, epoch: int) -> tuple[Waiting, Observation | StateUnknown | None, bool]:
        """What there is to do for requests, for the update and for the peer, at one moment."""
        with self.database.read() as session:
            return self.requests.look(session), self.loop.look(session, epoch), self.peer.silent(session)

    def _aside(self, name: str, step: Callable[[], float | None], woken: bool, *, least: float = 0.0) -> float:
        """Work that the protocol does not wait for; a step may say after how many seconds it has more to do."""
        soon = None
        try:
            soon = step()
        except OvcaError as exc:
            LOG.debug('%s: %s', name, exc)  # the database or the lease, of which the other threads tell
            soon = float(self.conf.cluster.renew_interval)
        often = self._pace.look(self.conf)
        if soon is not None:
            often = min(often, max(soon, self.conf.cluster.poll_interval))
        return max(least, often)

    # Health, proof, schema.

    def _pulse(self, session: Session) -> Pulse:
        report = self.health.report
        epoch = self.keeper.epoch
        problems = dict(report.problems)
        if self.serving.problem:
            problems['roles'] = self.serving.problem
        if self._unproved:
            problems['proof'] = self._unproved
        status = 'unhealthy' if problems else report.status
        acting = epoch is not None
        return Pulse(
            epoch=self.keeper.seen_epoch,
            role='master' if acting else 'standby',
            health=status,
            problems=problems,
            ready=self._look(session) and status == 'healthy',
            breaks=self.serving.stops + self.health.falls,
        )

    def _prove(self) -> None:
        """Prove what runs here, if an update wants to know it; none is told yet when this service has just started."""
        if self._proof_done or (self._glance is not None and not self._glance.open):
            self._unproved = None
            return
        try:
            if evidence.finalise(self.database, self.conf, node=self.name, boot_id=self.boot_id):
                LOG.info('%s finalised its entry: it runs %s', self.name, self.version)
                self.outside.poke()
                self.wake()
                self._proof_done = True
            self._unproved = None
        except (evidence.EvidenceRefused, evidence.UnreadableRecord) as exc:
            LOG.error('ALARM: %s', exc)
            self._proof_done, self._unproved = True, None
        except ImageError as exc:  # the shared storage may come later than this service, or come back
            if self._unproved != exc.with_id:
                LOG.error('ALARM: %s cannot prove yet what it runs: %s', self.name, exc.with_id)
            self._unproved = exc.with_id

    def _migrate(self, epoch: int) -> None:
        """Bring the schema to this software's revision, only when no update is open and both nodes run it."""
        if self._schema_done or self._clock() < self._migrate_at:
            return
        there = schema.current(self.database)
        if there is not None and schema.number(there) >= schema.number(schema.head()):
            self._schema_done = True
            return
        with self.database.read() as session:
            update = newest_update(session)
            if update is None or State(update.state) is not State.DONE or update.digest != self.digest:
                return
        LOG.info('migrates the database to revision %s', schema.head())
        try:
            schema.upgrade(self.database)
        except DatabaseError as exc:
            self._migrate_at = self._clock() + MIGRATE_AGAIN
            if not isinstance(exc, DatabaseUnavailable):
                told = (
                    f'the schema cannot be brought to revision {schema.head()}: {exc}; see `ovca db-check` [{exc.id}]'
                )
                self.lease.alarm(epoch, told, cause=exc.id)
            raise

    # What the others call.

    def _epoch(self) -> int | None:
        return self.keeper.epoch

    def _telling(self) -> int | None:
        """The epoch under which this node tells the notifiers: also when it cannot take over, as nobody else does."""
        return self.keeper.epoch if self.keeper.epoch is not None else self.keeper.stuck

    def _look(self, session: Session) -> bool:
        """Whether this node may lead. While no update is open the answer changes only with one, so it is kept."""
        pace = self._pace
        if pace is not Pace.BUSY and self._clock() - self._looked_at < pace.look(self.conf):
            return self._may_lead
        self._looked_at = self._clock()  # before it is read: who wakes this service meanwhile makes it an old answer
        try:
            self._may_lead = self._eligible(session)
        except OvcaError:
            self._looked_at = -math.inf
            raise
        return self._may_lead

    def _eligible(self, session: Session) -> bool:
        return eligible(session, self.name, self.digest)

    def _serve(self, epoch: int) -> None:
        # What was lost before the first role could start is not served, and what runs was stopped.
        if not self.serving.start(lambda: self.keeper.epoch == epoch):
            return
        LOG.info('%s acts as master, epoch %s', self.name, epoch)
        self.health.again()
        self.wake()
        self.outside.poke()  # the peer learns of the epoch at once

    def _stand_down(self) -> None:
        """The giver's part of a hand-over. :raises RoleError: something still serves."""
        epoch = self.keeper.epoch
        if epoch is None:
            raise LeaseLost(f'{self.name} does not lead any more')
        self.site.save_now()  # a storage that hangs must not hold the hand-over up for longer than that
        self.keeper.demoting(epoch)
        self.serving.stop_surely()

    def _give_up(self) -> None:
        self.keeper.give_up()
        self.wake()

    def _gave_away(self, epoch: int, reboot: bool) -> None:
        self.keeper.gave_away()
        LOG.info('%s gave the lease away (epoch %s)%s', self.name, epoch, ' and reboots' if reboot else '')
        if reboot:
            self.around.reboot(self.conf)
