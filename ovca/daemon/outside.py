"""What the service does outside of its own rows and roles: switch machines, wake its peer, run checks."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from ovca.cluster.lease import Lease
from ovca.daemon.surroundings import Surroundings
from ovca.db.engine import rows
from ovca.db.models import Node
from ovca.exceptions import ConfigError, DatabaseError, PowerError
from ovca.power.base import PowerDriver
from ovca.remaster import acceptance, checks, claims
from ovca.remaster.checks.patience import Patience
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import State

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
_ADDRESS = select(Node.address).where(Node.name == bindparam('name'))


class Outside:
    """The reach of one node's service, through what it finds ``around`` it."""

    def __init__(self, conf: cfg.ConfigOpts, lease: Lease, around: Surroundings, patience: Patience) -> None:
        self._conf, self._lease, self._around, self._patience = conf, lease, around, patience
        self._database, self._name = lease.database, lease.node

    def power(self, node: str) -> PowerDriver:
        """The power driver of a node. :raises ConfigError: it has no BMC."""
        return self._around.power(self._conf, self._database, node)

    def fence(self) -> str:
        """Power the peer off, and return what proves that it is off.

        :raises PowerError: nothing proves it. :raises ConfigError: the peer has no BMC.
        """
        peer = self._conf.cluster.peer
        LOG.warning('powers %s off before it takes over', peer)
        try:
            with self.power(peer) as power:
                power.off_and_wait(self._conf.cluster.fence_timeout)
        except (PowerError, ConfigError):  # a BMC that nobody can speak to proves nothing, whatever the reason
            word = claims.take(self._database, self._name, peer)
            if word is None:
                raise
            LOG.warning('%s', word)
            return word
        return f'{peer} was seen to be off at {time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}'

    def save_site(self, node: str) -> None:
        """Have another node save its site settings, now that it may be wiped; a dead one is not waited for."""
        self._around.save_site(self._conf, self._database, node)

    def poke(self) -> None:
        """Wake the peer, without waiting for it."""
        self._around.spawn('poke', self._wake_peer)

    def _wake_peer(self) -> None:
        """A hint only; the peer looks by itself soon, and is found without it where the configuration names no URL."""
        url, peer = self._conf.cluster.peer_url, self._conf.cluster.peer
        try:
            if not url and peer:
                with self._database.read() as session:
                    url = rows(session, _ADDRESS, {'name': peer}).scalar()
            if url:
                self._around.wake(url)
        except DatabaseError as exc:
            LOG.debug('the peer was not woken: %s', exc)

    def check(self, version: str, epoch: int | None) -> list[str]:
        """Run the checks for a version; return the sentences of those that fail. What warns is told in the journal."""
        with self._database.read() as session:
            update = newest_update(session)
            # One node is installed alone, or again: what runs differs, and that is no hindrance.
            retry = update is not None and (update.retry_of is not None or update.proven_at is not None)
        # That a downgrade was asked for was checked when the update was opened; the manifest's word is asked for anew.
        results = self._around.run_checks(
            self._conf, self._database, version, retry=retry, allow_downgrade=True, patience=self._patience
        )
        self._tell_warnings(results, epoch)
        return checks.failures(results)

    def _tell_warnings(self, results: list[checks.CheckResult], epoch: int | None) -> None:
        """A warning that nobody has accepted does not end an update that is open; it is told."""
        if epoch is None or not checks.warnings(results):
            return
        with self._lease.fenced(epoch) as session:
            update = newest_update(session)
            if update is not None:
                acceptance.tell(session, update, results, node=self._name, epoch=epoch)

    def check_stage(self, version: str, stage: State) -> list[str]:
        """Run those checks that are repeated before a state is entered; return the sentences of those that fail."""
        found = self._around.stage_checks(self._conf, self._database, version, stage, patience=self._patience)
        return checks.failures(found)
