"""Observe, record, perform: the loop that carries the protocol out, on the acting master.

Every pass reads the world afresh; what woke it does not matter. What a decision changes is written in one transaction
that locks the lease and compares the update's revision, so a decision on old facts is dropped. At most one destructive
act a pass, its intent committed before it, and no transaction is open while it is done.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.cluster.lease import Lease, LeaseView
from ovca.db import events
from ovca.db.models import Entry, Image, InstallGrant, Node, Update
from ovca.exceptions import LeaseLost, OvcaError, PowerError, Refused
from ovca.power.base import BootDevice, PowerDriver, PowerState
from ovca.remaster import evidence, operations, reasons
from ovca.remaster.alarms import Alarms
from ovca.remaster.checks.patience import SLOWEST, NoAnswer, Patience
from ovca.remaster.observe import Limits, Observation, fresh, health_of, newest_update, observe
from ovca.remaster.protocol import (
    TARGET,
    WIPING,
    Act,
    Decision,
    Health,
    Quarantine,
    Rule,
    Situation,
    State,
    StateUnknown,
    Verdict,
    Which,
    rule_for,
)

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)


STAGE_CHECKS_COUNT = 30.0
"""Seconds for which what the checks before a stage, the first wipe too, have found counts."""
WAITS_FOR_PERSON = ('first-waits', 'proving-waits')
"""The rules at which all is done but an operator's word."""


class Stale(OvcaError):
    """The update changed since it was looked at; look again."""


@dataclass(frozen=True)
class Hands:
    """What the loop needs of the daemon around it."""

    epoch: Callable[[], int | None]
    """The epoch under which this node acts, or None."""
    power: Callable[[str], PowerDriver]
    """The power driver of a node."""
    checks: Callable[[str], list[str]]
    """Run the checks for a version; return the sentences of those that fail."""
    stage_checks: Callable[[str, State], list[str]]
    """Run those that are repeated before a state is entered; return the sentences of those that fail."""
    stop_serving: Callable[[], None]
    """Stop roles and virtual IP, and verify it; raises when something still runs."""
    gave_away: Callable[[int, bool], None]
    """The lease was handed over under this epoch; whether the node is to reboot."""
    give_up: Callable[[], None]
    """A hand-over was given up; serve again after a re-claim."""
    poke: Callable[[], None]
    """Wake the peer."""
    save_site: Callable[[str], None]
    """Let a node that is to be wiped save what an operator set by hand; one that is silent is not waited for."""


