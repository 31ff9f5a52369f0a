"""The acting master's care for the other node: a silent one that is off is powered on again."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, bindparam, select
from sqlalchemy.orm import Session

from ovca.cluster.glance import recent
from ovca.cluster.lease import Lease
from ovca.cluster.nodes import silent_after
from ovca.db import events
from ovca.db.engine import clock, rows
from ovca.db.models import Entry, InstallGrant, Node, Update
from ovca.exceptions import ConfigError, PowerError
from ovca.power.base import BootDevice, PowerDriver, PowerState

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
AGAIN = 120.0
"""Seconds, at most, after which a machine that was switched on and is off nevertheless is switched on again."""
# Made once: each pass of the acting master says them.
_NEWEST = select(Update).order_by(Update.id.desc()).limit(1)


@functools.cache
def _heard(now: ColumnElement[dt.datetime]) -> Select[dt.datetime, dt.datetime | None, dt.datetime | None, int]:
    """When a node was heard of, and powered on; together with the time."""
    return select(now, Node.last_seen_at, Node.power_ordered_at, Node.power_orders).where(
        Node.name == bindparam('peer')
    )


class PeerCare:
    """Powers the peer on from its disk; capped, with an alarm when the cap is reached.

    While an install of the peer is due, its power belongs to the install.
    """

    def __init__(self, conf: cfg.ConfigOpts, lease: Lease, *, power: Callable[[str], PowerDriver]) -> None:
        self.conf, self.lease, self._power = conf, lease, power
        self._said: str | None = None
        """The error that was logged last: a node may be off, and its BMC with it, for months."""

    def tick(self, epoch: int) -> bool:
        """Look after the peer; return whether it was powered on."""
        with self.lease.database.read() as session:
            silent = self.silent(session)
        return silent and self.care(epoch)

    def care(self, epoch: int) -> bool:
        """Power a silent peer on, if it is off; return whether that was done."""
        peer = self.conf.cluster.peer
        if not peer:
            return False
        try:
            with self._power(peer) as power:
                state = power.state()
                self._said = None
                if state is not PowerState.OFF:
                    return False
                if not self._intend(epoch, peer):
                    return False
                power.set_boot_once(BootDevice.DISK)
                power.on()
        except (PowerError, ConfigError) as exc:
            if str(exc) != self._said:
                LOG.error('%s', exc)
            self._said = str(exc)
            return False
        LOG.info('%s was off and is powered on again', peer)
        return True

    def silent(self, session: Session) -> bool:
        """Whether there is a peer that is not heard of, and whose power is this class's to care for now."""
        peer = self.conf.cluster.peer
        if not peer:
            return False
        found = rows(session, _heard(clock(session)), {'peer': peer}).one_or_none()
        if found is not None:
            now, seen, ordered, orders = found
            if recent(seen, now, silent_after(self.conf)):
                return False
            if recent(ordered, now, min(AGAIN, self.conf.remaster.order_interval)):
                return False
            if orders >= self.conf.cluster.power_on_attempts:
                return False
        update = session.scalars(_NEWEST).one_or_none()
        if update is None or update.finished_at is not None:
            return True
        target = {'INSTALL_1': update.first, 'INSTALL_2': update.second}.get(update.state)
        if target != peer:
            return True
        entry = session.get(Entry, (update.id, peer))
        consumed = session.scalars(
            select(InstallGrant.id).where(
                InstallGrant.update_id == update.id,
                InstallGrant.node == peer,
                InstallGrant.attempt == (entry.attempt if entry else 1),
                InstallGrant.consumed_at.is_not(None),
            )
        ).first()
        return consumed is not None

    def _intend(self, epoch: int, peer: str) -> bool:
        with self.lease.fenced(epoch) as session:
            node = session.get(Node, peer)
            if node is None:
                # Fenced before it could say who it is: whoever leads next has to know of these orders too.
                node = Node(name=peer, kind='management', epoch_seen=0, power_orders=0)
                session.add(node)
            node.power_orders += 1
            node.power_ordered_at = self.lease.database.now(session)
            orders = node.power_orders
            last = orders >= self.conf.cluster.power_on_attempts
            events.append(
                session,
                kind='alarm' if last else 'power',
                node=peer,
                actor=self.lease.node,
                epoch=epoch,
                detail=f'{peer} is off and silent; it is powered on from its disk'
                + (f' for the last time ({orders})' if last else ''),
            )
            return True
