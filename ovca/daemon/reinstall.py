"""Installs one node with the software that the master runs: a quarantined one, or a new machine for one that died.

It is an update whose first node is proven already, so it begins where a retry after the commit point does. What it
rests on is proved here: the master's own system is compared with its image, file by file, before anything is asked of
the other node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from ovca.backup import safeguard
from ovca.cluster.lease import Lease
from ovca.cluster.nodes import silent_after
from ovca.db import events
from ovca.db.models import Entry, Image, Node, Update
from ovca.exceptions import Refused, UsageError
from ovca.remaster import acceptance, checks, conflicts, directives, evidence, inventory, operations
from ovca.remaster.checks import CheckResult
from ovca.remaster.checks.patience import Patience
from ovca.remaster.decisions import Decider, forget_machine, note, replace_target
from ovca.remaster.directives import Kind
from ovca.remaster.protocol import State

if TYPE_CHECKING:
    from oslo_config import cfg

ROUNDS = 4
"""So many rounds of health checks a replaced machine is given to be found by the master's."""


class Reinstalls:
    """The part of the acting master's clerk that installs a single node."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        *,
        digest: str | None,
        changed: Callable[[], None],
        patience: Patience,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.conf, self.lease, self.database = conf, lease, lease.database
        self._patience = patience
        self.digest, self._changed, self._sleep = digest, changed, sleep

    def reinstall(
        self,
        name: str,
        by: Decider,
        *,
        reason: str | None,
        accept: Collection[str] = (),
        replaced: bool = False,
    ) -> int:
        """Open the update that installs ``name``; return its number. Repeating it returns the one that is open.

        :raises Refused: the state of the appliance forbids it, a check warns that is not in ``accept``, or the master's
            own system is not whole.
        """
        with self.database.read() as session:
            going_on = self._going_on(session, name)
            if going_on is not None:
                return going_on
            image = inventory.running_image(session, self.lease.node, self.digest)
            session.expunge(image)
        self._prove(image)
        results = self._checked(image.version, rounds=ROUNDS if replaced else 1)
        accepted = acceptance.judged(results, accept)
        saved = safeguard.before_update(self.conf, self.database, image.version, by.who)
        with self.lease.fenced(by.epoch) as session:
            going_on = self._going_on(session, name)
            if going_on is not None:
                return going_on
            number = self._open(session, name, image, by, saved.told, reason, replaced=replaced)
            update = session.get_one(Update, number)
            acceptance.keep(session, update, accepted, by.who, node=self.lease.node, epoch=by.epoch)
        saved.belongs_to(number)
        self._changed()
        return number

    def _checked(self, version: str, *, rounds: int) -> list[CheckResult]:
        """What the checks say; the master's own health may still speak of the machine that was there before."""
        while True:
            rounds -= 1
            found = checks.run_all(self.conf, self.database, version, retry=True, patience=self._patience)
            if rounds <= 0 or not checks.failures(found):
                return found
            self._sleep(self.conf.health.interval + 1)

    def replace(
        self,
        name: str,
        facts: inventory.Facts,
        by: Decider,
        *,
        reason: str | None,
        accept: Collection[str] = (),
    ) -> int:
        """A new machine stands in for one that died: note its BMC and card, and install it.

        :raises Refused: the node is alive, leads, or the open update does not install it now.
        """
        with self.lease.fenced(by.epoch) as session:
            node = self._peer(session, name)
            operations.refuse_held(session, f'the replacement of {name}')
            inventory.check_replace(session, self.conf, name, facts)
            if changed := inventory.put(node, facts):
                events.append(
                    session,
                    kind=events.MACHINE,
                    node=name,
                    actor=by.who,
                    epoch=by.epoch,
                    detail=f'{name} is another machine: {", ".join(changed)}',
                )
            update = replace_target(session, by, name, silent_after=silent_after(self.conf))
            if update is None:
                forget_machine(node)
                node.quarantined, node.quarantine_reason = True, f'replaced by {by.who}; it is not installed yet'
                events.append(
                    session,
                    kind='node',
                    node=name,
                    actor=by.who,
                    epoch=by.epoch,
                    detail=f'{name} was replaced by another machine' + (f' ({reason})' if reason else ''),
                )
            number = update.id if update is not None else None
        if number is not None:
            self._changed()
            return number
        return self.reinstall(name, by, reason=reason, accept=accept, replaced=True)

    def _going_on(self, session: Session, name: str) -> int | None:
        self._peer(session, name)
        opened = conflicts.opened(session)
        if opened is not None:
            given = directives.given(session, opened.id, Kind.REINSTALL)
            if given is not None and given.subject == name:
                return opened.id
        operations.refuse(session, f'the installation of {name}')
        return None

    def _peer(self, session: Session, name: str) -> Node:
        node = session.get(Node, name)
        if node is None or node.kind != 'management':
            raise UsageError(f'there is no management node {name!r}; see `ovca node-list`', id='no-node')
        if name == self.lease.node:
            raise Refused(
                f'{name} is master; a master never wipes itself: hand over first with `ovca failover`',
                id='node-is-master',
            )
        if not self.conf.cluster.peer:
            raise Refused('there is no second management node to install; set [cluster] peer', id='no-second-node')
        if name != self.conf.cluster.peer:
            raise Refused(f'{name} is not the other management node, which is {self.conf.cluster.peer}', id='not-peer')
        return node

    def _prove(self, image: Image) -> None:
        """Compare the master's own system with its image: the other node is wiped on the strength of it."""
        root, storage = Path(self.conf.provision.root), Path(self.conf.image.shared_storage)
        bad = evidence.differing(root, storage, image.version, image.files_digest)
        if bad:
            raise Refused(
                f'{self.lease.node} is not whole: {len(bad)} files differ from image {image.version}, the first is '
                f'{bad[0]}; while that is so, the other node is not wiped; put the files back',
                id='master-differs',
            )

    def _open(
        self,
        session: Session,
        name: str,
        image: Image,
        by: Decider,
        saved: str,
        reason: str | None,
        *,
        replaced: bool,
    ) -> int:
        now, own, other = self.database.now(session), session.get(Node, self.lease.node), session.get_one(Node, name)
        before = None if other.running_digest == image.digest else other.running_digest
        update = Update(
            state=State.REQUESTED.value,
            revision=1,
            version=image.version,
            digest=image.digest,
            old_version=other.running_version if before else None,
            old_digest=before,
            first=self.lease.node,
            second=name,
            created_at=now,
            created_by=by.who,
            state_since=now,
            deadline_from=now,
            proven_at=now,
            handovers=0,
        )
        session.add(update)
        session.flush()
        note(session, by, update)
        directives.give(session, update, Kind.REINSTALL, by.who, subject=name, detail=reason or '')
        session.add(
            Entry(
                update_id=update.id,
                node=self.lease.node,
                version=image.version,
                digest=image.digest,
                created_at=now,
                attempt=1,
                step='final',
                percent=100.0,
                step_at=now,
                power_orders=0,
                final_at=now,
                final_attempt=1,
                final_digest=image.digest,
                final_boot_id=own.boot_id if own else None,
            )
        )
        what = 'a new machine is installed' if replaced else 'it is installed anew'
        events.append(
            session,
            kind='state',
            update_id=update.id,
            node=self.lease.node,
            actor=by.who,
            epoch=by.epoch,
            to_state=State.REQUESTED.value,
            detail=f'{name}: {what}, with {image.version}, asked for by {by.who}; {self.lease.node} was compared with '
            f'the image and is whole' + (f' ({reason})' if reason else '') + f'; {saved}',
        )
        return update.id
