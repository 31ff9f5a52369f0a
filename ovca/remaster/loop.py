"""Observe, record, perform: the loop that carries the protocol out, on the acting master.

Every pass reads the world afresh; what woke it does not matter. What a decision changes is written in one transaction
that locks the lease and compares the update's revision, so a decision on old facts is dropped. At most one destructive
act a pass, its intent committed before it, and no transaction is open while it is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from ovca.cluster.lease import Lease
from ovca.db import events
from ovca.db.models import Image, Update
from ovca.exceptions import ConfigError, LeaseLost, OvcaError, PowerError
from ovca.power.base import BootDevice, PowerState
from ovca.remaster import evidence, reasons
from ovca.remaster.alarms import Alarms
from ovca.remaster.changes import Changes, NotProven, Stale
from ovca.remaster.checks.patience import SLOWEST, NoAnswer, Patience
from ovca.remaster.handover import HandOver
from ovca.remaster.hands import Hands
from ovca.remaster.observe import Limits, Observation, last_start, newest_update, observe
from ovca.remaster.protocol import Act, Rule, Situation, State, StateUnknown, Verdict, rule_for

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
STAGE_CHECKS_COUNT = 30.0
"""Seconds for which what the checks before a stage, the first wipe too, have found counts."""
GIVEN_UP_PAUSE = 30.0
"""Seconds until a hand-over that was given up is tried anew: each try takes all roles down."""
FAILED_ORDER_PAUSE = 120.0
"""Seconds, at most, until a power order that a BMC did not take is given again."""
WAITS_FOR_PERSON = ('first-waits', 'proving-waits')
"""The rules at which all is done but an operator's word."""


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
        self._damage: dict[int, str] = {}
        """What was found by that, for the reason of what follows."""
        self._patience = Patience()
        self._alarms = Alarms(lease)
        self._changes = Changes(lease, Path(conf.provision.root), grant_ttl=self.limits.grant_ttl)
        self.hand_over = HandOver(conf, lease, hands, self._changes, self.limits, running_digest=running_digest)
        self._order_failed = False
        """The BMC did not take the last power order."""
        self._given_up: tuple[float, OvcaError] | None = None
        """When a hand-over was given up last, and why."""

    def step(self) -> bool:
        """Look, make one decision and carry it out; return whether anything was changed."""
        epoch = self.hands.epoch()
        if epoch is None:
            return False
        with self.database.read() as session:
            seen = self.look(session, epoch)
        return self.act(epoch, seen)

    def look(self, session: Session, epoch: int) -> Observation | StateUnknown | None:
        """What the acting master knows of the update that needs a decision; None: none does."""
        try:
            return observe(session, me=self.node, epoch=epoch, running_digest=self.running_digest, limits=self.limits)
        except StateUnknown as exc:
            return exc

    def act(self, epoch: int, found: Observation | StateUnknown | None) -> bool:
        """Make one decision on what was found, and carry it out; return whether anything was changed."""
        if isinstance(found, StateUnknown):
            return self._tell_unknown(epoch, found)
        if found is None:
            return False
        seen = self._judged(found)
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
        except NotProven as exc:
            told = f'{seen.update.state}: the commit point is not passed: {exc.with_id}'
            new = self._alarms.once(epoch, seen.update, self.node, told, cause=exc.id)
            if new:
                LOG.error('ALARM: update %s: %s', seen.update.id, exc.with_id)
            return new
        except LeaseLost as exc:
            LOG.info('update %s: %s', seen.update.id, exc)
            return False

    def _judged(self, seen: Observation) -> Observation:
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
                target = self._target(seen)
                self.hands.save_site(target)
                self._changes.issue(epoch, seen, target)
            case Act.DRIVE:
                return self._drive(epoch, seen)
            case Act.ATTEMPT:
                self._changes.attempt(epoch, seen, rule, self._target(seen))
            case Act.HAND_OVER:
                return self._hand_over(epoch, seen, rule)
            case Act.CHECK:
                self._check(seen)
            case Act.REHASH:
                return self._rehash(epoch, seen)
        return True

    def _target(self, seen: Observation) -> str:
        if seen.target is None or seen.target == self.node:
            raise RuntimeError(f'{self.node} cannot install {seen.target}')
        return seen.target

    def _move(self, epoch: int, seen: Observation, rule: Rule) -> None:
        self._changes.move(epoch, seen, rule, partial(self._reason, seen, rule))
        LOG.info('update %s: %s -> %s (%s)', seen.update.id, seen.update.state, rule.decision.to, rule.when)
        self.hands.poke()

    def _reason(self, seen: Observation, rule: Rule, session: Session, update: Update) -> str:
        failures = self._failures.get(update.id)
        if rule.id in ('requested-checks-failed', 'first-blocked-late', 'proving-blocked-late') and failures:
            return '; '.join(failures)
        if rule.id == 'first-leads-old-damaged':
            return f'the target leads on the old software{self._damage.get(update.id, "")}'
        return reasons.reason(session, update, rule, leader=self.node, target=seen.target)

    # What is told.

    def _alarm(self, epoch: int, seen: Observation, rule: Rule) -> bool:
        for_person = rule.id in WAITS_FOR_PERSON
        kind: events.Kind = 'waits' if for_person else 'alarm'
        more = ': `ovca update-continue`' if for_person else ''
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
        detail = (
            f'{state} takes longer than {self.limits.soft_limit(state):.0f} s'
            + (f' (attempt {attempt} on {seen.target})' if seen.target else '')
            + f'; {self.limits.deadline(state):.0f} s are its deadline'
        )
        self._alarms.once(epoch, seen.update, seen.target, detail)

    # What acts on the world.

    def _drive(self, epoch: int, seen: Observation) -> bool:
        target = self._target(seen)
        last, interval = last_start(seen.entry), self.limits.order_interval
        if self._order_failed:
            interval = min(interval, FAILED_ORDER_PAUSE)
        if last is not None and (seen.now - last).total_seconds() < interval:
            return False
        self._changes.order(epoch, seen, target)
        try:
            with self.hands.power(target) as power:
                power.set_boot_once(BootDevice.NETWORK)
                if power.state() is not PowerState.OFF:
                    power.off_and_wait(self.conf.cluster.fence_timeout)
                power.on()
            self._order_failed = False
        except (PowerError, ConfigError) as exc:  # of the former the node's name is the beginning
            self._order_failed = True
            LOG.error('%s', exc)
            self._alarms.once(epoch, seen.update, target, exc.with_id, cause=exc.id)
        return True

    def _rehash(self, epoch: int, seen: Observation) -> bool:
        """Hold this node's system against the old image; return whether that is done, which the storage may delay.

        A storage that gives no image until the deadline leaves it open whether the system is whole.
        """
        old = seen.update.old_version
        verdict, damage = Verdict.FAILED, f'; it is not known whether {self.node} is whole: nothing tells what it ran'
        if old is not None:
            with self.database.read() as session:
                image = session.get(Image, old)
                files_digest, size = (image.files_digest, image.size) if image else (None, 0)
            root, storage = Path(self.conf.provision.root), Path(self.conf.image.shared_storage)
            look = partial(evidence.differing, root, storage, old, files_digest)
            try:
                bad = self._patience.call('rehash', look, self.conf.check.timeout + size / SLOWEST)
                verdict = Verdict.FAILED if bad else Verdict.PASSED
                files = '1 file differs' if len(bad) == 1 else f'{len(bad)} files differ'
                damage = f', and its system is damaged ({files} from image {old}, the first is {bad[0]})' if bad else ''
            except NoAnswer as exc:
                told = f'it is not known whether {self.node} is whole, see to the shared storage: image {old}: {exc}'
                return self._alarms.once(epoch, seen.update, self.node, told)
            except OvcaError as exc:
                damage = f'; it is not known whether {self.node} is whole: {exc}'
                if not seen.situation.overdue:
                    told = f'it is not known whether {self.node} is whole, see to the shared storage: {exc.with_id}'
                    return self._alarms.once(epoch, seen.update, self.node, told, cause=exc.id)
        self._rehashed[seen.update.id], self._damage[seen.update.id] = verdict, damage
        return True

    def _hand_over(self, epoch: int, seen: Observation, rule: Rule) -> bool:
        receiver = seen.peer
        if receiver is None:
            return False
        given_up = self._given_up
        if given_up is not None and self._clock() - given_up[0] < GIVEN_UP_PAUSE:
            told = (
                f'{seen.update.state}: the hand-over to {receiver.name} was given up, {self.node} serves again; '
                f'it is tried anew after {GIVEN_UP_PAUSE:g} s: {given_up[1].with_id}'
            )
            return self._alarms.once(epoch, seen.update, receiver.name, told, cause=given_up[1].id)
        try:
            self.hand_over.for_update(epoch, seen, rule, receiver.name)
        except OvcaError as exc:
            LOG.warning('the hand-over to %s is given up: %s', receiver.name, exc)
            self._given_up = None if isinstance(exc, Stale) else (self._clock(), exc)
        else:
            self.hands.gave_away(epoch, True)
        return True
