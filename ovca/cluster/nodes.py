"""A node's own row: who it is, what it runs, how it feels. Each node writes only its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovca.db.engine import Database
from ovca.db.models import Node

if TYPE_CHECKING:
    from oslo_config import cfg


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

    def register(self, version: str | None, digest: str | None) -> None:
        """Write who this node is and what it runs; its health starts anew."""
        with self.database.write() as session:
            row = session.get(Node, self.name)
            if row is None:
                row = Node(name=self.name, kind='management', epoch_seen=0, power_orders=0)
                session.add(row)
            row.bmc = (self.conf.power.bmc or {}).get(self.name)
            row.mac = (self.conf.provision.mac or {}).get(self.name)
            row.address = f'http://{self.conf.cluster.address}:{self.conf.cluster.port}'
            row.boot_id, row.incarnation = self.boot_id, self.incarnation
            row.running_version, row.running_digest = version, digest
            row.health, row.health_detail, row.ready = 'unknown', None, False
            row.healthy_since = row.unhealthy_since = None
            row.epoch_seen, row.role = 0, 'standby'
            row.power_orders, row.power_ordered_at = 0, None
            row.last_seen_at = self.database.now(session)

    def beat(self, pulse: Pulse) -> None:
        """Write how this node is now. The time of health starts anew when epoch or role change."""
        with self.database.write() as session:
            row = session.get(Node, self.name)
            if row is None or row.incarnation != self.incarnation:
                return
            now = self.database.now(session)
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
