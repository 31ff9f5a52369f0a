"""What decisions change in rows: each in one transaction that holds the lease and compares the update's revision.

So a decision on old facts is dropped, whoever else has decided meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.cluster.lease import Lease
from ovca.db import events
from ovca.db.models import Entry, InstallGrant, Node, Update
from ovca.exceptions import OvcaError
from ovca.remaster import evidence
from ovca.remaster.observe import Observation
from ovca.remaster.protocol import TARGET, WIPING, Decision, Quarantine, Rule, State, Which

Reason = Callable[[Session, Update], str]
"""Tells why an update enters a state, from the rows as they are then."""


class Stale(OvcaError):
    """The update changed since it was looked at; look again."""


class NotProven(OvcaError):
    """This node cannot prove what the update is to rest on from now on."""


class Changes:
    """The rows of one acting master's decisions; ``root`` is its own root file system."""

    def __init__(self, lease: Lease, root: Path, *, grant_ttl: float) -> None:
        """``grant_ttl`` is for how many seconds a grant is valid."""
        self._lease, self._root, self._grant_ttl = lease, root, grant_ttl
        self._database, self._node = lease.database, lease.node

    def locked(self, session: Session, seen: Observation) -> Update:
        """The update, locked, with its next revision. :raises Stale: it is not what was seen."""
        update = session.get(Update, seen.update.id, with_for_update=True)
        if update is None or update.revision != seen.update.revision or update.state != seen.update.state:
            raise Stale(f'update {seen.update.id} has changed')
        update.revision += 1
        return update

    def move(self, epoch: int, seen: Observation, rule: Rule, reason: Reason) -> None:
        """Enter the state that a rule names. :raises NotProven: it is behind the commit point."""
        decision = rule.decision
        if decision.to is None:
            raise RuntimeError(f'rule {rule.id} moves nowhere')
        with self._deciding(epoch, seen) as (session, update):
            if decision.commit_point:
                self._guard_commit(session, update)
            why = reason(session, update)
            self.enter(session, update, decision.to, epoch, rule, why)
            self._quarantine(session, update, decision, why)

    @contextmanager
    def _deciding(self, epoch: int, seen: Observation) -> Iterator[tuple[Session, Update]]:
        with self._lease.fenced(epoch) as session:
            yield session, self.locked(session, seen)

    def _guard_commit(self, session: Session, update: Update) -> None:
        # After this transaction the old node may be wiped, so it proves again what it rests on.
        if self._node != update.first:
            raise NotProven(f'{self._node} is not {update.first}, the node that was installed first')
        try:
            record = evidence.installed(self._root)
        except evidence.UnreadableRecord as exc:
            raise NotProven(str(exc)) from exc
        if record is None or record.digest != update.digest:
            raise NotProven(f'{self._node} has no record that image {update.version} was installed on it')
        update.proven_at = self._database.now(session)

    def enter(self, session: Session, update: Update, to: State, epoch: int, rule: Rule, reason: str) -> None:
        """Let the update be in a state from now on, with all that comes with it."""
        now = self._database.now(session)
        came_from = update.state
        update.state, update.state_since, update.deadline_from = to.value, now, now
        target = TARGET.get(to)
        if to in WIPING and target is not None:
            self.entry(session, update, update.first if target is Which.FIRST else update.second)
        if to.ended:
            update.finished_at, update.reason = now, reason
            for grant in session.scalars(
                select(InstallGrant).where(
                    InstallGrant.update_id == update.id,
                    InstallGrant.consumed_at.is_(None),
                    InstallGrant.revoked_at.is_(None),
                )
            ):
                grant.revoked_at = now
        events.append(
            session,
            kind='alarm' if rule.decision.alarm else 'state',
            update_id=update.id,
            node=self._node,
            epoch=epoch,
            from_state=came_from,
            to_state=to.value,
            detail=reason,
        )

    def entry(self, session: Session, update: Update, node: str) -> Entry:
        """A node's row of the update, made when it is not there yet."""
        entry = session.get(Entry, (update.id, node))
        if entry is None:
            now = self._database.now(session)
            entry = Entry(
                update_id=update.id,
                node=node,
                version=update.version,
                digest=update.digest,
                created_at=now,
                attempt=1,
                step='waiting',
                step_at=now,
                power_orders=0,
            )
            session.add(entry)
        return entry

    @staticmethod
    def _quarantine(session: Session, update: Update, decision: Decision, reason: str) -> None:
        if decision.quarantine is Quarantine.NONE:
            return
        name = update.first if decision.quarantine is Quarantine.FIRST else update.second
        node = session.get(Node, name)
        if node is not None:
            node.quarantined, node.quarantine_reason = True, f'update {update.id}: {reason}'

    def issue(self, epoch: int, seen: Observation, target: str) -> None:
        """Allow that a node is wiped, for a while."""
        with self._deciding(epoch, seen) as (session, update):
            entry = self.entry(session, update, target)
            now = self._database.now(session)
            expires = now + timedelta(seconds=self._grant_ttl)
            grant = session.scalars(
                select(InstallGrant).where(
                    InstallGrant.update_id == update.id,
                    InstallGrant.node == target,
                    InstallGrant.attempt == entry.attempt,
                    InstallGrant.epoch == epoch,
                )
            ).one_or_none()
            if grant is None:
                session.add(
                    InstallGrant(
                        update_id=update.id,
                        node=target,
                        attempt=entry.attempt,
                        epoch=epoch,
                        digest=update.digest,
                        salt=secrets.token_hex(16),
                        issued_at=now,
                        expires_at=expires,
                    )
                )
            else:
                grant.issued_at, grant.expires_at, grant.boot_token_hash, grant.revoked_at = now, expires, None, None
            self.tell(session, seen, epoch, 'grant-issued', f'{target} may be wiped (attempt {entry.attempt})')

    def order(self, epoch: int, seen: Observation, target: str) -> None:
        """Note, before it is done, that a node is started from the network. :raises Stale: it starts already."""
        with self._deciding(epoch, seen) as (session, update):
            entry = self.entry(session, update, target)
            if seen.entry is not None and entry.step_at != seen.entry.step_at:
                raise Stale(f'{target} has got on since it was looked at')
            entry.power_orders += 1
            entry.power_ordered_at = self._database.now(session)
            entry.step, entry.step_at = 'power cycle', entry.power_ordered_at
            self.tell(session, seen, epoch, 'power', f'{target}: network boot once, power cycle')

    def attempt(self, epoch: int, seen: Observation, rule: Rule, target: str) -> None:
        """Begin the next attempt on a node."""
        to = rule.decision.to
        if to is None:
            raise RuntimeError(f'rule {rule.id} begins an attempt nowhere')
        with self._deciding(epoch, seen) as (session, update):
            entry = self.entry(session, update, target)
            now = self._database.now(session)
            entry.attempt += 1
            entry.final_at = entry.final_attempt = entry.final_digest = entry.final_boot_id = None
            entry.step, entry.percent, entry.step_detail, entry.step_at = 'waiting', None, None, now
            entry.power_ordered_at = None
            self.enter(session, update, to, epoch, rule, f'{rule.when}: attempt {entry.attempt} on {target}')

    def tell(self, session: Session, seen: Observation, epoch: int, kind: events.Kind, detail: str) -> None:
        """Write into the journal of the update, about its target."""
        events.append(
            session,
            kind=kind,
            update_id=seen.update.id,
            node=seen.target,
            actor=self._node,
            epoch=epoch,
            detail=detail,
        )
