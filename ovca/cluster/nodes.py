"""A node's own row: who it is, what it runs, how it feels. Each node writes only its own.

Where its BMC and its network card are, the configuration says; for a node that it does not name, the row.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import ColumnElement, Select, Update, bindparam, select, update

from ovca.cluster import glance
from ovca.cluster.glance import Glance
from ovca.conf.addresses import in_url
from ovca.db import events
from ovca.db.engine import Database, change, clock
from ovca.db.models import Event, Node
from ovca.power import load
from ovca.power.base import PowerDriver

if TYPE_CHECKING:
    from oslo_config import cfg
    from sqlalchemy.orm import Session


def power_of(conf: cfg.ConfigOpts, database: Database, node: str) -> PowerDriver:
    """The driver for a node's BMC; the database is asked only for one that ``[power] bmc`` does not name.

    :raises ConfigError: the node has no BMC. :raises DatabaseError: its row cannot be read.
    """
    stored = None
    if not (conf.power.bmc or {}).get(node):
        with database.read() as session:
            row = session.get(Node, node)
            stored = row.bmc if row is not None else None
    return load(conf, node, stored)


def mac_of(conf: cfg.ConfigOpts, node: Node) -> str:
    """The address of the network card that a node boots from; empty when nobody has told it."""
    return mac_form((conf.provision.mac or {}).get(node.name) or node.mac or '')


def mac_form(text: str) -> str:
    """The address of a network card in the form that addresses are compared in."""
    return text.lower().replace('-', ':')


@dataclass(frozen=True)
class Pulse:
    """What one beat says."""

    epoch: int
    role: str
    health: str
    problems: Mapping[str, str]
    ready: bool
    breaks: int = 0
    """How often this run of the service has stopped serving, or become ill; each ends a time of health."""


def silent_after(conf: cfg.ConfigOpts) -> float:
    """Seconds after which a node that is not heard of counts as silent: never before its word is too old to act on."""
    return max(float(conf.cluster.silent_after), float(conf.remaster.ready_age))


class NodeRow:
    """This node's row in the database."""

    def __init__(self, conf: cfg.ConfigOpts, database: Database, *, incarnation: str, boot_id: str) -> None:
        self.conf, self.database = conf, database
        self.name: str = conf.cluster.node_name
        self.incarnation, self.boot_id = incarnation, boot_id
        self._runs: tuple[str | None, str | None] = (None, None)
        self.told: Pulse | None = None
        """What the row says, as far as this run of the service knows."""
        self._breaks = 0

    def register(self, version: str | None, digest: str | None) -> None:
        """Write who this node is and what it runs; its health starts anew.

        A BMC or card that an operator has set stays, unless the configuration names one. After ``ovca node-replace`` it
        stays in any case: the configuration that was put back on the new machine tells of the one before.
        """
        self._runs = (version, digest)
        with self.database.write() as session:
            self._register(session)

    def _register(self, session: Session) -> Node:
        row = session.get(Node, self.name)
        if row is None:
            row = Node(name=self.name, kind='management', epoch_seen=0, power_orders=0)
            session.add(row)
        replaced = _replaced(session, self.name)
        if (bmc := (self.conf.power.bmc or {}).get(self.name)) and not (replaced and row.bmc):
            row.bmc = _without_user(bmc)
        if (mac := (self.conf.provision.mac or {}).get(self.name)) and not (replaced and row.mac):
            row.mac = mac_form(mac)
        row.address = f'http://{in_url(self.conf.cluster.address)}:{self.conf.cluster.port}'
        row.boot_id, row.incarnation = self.boot_id, self.incarnation
        row.running_version, row.running_digest = self._runs
        row.health, row.health_detail, row.ready = 'unknown', None, False
        row.healthy_since = row.unhealthy_since = None
        row.epoch_seen, row.role = 0, 'standby'
        row.power_orders, row.power_ordered_at = 0, None
        row.last_seen_at = self.database.now(session)
        return row

    def beat(self, say: Callable[[Session], Pulse]) -> Glance | None:
        """Write how this node is now, and return what else is to be seen; while nothing changes, by one statement.

        ``say`` is asked in the transaction, so it may read there what it needs.
        The time of health starts anew when epoch or role change, and after a break that could not be written. A node
        that was deleted while it could not be heard registers itself again; None says that another run of this node's
        service has taken the row over.
        """
        with self.database.write() as session:
            pulse = say(session)
            if pulse == self.told and (seen := self._still(session, pulse)) is not None:
                return seen
            self.told = None
            found = session.execute(_own(clock(session)), {'its_name': self.name}).one_or_none()
            row, now = found if found is not None else (self._register(session), self.database.now(session))
            if row.incarnation != self.incarnation:
                return None
            broken = pulse.breaks != self._breaks
            anew = broken or row.epoch_seen != pulse.epoch or row.role != pulse.role
            if pulse.health == 'healthy':
                row.healthy_since = now if anew or row.healthy_since is None else row.healthy_since
                row.unhealthy_since = None
            elif pulse.health == 'unhealthy':
                row.unhealthy_since = now if anew or row.unhealthy_since is None else row.unhealthy_since
                row.healthy_since = None
            row.health, row.health_detail = pulse.health, dict(pulse.problems) or None
            row.epoch_seen, row.role, row.ready = pulse.epoch, pulse.role, pulse.ready
            row.last_seen_at = now
            session.flush()
            told = glance.look(session, self.conf.cluster.peer)
        self.told, self._breaks = pulse, pulse.breaks
        return told

    def _still(self, session: Session, pulse: Pulse) -> Glance | None:
        """Note that all is as it was told before, and look.

        None: the row is not there, is not this run's, or does not say that any more. Who takes over writes that this
        node is off; it may have stood still since it saw that, and this node is up again.
        """
        mine = {'its_name': self.name, 'its_incarnation': self.incarnation,
                'its_health': pulse.health, 'its_ready': pulse.ready}  # fmt: skip
        told = glance.columns(session, self.conf.cluster.peer)
        row = change(session, _alive(clock(session)), mine, *told)
        return glance.made(row) if row is not None else None


# Made once for each kind of database, as a sign of life comes with nearly each pass.
@functools.cache
def _own(now: ColumnElement[dt.datetime]) -> Select[Node, dt.datetime]:
    """A node's row together with the time."""
    return select(Node, now).where(Node.name == bindparam('its_name'))


@functools.cache
def _alive(now: ColumnElement[dt.datetime]) -> Update:
    """A sign of life in which nothing else is new."""
    mine = update(Node).where(
        Node.name == bindparam('its_name'),
        Node.incarnation == bindparam('its_incarnation'),
        Node.health == bindparam('its_health'),
        Node.ready == bindparam('its_ready'),
    )
    return mine.values(last_seen_at=now)


_REPLACED = select(Event.id).where(Event.kind == events.MACHINE, Event.node == bindparam('name')).limit(1)


def _replaced(session: Session, name: str) -> bool:
    """Whether an operator has said that another machine stands in the node's place."""
    return session.scalar(_REPLACED, {'name': name}) is not None


def _without_user(uri: str) -> str:
    """The URI as others may read it."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition('@')[2]))
