"""The acting master on an appliance of rows: its real loop and clerk, a machine in memory, and time on order."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ovca import conf
from ovca.cluster.lease import Lease
from ovca.cluster.roles import RoleError
from ovca.daemon.requests import Requests
from ovca.db import models
from ovca.db.models import Directive, Entry, InstallGrant, Node, Request, Update
from ovca.power.base import Bmc, PowerState
from ovca.power.fake import FakeMachine, FakePower
from ovca.remaster.grants import GrantDesk, hashed
from ovca.remaster.hands import Hands
from ovca.remaster.loop import RemasterLoop
from tests.operated import OLD, Operated

RUN = 'this run'


class Master:
    """mn1, which acts as master under epoch 3; mn2 is the other node, alive, healthy and ready.

    ``here`` and ``epoch`` make it the other way round, or later. Options of ``[remaster]`` are given by name. What the
    daemon would do around loop and clerk is done here at once: a hand-over that is given up ends in a re-claim.
    """

    def __init__(
        self,
        operated: Operated,
        *,
        here: str = 'mn1',
        epoch: int = 3,
        runs: str = OLD,
        version: str = '1.0.0',
        **remaster: Any,
    ) -> None:
        self.operated, self.database, self.here = operated, operated.database, here
        self.root = operated.folder / 'root'
        options = ''.join(f'{name} = {value}\n' for name, value in remaster.items())
        operated.configure(here, f'[provision]\nroot = {self.root}\n[remaster]\n{options}')
        self.conf = conf.load(str(operated.config_file))
        self.lease = Lease(self.database, here, RUN, ttl=3600)
        self.epoch: int | None = epoch
        self.machine = FakeMachine(power=PowerState.ON)
        self.stopped: list[str] = []
        """What happened to the roles: ``stopped``, ``gave away``, ``serves again``."""
        self.while_stopping: Any = lambda: None
        """Called when the roles were stopped for a hand-over."""
        self.alive = {'mn1', 'mn2'}
        self.failing: list[str] = []
        """What the checks before the first wipe find."""
        with self.database.write() as session:
            row = session.scalars(select(models.Lease)).one()
            row.holder, row.incarnation, row.epoch, row.acting, row.ttl = here, RUN, epoch, True, 3600.0
            row.fence_proof, row.renewed_at = 'the other node was seen to be off', self.database.now(session)
            for node in session.scalars(select(Node)):
                node.epoch_seen, node.incarnation, node.role = epoch, f'{node.name} runs', 'standby'
            own = session.get_one(Node, here)
            own.role, own.running_digest, own.running_version = 'master', runs, version
        hands = Hands(
            epoch=lambda: self.epoch,
            power=lambda node: FakePower(
                Bmc(node, 'fake://bmc', '', ''), machine=self.machine, clock=self._clock, sleep=lambda _: None
            ),
            checks=lambda version: list(self.failing),
            stage_checks=lambda version, stage: [],
            stop_serving=self._stop_serving,
            gave_away=self._gave_away,
            give_up=self._give_up,
            poke=lambda: None,
            save_site=lambda node: None,
        )
        self._seconds = 0.0
        self.passed = 0.0
        self.loop = RemasterLoop(self.conf, self.lease, hands, running_digest=runs, clock=lambda: self.passed)
        self.clerk = Requests(
            self.conf,
            self.lease,
            epoch=lambda: self.epoch,
            changed=lambda: None,
            running=(version, runs),
            fail_over=self.loop.hand_over.on_request,
        )
        self.later(0)

    def _clock(self) -> float:
        self._seconds += 1
        return self._seconds

    def _stop_serving(self) -> None:
        self.stopped.append('stopped')
        self.while_stopping()

    def stuck_role(self) -> None:
        """A role that does not stop."""
        raise RoleError('virtual-ip still runs', id='role-still-runs')

    def _gave_away(self, epoch: int, reboot: bool) -> None:
        self.stopped.append('gave away, reboots' if reboot else 'gave away')
        self.epoch = None

    def _give_up(self) -> None:
        self.stopped.append('serves again')
        view = self.lease.read()
        if view.demoted:
            self.epoch = self.lease.reclaim()
            self.lease.set_acting(self.epoch, 'it gave up')

    def later(self, seconds: float) -> None:
        """Time passes; the nodes that are alive are heard of all the while."""
        back = dt.timedelta(seconds=seconds)
        self.passed += seconds
        with self.database.write() as session:
            for model in (Directive, Entry, InstallGrant, Node, Update):
                for row in session.scalars(select(model)):
                    for name, value in list(vars(row).items()):
                        if isinstance(value, dt.datetime):
                            setattr(row, name, value - back)
            now = self.database.now(session)
            for name in self.alive:
                node = session.get_one(Node, name)
                node.last_seen_at, node.epoch_seen = now, self.epoch or 0
                node.healthy_since = node.healthy_since or now

    def run(self, most: int = 20) -> None:
        """Let the loop decide until there is nothing to do now."""
        for _ in range(most):
            if not self.loop.step():
                return
        raise AssertionError(f'the loop does not come to rest: {self.story()}')

    def desk(self) -> GrantDesk:
        """What answers machines that boot from the network, and installers, in this master's name."""
        return GrantDesk(
            self.conf,
            self.lease,
            epoch=lambda: self.epoch,
            boot_url=lambda: 'http://192.0.2.10',
            tls=lambda: ('https://192.0.2.10', 'f'),
            changed=lambda: None,
        )

    def ask(self, kind: str, **args: Any) -> Request:
        """Ask as the commands do, and have it carried out; the request as it stands then."""
        number = self.operated.service().submit(kind, **args)
        self.clerk.step()
        self.clerk.join(20)
        with self.database.read() as session:
            return session.get_one(Request, number)

    def change(self, model: Any, key: Any, **facts: Any) -> None:
        """Write something into a row."""
        with self.database.write() as session:
            row = session.get_one(model, key)
            for name, value in facts.items():
                setattr(row, name, value)

    def now(self) -> dt.datetime:
        with self.database.read() as session:
            return self.database.now(session)

    def update(self) -> Update:
        """The newest update."""
        with self.database.read() as session:
            return session.scalars(select(Update).order_by(Update.id.desc()).limit(1)).one()

    def entry(self, node: str = 'mn2') -> Entry:
        with self.database.read() as session:
            return session.get_one(Entry, (self.update().id, node))

    def node(self, name: str = 'mn2') -> Node:
        with self.database.read() as session:
            return session.get_one(Node, name)

    def grants(self) -> list[InstallGrant]:
        """The grants of all updates, the oldest first."""
        with self.database.read() as session:
            return list(session.scalars(select(InstallGrant).order_by(InstallGrant.id)))

    def consumed(self, nonce: str = 'the installer') -> None:
        """The installer on mn2 has consumed the newest grant: it is being wiped."""
        grant = self.grants()[-1]
        self.change(InstallGrant, grant.id, consumed_at=self.now(), nonce_hash=hashed(nonce))
        self.change(Entry, (grant.update_id, grant.node), step='installing', percent=0.0, step_at=self.now())

    def story(self, kind: str | None = None) -> list[str]:
        """What the journal tells."""
        return [event.detail for event in self.operated.service().journal(kind=kind, limit=1000)]

    def whole(self, version: str, digest: str, content: str = 'software') -> Path:
        """This node's disk holds what the published image says; returns the one file of it."""
        import hashlib

        data = content.encode()
        listed = {'path': 'mgmt_image/usr/bin/tool', 'size': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
        folder = self.operated.folder / 'shared/mgmt_image' / version
        folder.mkdir(parents=True)
        (folder / 'files.json').write_text(json.dumps({'format': 1, 'files': [{**listed, 'mode': 0o755}]}))
        file = self.root / 'usr/bin/tool'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755)
        self.installed(version, digest)
        return file

    def installed(self, version: str, digest: str) -> None:
        """The record of what was installed on this node's disk."""
        record = self.root / 'etc/ovca/installed.json'
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({'version': version, 'digest': digest}))


def installing(operated: Operated, **remaster: Any) -> Master:
    """An update that installs mn2, which has its order."""
    master = Master(operated, **{'install_deadline': 600, 'order_interval': 5, **remaster})
    operated.update('INSTALL_1')
    operated.entry(1)
    master.run()
    return master
