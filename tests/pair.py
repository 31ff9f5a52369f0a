"""Both nodes of an appliance of rows: their real loops, health, checks and leases; BMCs in memory, time on order."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from ovca import conf
from ovca.cluster.health import HealthContext
from ovca.cluster.health_checks import PeerBmc
from ovca.cluster.lease import Lease
from ovca.cluster.nodes import NodeRow, Pulse
from ovca.db import models
from ovca.db.models import Directive, Entry, Event, InstallGrant, Node, Update
from ovca.exceptions import OvcaError
from ovca.power.base import Bmc, BootDevice, PowerState
from ovca.power.fake import FakeMachine, FakePower
from ovca.remaster import checks
from ovca.remaster.checks.stages import stage_checks
from ovca.remaster.eligible import eligible
from ovca.remaster.hands import Hands
from ovca.remaster.loop import RemasterLoop
from ovca.remaster.protocol import State
from tests.operated import NEW, OLD, Operated

MACHINES: dict[str, FakeMachine] = {}
"""The machine of each node, by its name: what the power driver ``bench`` speaks to."""
LIMITS = {
    'soak': 10, 'prove_soak': 20, 'unhealthy_limit': 30, 'ready_age': 5, 'install_deadline': 1000,
    'verify_deadline': 1000, 'prove_deadline': 1000, 'rollback_deadline': 1000, 'grant_ttl': 80000,
    'order_interval': 5, 'attempts': 2,
}  # fmt: skip
TTL = 30.0


class BenchPower(FakePower):
    """The power driver of these appliances."""

    api = 1

    def __init__(self, bmc: Bmc, **timing: Any) -> None:
        super().__init__(bmc, machine=MACHINES[bmc.node], sleep=lambda _: None, **timing)


class Side:
    """One node: what runs on it, and what it does when its machine is switched on."""

    def __init__(self, pair: Pair, name: str) -> None:
        self.pair, self.name = pair, name
        self.peer = 'mn2' if name == 'mn1' else 'mn1'
        self.root = pair.operated.folder / name
        options = ''.join(f'{key} = {value}\n' for key, value in LIMITS.items())
        pair.operated.configure(
            name,
            f'[cluster]\nsilent_after = 10\n'
            f'[provision]\nroot = {self.root}\n[power]\ndriver = bench\nbmc = mn1:bench://1,mn2:bench://2\n'
            f'[health]\nbmc_interval = 0\n'
            f'[remaster]\n{options}',
        )
        self.conf = conf.load(str(pair.operated.config_file))
        self.machine = MACHINES[name] = FakeMachine(power=PowerState.ON, on_boot=self._boots, on_off=self._dies)
        self.gone = False
        """The machine has died for good; its BMC still answers."""
        self.epoch: int | None = None
        self.booting: list[Callable[[], None]] = []
        """What the machine does next, one after the other."""
        self._starts('1.0.0', OLD)

    def _boots(self, device: BootDevice) -> None:
        if not self.gone:
            self.booting = [self._asks, self._installed] if device is BootDevice.NETWORK else [self._up]

    def _dies(self) -> None:
        self.alive, self.epoch, self.booting = False, None, []

    def _up(self) -> None:
        record = json.loads((self.root / 'etc/ovca/installed.json').read_text())
        self._starts(record['version'], record['digest'])

    def _asks(self) -> None:
        grant = self.pair.open_grant(self.name)
        if grant is None:
            self.booting = [self._up]
            return
        with self.pair.database.write() as session:
            now = self.pair.database.now(session)
            session.get_one(InstallGrant, grant).consumed_at = now
            entry = session.get_one(Entry, (1, self.name))
            entry.step, entry.step_at, entry.percent = 'installing', now, 0.0

    def _installed(self) -> None:
        self._starts('1.1.0', NEW)
        with self.pair.database.write() as session:
            now = self.pair.database.now(session)
            entry = session.get_one(Entry, (1, self.name))
            entry.step, entry.step_at = 'final', now
            entry.final_at, entry.final_attempt, entry.final_digest = now, entry.attempt, NEW

    def _starts(self, version: str, digest: str) -> None:
        record = self.root / 'etc/ovca/installed.json'
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({'version': version, 'digest': digest}))
        self.pair.incarnations += 1
        self.alive, self.epoch, self.digest = True, None, digest
        incarnation = f'{self.name} {self.pair.incarnations}'
        database = self.pair.database
        self.lease = Lease(database, self.name, incarnation, ttl=TTL)
        self.row = NodeRow(self.conf, database, incarnation=incarnation, boot_id=incarnation)
        self.row.register(version, digest)
        self._check = PeerBmc(HealthContext(self.conf, database, self.name, lambda: self.epoch is not None))
        hands = Hands(
            epoch=lambda: self.epoch,
            power=lambda node: BenchPower(Bmc(node, f'bench://{node}', None, None)),
            checks=self._checks,
            stage_checks=lambda version, stage: self._failures(stage_checks(self.conf, database, version, stage)),
            stop_serving=lambda: None,
            gave_away=self._gave_away,
            give_up=self._give_up,
            poke=lambda: None,
            save_site=lambda node: None,
        )
        self.loop = RemasterLoop(self.conf, self.lease, hands, running_digest=digest, clock=lambda: self.pair.passed)

    def _checks(self, version: str) -> list[str]:
        found = checks.run_all(self.conf, self.pair.database, version, only=('nodes', 'lease', 'bmc'))
        return checks.failures(found)

    @staticmethod
    def _failures(results: list[checks.CheckResult]) -> list[str]:
        return checks.failures([result for result in results if result.id in ('lease', 'bmc')])

    def _gave_away(self, epoch: int, reboot: bool) -> None:
        self.machine.turn_off()
        self.machine.turn_on()

    def _give_up(self) -> None:
        if self.lease.read().demoted:
            self.epoch = self.lease.reclaim()
            self.lease.set_acting(self.epoch, 'it gave up')

    def beat(self) -> None:
        """Write the node's row, as its service does."""
        try:
            problem = self._check.check()
        except OvcaError as exc:
            problem = str(exc)
        self.row.beat(
            lambda session: Pulse(
                epoch=self.lease.read(session).epoch,
                role='standby' if self.epoch is None else 'master',
                health='unhealthy' if problem else 'healthy',
                problems={'peer-bmc': problem} if problem else {},
                ready=eligible(session, self.name, self.digest) and not problem,
            )
        )

    def keep(self) -> bool:
        """Do about the lease what is due; return whether that changed anything."""
        view = self.lease.read()
        with self.pair.database.read() as session:
            may_lead = eligible(session, self.name, self.digest)
        if self.epoch is not None:
            self.lease.renew(self.epoch)
            return False
        if view.held_by(self.name, self.lease.incarnation):
            self._act(view.epoch, 'the holder of the epoch before was demoted')
            return True
        if view.holder != self.name and view.expired and may_lead:
            epoch = self.lease.claim(view)
            BenchPower(Bmc(self.peer, 'bench://peer', None, None)).off_and_wait(1)
            self._act(epoch, f'{self.peer} was seen to be off')
            return True
        return False

    def _act(self, epoch: int, proof: str) -> None:
        self.lease.set_acting(epoch, proof)
        self.epoch = epoch


