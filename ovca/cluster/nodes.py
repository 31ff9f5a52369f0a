"""A node's own row: who it is, what it runs, how it feels. Each node writes only its own.

Where its BMC and its network card are, the configuration says; for a node that it does not name, the row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import update

from ovca.db.engine import Database
from ovca.db.models import Node
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


class NodeRow:
    """This node's row in the database."""

    def __init__(self, conf: cfg.ConfigOpts, database: Database, *, incarnation: str, boot_id: str) -> None:
        self.conf, self.database = conf, database
        self.name: str = conf.cluster.node_name
        self.incarnation, self.boot_id = incarnation, boot_id
        self._runs: tuple[str | None, str | None] = (None, None)
        self._told: Pulse | None = None

    def register(self, version: str | None, digest: str | None) -> None:
        """Write who this node is and what it runs; its health starts anew.

        A BMC or card that an operator has set stays, unless the configuration names one.
        """
        self._runs = (version, digest)
        with self.database.write() as session:
            self._register(session)

    def _register(self, session: Session) -> Node:
        row = session.get(Node, self.name)
        if row is None:
            row = Node(name=self.name, kind='management', epoch_seen=0, power_orders=0)
            session.add(row)
        if bmc := (self.conf.power.bmc or {}).get(self.name):
            row.bmc = _without_user(bmc)
        if mac := (self.conf.provision.mac or {}).get(self.name):
            row.mac = mac_form(mac)
        row.address = f'http://{self.conf.cluster.address}:{self.conf.cluster.port}'
        row.boot_id, row.incarnation = self.boot_id, self.incarnation
        row.running_version, row.running_digest = self._runs
        row.health, row.health_detail, row.ready = 'unknown', None, False
        row.healthy_since = row.unhealthy_since = None
        row.epoch_seen, row.role = 0, 'standby'
        row.power_orders, row.power_ordered_at = 0, None
        row.last_seen_at = self.database.now(session)
        return row

    def beat(self, pulse: Pulse) -> None:
        """Write how this node is now. The time of health starts anew when epoch or role change.

        A node that was deleted while it could not be heard registers itself again.
        """
        with self.database.write() as session:
            now = self.database.now(session)
            if pulse == self._told and self._still(session, now):
                return
            self._told = None
            row = session.get(Node, self.name)
            if row is None:
                row = self._register(session)
            if row.incarnation != self.incarnation:
                return
            anew = row.epoch_seen != pulse.epoch or row.role != pulse.role
            if pulse.health == 'healthy':
                row.healthy_since = now if anew or row.healthy_since is None else row.healthy_since
                row.unhealthy_since = None
            elif pulse.health == 'unhealthy':
                row.unhealthy_since = now if anew or row.unhealthy_since is None else row.unhealthy_since
                row.healthy_since = None
            row.health, row.health_detail = pulse.health, dict(pulse.problems) or None
            row.epoch_seen, row.role, row.ready = pulse.epoch, pulse.role, pulse.ready
            row.last_seen_at = now
        self._told = pulse

    def _still(self, session: Session, now: dt.datetime) -> bool:
        """Note that all is as it was told before; return whether the row is there and this run's."""
        mine = update(Node).where(Node.name == self.name, Node.incarnation == self.incarnation)
        done = session.connection().execute(mine.values(last_seen_at=now))
        return done.rowcount == 1


def _without_user(uri: str) -> str:
    """The URI as others may read it."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition('@')[2]))