class RemasterLoop:
    """The acting master's part in an update; one thread calls :meth:`step`."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        hands: Hands,
        *,
        running_digest: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.conf, self.lease, self.hands, self._clock = conf, lease, hands, clock
        self.database, self.node, self.running_digest = lease.database, lease.node, running_digest
        self.limits = Limits.from_conf(conf)
        self._failures: dict[int, list[str]] = {}
        self._staged: dict[tuple[int, State], tuple[Verdict, float]] = {}
        self._rehashed: dict[int, Verdict] = {}
        self._patience = Patience()
        self._alarms = Alarms(lease)

    def step(self) -> bool:
        """Make one decision and carry it out; return whether anything was changed."""
        epoch = self.hands.epoch()
        if epoch is None:
            return False
        try:
            seen = self._observe(epoch)
        except StateUnknown as exc:
            return self._tell_unknown(epoch, exc)
        if seen is None:
            return False
        if self._checks_due(seen.situation):
            self._run_checks(seen.update)
            return True
        rule = rule_for(seen.situation)
        try:
            if seen.slow:
                self._tell_slow(epoch, seen)
            return self._perform(epoch, seen, rule)
        except Stale:
            return True
        except LeaseLost as exc:
            LOG.info('update %s: %s', seen.update.id, exc)
            return False

    def _observe(self, epoch: int) -> Observation | None:
        with self.database.read() as session:
            seen = observe(session, me=self.node, epoch=epoch, running_digest=self.running_digest, limits=self.limits)
        if seen is None:
            return None
        return seen.judged(
            checks=self._stage(seen.update.id, State.REQUESTED),
            stage_checks=self._stage(seen.update.id, seen.situation.state),
            rehashed=self._rehashed.get(seen.update.id, Verdict.PENDING),
        )

    @staticmethod
    def _checks_due(s: Situation) -> bool:
        # What was found before somebody let it wait says nothing about the moment at which it is continued.
        return s.state is State.REQUESTED and s.checks is Verdict.PENDING and not (s.paused or s.abort)

    def _run_checks(self, update: Update) -> None:
        failures = self.hands.checks(update.version)
        self._failures[update.id] = failures
        verdict = Verdict.FAILED if failures else Verdict.PASSED
        self._staged[update.id, State.REQUESTED] = (verdict, self._clock())

    def _stage(self, update: int, state: State) -> Verdict:
        """The verdict of the checks before the next stage, while it is fresh."""
        found = self._staged.get((update, state))
        if found is None or self._clock() - found[1] > STAGE_CHECKS_COUNT:
            return Verdict.PENDING
        return found[0]

    def _check(self, seen: Observation) -> None:
        state = seen.situation.state
        following = State.PROVING if state is State.VERIFY_1 else State.INSTALL_2
        failures = self.hands.stage_checks(seen.update.version, following)
        if failures:
            LOG.error('ALARM: update %s does not enter %s: %s', seen.update.id, following, '; '.join(failures))
        self._failures[seen.update.id] = failures
        self._staged[seen.update.id, state] = (Verdict.FAILED if failures else Verdict.PASSED, self._clock())

    def _perform(self, epoch: int, seen: Observation, rule: Rule) -> bool:
        decision = rule.decision
        match decision.act:
            case Act.WAIT:
                return self._alarm(epoch, seen, rule)
            case Act.MOVE:
                self._move(epoch, seen, rule)
            case Act.ISSUE:
                self._issue(epoch, seen)
            case Act.DRIVE:
                return self._drive(epoch, seen)
            case Act.ATTEMPT:
                self._attempt(epoch, seen, rule)
            case Act.HAND_OVER:
                self._hand_over(epoch, seen, rule)
            case Act.CHECK:
                self._check(seen)
            case Act.REHASH:
                return self._rehash(epoch, seen)
        return True

    # What changes rows.

    def _locked(self, session: Session, seen: Observation) -> Update:
        update = session.get(Update, seen.update.id, with_for_update=True)
        if update is None or update.revision != seen.update.revision or update.state != seen.update.state:
            raise Stale(f'update {seen.update.id} has changed')
        update.revision += 1
        return update

    def _move(self, epoch: int, seen: Observation, rule: Rule) -> None:
        decision = rule.decision
        if decision.to is None:
            raise RuntimeError(f'rule {rule.id} moves nowhere')
        with self.lease.fenced(epoch) as session:
            update = self._locked(session, seen)
            if decision.commit_point:
                self._guard_commit(session, update)
            reason = self._reason(session, seen, update, rule)
            self._enter(session, update, decision.to, epoch, rule, reason)
            self._quarantine(session, update, decision, reason)
        LOG.info('update %s: %s -> %s (%s)', seen.update.id, seen.update.state, decision.to, rule.when)
        self.hands.poke()

    def _reason(self, session: Session, seen: Observation, update: Update, rule: Rule) -> str:
        failures = self._failures.get(update.id)
        if rule.id in ('requested-checks-failed', 'first-blocked-late', 'proving-blocked-late') and failures:
            return '; '.join(failures)
        return reasons.reason(session, update, rule, leader=self.node, target=seen.target)

    def _guard_commit(self, session: Session, update: Update) -> None:
        # After this transaction the old node may be wiped, so it proves again what it rests on.
        record = evidence.installed(Path(self.conf.provision.root))
        if self.node != update.first or record is None or record.digest != update.digest:
            raise Stale(f'{self.node} is not the proven node; the commit point is not passed')
        update.proven_at = self.database.now(session)

    def _enter(self, session: Session, update: Update, to: State, epoch: int, rule: Rule, reason: str) -> None:
        now = self.database.now(session)
        came_from = update.state
        update.state, update.state_since, update.deadline_from = to.value, now, now
        target = TARGET.get(to)
        if to in WIPING and target is not None:
            self._entry(session, update, update.first if target is Which.FIRST else update.second)
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
            node=self.node,
            epoch=epoch,
            from_state=came_from,
            to_state=to.value,
            detail=reason,
        )

    def _entry(self, session: Session, update: Update, node: str) -> Entry:
        entry = session.get(Entry, (update.id, node))
        if entry is None:
            now = self.database.now(session)
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

    def _quarantine(self, session: Session, update: Update, decision: Decision, reason: str) -> None:
        if decision.quarantine is Quarantine.NONE:
            return
        name = update.first if decision.quarantine is Quarantine.FIRST else update.second
        node = session.get(Node, name)
        if node is not None:
            node.quarantined, node.quarantine_reason = True, f'update {update.id}: {reason}'

    def _issue(self, epoch: int, seen: Observation) -> None:
        target = self._target(seen)
        self.hands.save_site(target)
        with self.lease.fenced(epoch) as session:
            update = self._locked(session, seen)
            entry = self._entry(session, update, target)
            now = self.database.now(session)
            expires = now + timedelta(seconds=self.limits.grant_ttl)
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
            self._tell(session, seen, epoch, 'grant-issued', f'{target} may be wiped (attempt {entry.attempt})')

    def _attempt(self, epoch: int, seen: Observation, rule: Rule) -> None:
        target, to = self._target(seen), rule.decision.to
        if to is None:
            raise RuntimeError(f'rule {rule.id} begins an attempt nowhere')
        with self.lease.fenced(epoch) as session:
            update = self._locked(session, seen)
            entry = self._entry(session, update, target)
            now = self.database.now(session)
            entry.attempt += 1
            entry.final_at = entry.final_attempt = entry.final_digest = entry.final_boot_id = None
            entry.step, entry.percent, entry.step_detail, entry.step_at = 'waiting', None, None, now
            entry.power_ordered_at = None
            self._enter(session, update, to, epoch, rule, f'{rule.when}: attempt {entry.attempt} on {target}')

    def _tell(self, session: Session, seen: Observation, epoch: int, kind: str, detail: str) -> None:
        events.append(
            session,
            kind=kind,
            update_id=seen.update.id,
            node=seen.target,
            actor=self.node,
            epoch=epoch,
            detail=detail,
        )

    def _target(self, seen: Observation) -> str:
        if seen.target is None or seen.target == self.node:
            raise RuntimeError(f'{self.node} cannot install {seen.target}')
        return seen.target

    def _alarm(self, epoch: int, seen: Observation, rule: Rule) -> bool:
        for_person = rule.id in WAITS_FOR_PERSON
        kind, more = ('waits', ': `ovca update-continue`') if for_person else ('alarm', '')
        if 'blocked' in rule.id:
            more = f': {"; ".join(self._failures.get(seen.update.id, []))}'
        if not (rule.decision.alarm or for_person):
            return False
        return self._alarms.once(epoch, seen.update, seen.target, f'{seen.update.state}: {rule.when}{more}', kind=kind)

    def _tell_unknown(self, epoch: int, exc: StateUnknown) -> bool:
        with self.database.read() as session:
            update = newest_update(session)
        if update is not None and self._alarms.once(epoch, update, self.node, f'update {update.id}: {exc}'):
            LOG.error('ALARM: update %s: %s', update.id, exc)
        return False

    def _tell_slow(self, epoch: int, seen: Observation) -> None:
        """Raise the alarm of the soft limit, once for a state and attempt, also by the next master."""
        state, attempt = seen.situation.state, seen.entry.attempt if seen.entry else 1
        deadline = self.limits.deadline(state)
        detail = (
            f'{state} takes longer than {self.limits.alarm_percent / 100 * deadline:.0f} s'
            + (f' (attempt {attempt} on {seen.target})' if seen.target else '')
            + f'; {deadline:.0f} s are its deadline'
        )
        self._alarms.once(epoch, seen.update, seen.target, detail)

    # What acts on the world.

    def _drive(self, epoch: int, seen: Observation) -> bool:
        target = self._target(seen)
        last = seen.entry.power_ordered_at if seen.entry else None
        if last is not None and (seen.now - last).total_seconds() < self.limits.order_interval:
            return False
        with self.lease.fenced(epoch) as session:
            update = self._locked(session, seen)
            entry = self._entry(session, update, target)
            entry.power_orders += 1
            entry.power_ordered_at = self.database.now(session)
            entry.step, entry.step_at = 'power cycle', entry.power_ordered_at
            self._tell(session, seen, epoch, 'power', f'{target}: network boot once, power cycle')
        power = self.hands.power(target)
        try:
            power.set_boot_once(BootDevice.NETWORK)
            if power.state() is not PowerState.OFF:
                power.off_and_wait(self.conf.cluster.fence_timeout)
            power.on()
        except PowerError as exc:
            LOG.error('%s', exc)
            self._alarms.once(epoch, seen.update, target, exc.with_id, cause=exc.id)  # it begins with the node's name
        return True

    def _rehash(self, epoch: int, seen: Observation) -> bool:
        """Hold this node's system against the old image; return whether that is done, which hanging storage delays."""
        old = seen.update.old_version
        verdict = Verdict.FAILED
        if old is not None:
            with self.database.read() as session:
                image = session.get(Image, old)
                files_digest, size = (image.files_digest, image.size) if image else (None, 0)
            root, storage = Path(self.conf.provision.root), Path(self.conf.image.shared_storage)
            look = partial(evidence.differing, root, storage, old, files_digest)
            try:
                bad = self._patience.call('rehash', look, self.conf.check.timeout + size / SLOWEST)
                verdict = Verdict.FAILED if bad else Verdict.PASSED
            except NoAnswer as exc:
                told = f'it is not known whether {self.node} is whole, see to the shared storage: image {old}: {exc}'
                return self._alarms.once(epoch, seen.update, self.node, told)
            except OvcaError as exc:
                LOG.error('%s', exc)
        self._rehashed[seen.update.id] = verdict
        return True

    def _hand_over(self, epoch: int, seen: Observation, rule: Rule) -> None:
        receiver = seen.peer
        if receiver is None:
            return
        try:
            self._pass_on(epoch, receiver.name, lambda session: self._give(session, epoch, seen, rule, receiver.name))
        except OvcaError as exc:
            LOG.warning('the hand-over to %s is given up: %s', receiver.name, exc)
        else:
            self.hands.gave_away(epoch, True)

    def _pass_on(self, epoch: int, to: str, give: Callable[[Session], None]) -> None:
        """Stop serving, note that, and give the lease away in one transaction; ``give`` says what else it changes.

        :raises OvcaError: it was given up; this node serves again.
        """
        try:
            self.hands.stop_serving()
            self.lease.demote(epoch)
            with self.lease.handing_over(epoch) as session:
                give(session)
        except Exception as exc:  # a role or a driver may fail in its own way; this node must not stay down for that
            # The outcome may be unknown (a lost reply): the row tells, and nobody serves until it is read.
            if not (isinstance(exc, OvcaError) and self._given(epoch, to)):
                self.hands.give_up()
                raise
        self.hands.poke()

    def fail_over(self, epoch: int, who: str, done: Callable[[Session], None], reason: str | None) -> str:
        """Give the lease to the other node, outside an update; ``done`` is called in the transaction that does it.

        Returns the new master's name. :raises Refused: the other node cannot take over, or did not.
        """
        to = self.conf.cluster.peer
        with self.database.read() as session:
            self._may_take_over(session, epoch, to)

        def give(session: Session) -> None:
            node = self._may_take_over(session, epoch, to)
            why = f'{self.node} to {to}: asked for' + (f' ({reason})' if reason else '')
            events.append(session, kind='hand-over', node=to, actor=who, epoch=epoch, detail=why)
            done(session)
            self.lease.hand_over(session, epoch, to, str(node.incarnation))

        try:
            self._pass_on(epoch, to, give)
        except OvcaError as exc:
            raise Refused(
                f'the hand-over to {to} is given up, {self.node} serves again: {exc}; see the log of ovca.service',
                id='hand-over-given-up',
            ) from exc
        self.hands.gave_away(epoch, False)
        return str(to)

    def _may_take_over(self, session: Session, epoch: int, to: str | None) -> Node:
        operations.refuse(session, 'a failover')
        node = session.get(Node, to) if to else None
        if node is None:
            raise Refused('there is no second management node to hand over to; set [cluster] peer', id='no-second-node')
        problem = self._unfit(node, epoch, self.database.now(session))
        if problem:
            raise Refused(f'{to} cannot take over: {problem}; see `ovca node-show {to}`', id='peer-not-ready')
        return node

    def _unfit(self, node: Node, epoch: int, now: dt.datetime) -> str | None:
        if node.quarantined:
            return f'it is in quarantine ({node.quarantine_reason})'
        if not fresh(node, epoch, self.limits, now):
            return 'it is not heard of'
        if node.running_digest != self.running_digest:
            return f'it runs {node.running_version}, another image than this node'
        if not node.ready or node.incarnation is None:
            why = '; '.join(f'{name}: {text}' for name, text in (node.health_detail or {}).items())
            return f'it is {node.health}' + (f' ({why})' if why else '')
        return None

    def _give(self, session: Session, epoch: int, seen: Observation, rule: Rule, to: str) -> None:
        update = self._locked(session, seen)
        node = session.get(Node, to)
        now = self.database.now(session)
        if node is None or node.incarnation is None or not node.ready or not fresh(node, epoch, self.limits, now):
            raise Stale(f'{to} is not ready any more')
        forward = rule.decision.to is State.PROVING
        if forward and health_of(node, self.limits.soak, self.limits, now) is not Health.SOAKED:
            # It may have started anew while this node stopped its roles; then its soak begins anew, too.
            raise Stale(f'{to} was not healthy for the whole soak')
        update.handovers += 1
        if forward:
            self._entry(session, update, self.node)
        if rule.decision.to is not None:
            self._enter(session, update, rule.decision.to, epoch, rule, rule.when)
        else:
            update.deadline_from = now
            self._tell(session, seen, epoch, 'hand-over', f'{self.node} to {to}: {rule.when}')
        self.lease.hand_over(session, epoch, to, node.incarnation)

    def _given(self, epoch: int, to: str) -> bool:
        try:
            view: LeaseView = self.lease.read()
        except OvcaError:
            return False
        return view.holder == to and view.epoch > epoch