class Pair:
    """mn1, the master, and mn2, the standby, with 1.0.0 on both; an update to 1.1.0 is asked for."""

    def __init__(self, operated: Operated) -> None:
        self.operated, self.database = operated, operated.database
        self.passed, self.incarnations = 0.0, 0
        self.sides = {name: Side(self, name) for name in ('mn1', 'mn2')}
        first = self.sides['mn1']
        with self.database.write() as session:
            row = session.scalars(select(models.Lease)).one()
            row.incarnation, row.ttl, row.fence_proof = first.lease.incarnation, TTL, 'mn2 was seen to be off'
            first.epoch = row.epoch
        operated.update('REQUESTED')
        self.later(1)

    @property
    def state(self) -> str:
        return self.update().state

    def update(self) -> Update:
        with self.database.read() as session:
            return session.get_one(Update, 1)

    @property
    def leader(self) -> Side | None:
        return next((side for side in self.sides.values() if side.epoch is not None and side.alive), None)

    def open_grant(self, node: str) -> int | None:
        with self.database.read() as session:
            now, epoch = self.database.now(session), session.scalars(select(models.Lease.epoch)).one()
            for grant in session.scalars(select(InstallGrant).where(InstallGrant.node == node)):
                usable = grant.consumed_at is None and grant.revoked_at is None and grant.epoch == epoch
                if usable and grant.expires_at > now and self.leader is not None:
                    return grant.id
        return None

    def later(self, seconds: float) -> None:
        """Time passes; the nodes that are alive keep the lease and are heard of all the while."""
        back = dt.timedelta(seconds=seconds)
        self.passed += seconds
        with self.database.write() as session:
            for model in (Directive, Entry, InstallGrant, Node, Update, models.Lease):
                for row in session.scalars(select(model)):
                    for name, value in list(vars(row).items()):
                        if isinstance(value, dt.datetime):
                            setattr(row, name, value - back)
        for side in sorted(self.sides.values(), key=lambda side: side.epoch is None):
            if side.alive and not side.booting:
                side.keep()
        for side in self.sides.values():
            if side.alive and not side.booting:
                side.beat()

    def step(self) -> bool:
        """Let one thing happen for which no time has to pass; return whether there was one."""
        leader = self.leader
        if leader is not None and leader.loop.step():
            return True
        for side in self.sides.values():
            if side.booting:
                side.booting.pop(0)()
                return True
        return any(side.keep() for side in self.sides.values() if side.alive)

    def until(self, true: Callable[[], bool]) -> None:
        """Go on until something holds."""
        for _ in range(600):
            if true():
                return
            if not self.step():
                self.later(11)
        raise AssertionError('\n'.join(self.story()))

    def settle(self) -> None:
        """Go on until nothing happens, long enough for each soak and for ill health to count, and for no deadline."""
        for _ in range(4):
            while self.step():
                pass
            if State(self.state).ended:
                return
            self.later(35)

    def path(self, since: int = 0) -> list[str]:
        """The states that were entered, after so many."""
        with self.database.read() as session:
            entered = select(Event.to_state).where(Event.to_state.is_not(None)).order_by(Event.id)
            return [str(state) for state in session.scalars(entered)][since:]

    def story(self) -> list[str]:
        return [f'{e.kind} {e.node} {e.from_state}->{e.to_state} {e.detail}' for e in self._events()]

    def _events(self) -> list[Event]:
        with self.database.read() as session:
            return list(session.scalars(select(Event).order_by(Event.id)))

    def dies(self, name: str) -> None:
        """A machine loses its power for good; its BMC still answers."""
        side = self.sides[name]
        side.gone = True
        side.machine.turn_off()

    def goes_dark(self, name: str) -> None:
        """A BMC answers no more; its machine goes on."""
        vices = self.sides[name].machine.vices
        self.sides[name].machine.vices = dataclasses.replace(vices, unreachable=True)
