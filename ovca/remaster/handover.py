"""The lease goes from the acting master to the other node: as a step of an update, or because somebody asked for it.

Roles and virtual IP stop first, and that is verified; then one transaction gives the lease away together with what
depends on it. Whatever fails before that, this node serves again.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from ovca.cluster.lease import Lease, LeaseView
from ovca.db import events
from ovca.db.models import Node
from ovca.exceptions import OvcaError, Refused
from ovca.remaster import operations
from ovca.remaster.changes import Changes, Stale
from ovca.remaster.hands import Hands
from ovca.remaster.observe import Limits, Observation, fresh, health_of
from ovca.remaster.protocol import Health, Rule, State

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)


class HandOver:
    """The giver's part."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        hands: Hands,
        changes: Changes,
        limits: Limits,
        *,
        running_digest: str | None,
    ) -> None:
        self._conf, self._lease, self._hands, self._changes, self._limits = conf, lease, hands, changes, limits
        self._database, self._node, self._running_digest = lease.database, lease.node, running_digest

    def for_update(self, epoch: int, seen: Observation, rule: Rule, to: str) -> None:
        """Take the step of an update that a rule names; what the giver does after it is the caller's.

        :raises Stale: the other node is not what was seen. :raises OvcaError: it was given up; this node serves again.
        """
        self._pass_on(epoch, to, lambda session: self._give(session, epoch, seen, rule, to))

    def on_request(self, epoch: int, who: str, done: Callable[[Session], None], reason: str | None) -> str:
        """Give the lease to the other node, outside an update; ``done`` is called in the transaction that does it.

        Returns the new master's name. :raises Refused: the other node cannot take over, or did not.
        """
        to = self._conf.cluster.peer
        with self._database.read() as session:
            self._may_take_over(session, epoch, to)

        def give(session: Session) -> None:
            node = self._may_take_over(session, epoch, to)
            why = f'{self._node} to {to}: asked for' + (f' ({reason})' if reason else '')
            events.append(session, kind='hand-over', node=to, actor=who, epoch=epoch, detail=why)
            done(session)
            self._lease.hand_over(session, epoch, to, str(node.incarnation))

        try:
            self._pass_on(epoch, to, give)
        except OvcaError as exc:
            raise Refused(
                f'the hand-over to {to} is given up, {self._node} serves again: {exc}; see the log of ovca.service',
                id='hand-over-given-up',
            ) from exc
        self._hands.gave_away(epoch, False)
        return str(to)

    def _pass_on(self, epoch: int, to: str, give: Callable[[Session], None]) -> None:
        """Stop serving, note that, and give the lease away in one transaction; ``give`` says what else it changes.

        :raises OvcaError: it was given up; this node serves again.
        """
        try:
            self._hands.stop_serving()
            self._lease.demote(epoch)
            with self._lease.handing_over(epoch) as session:
                give(session)
        except Exception as exc:  # a role or a driver may fail in its own way; this node must not stay down for that
            # The outcome may be unknown (a lost reply): the row tells, and nobody serves until it is read.
            if not (isinstance(exc, OvcaError) and self._given(epoch, to)):
                self._hands.give_up()
                raise
        self._hands.poke()

    def _given(self, epoch: int, to: str) -> bool:
        try:
            view: LeaseView = self._lease.read()
        except OvcaError:
            return False
        return view.holder == to and view.epoch > epoch

    def _give(self, session: Session, epoch: int, seen: Observation, rule: Rule, to: str) -> None:
        update = self._changes.locked(session, seen)
        node = session.get(Node, to)
        now = self._database.now(session)
        if node is None or node.incarnation is None or not node.ready or not fresh(node, epoch, self._limits, now):
            raise Stale(f'{to} is not ready any more')
        forward = rule.decision.to is State.PROVING
        if forward and health_of(node, self._limits.soak, self._limits, now) is not Health.SOAKED:
            # It may have started anew while this node stopped its roles; then its soak begins anew, too.
            raise Stale(f'{to} was not healthy for the whole soak')
        update.handovers += 1
        if forward:
            self._changes.entry(session, update, self._node)
        if rule.decision.to is not None:
            self._changes.enter(session, update, rule.decision.to, epoch, rule, rule.when)
        else:
            update.deadline_from = now
            self._changes.tell(session, seen, epoch, 'hand-over', f'{self._node} to {to}: {rule.when}')
        self._lease.hand_over(session, epoch, to, node.incarnation)

    # Outside an update.

    def _may_take_over(self, session: Session, epoch: int, to: str | None) -> Node:
        operations.refuse(session, 'a failover')
        node = session.get(Node, to) if to else None
        if not to:
            raise Refused('there is no second management node to hand over to; set [cluster] peer', id='no-second-node')
        if node is None:
            raise Refused(
                f'{to} cannot take over: it was never seen; see to ovca.service there, and `ovca node-list`',
                id='peer-not-ready',
            )
        problem = self._unfit(node, epoch, self._database.now(session))
        if problem:
            raise Refused(f'{to} cannot take over: {problem}; see `ovca node-show {to}`', id='peer-not-ready')
        return node

    def _unfit(self, node: Node, epoch: int, now: dt.datetime) -> str | None:
        if node.quarantined:
            return f'it is in quarantine ({node.quarantine_reason})'
        if not fresh(node, epoch, self._limits, now):
            return 'it is not heard of'
        if node.running_digest != self._running_digest:
            return f'it runs {node.running_version}, another image than this node'
        if not node.ready or node.incarnation is None:
            why = '; '.join(f'{name}: {text}' for name, text in (node.health_detail or {}).items())
            return f'it is {node.health}' + (f' ({why})' if why else '')
        return None
