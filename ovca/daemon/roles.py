"""The roles that only this service can bring: the boot service and the status server on the virtual IP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovca.cluster.roles import Role
from ovca.conf.addresses import bare, in_url
from ovca.exceptions import OvcaError
from ovca.provision import base, tls
from ovca.provision.authority import Authority
from ovca.provision.boot import plain_app, tls_app
from ovca.provision.bounded import Bounds
from ovca.provision.server import HttpServer

if TYPE_CHECKING:
    from oslo_config import cfg
    from starlette.applications import Starlette

EVERYWHERE = ('0.0.0.0', '::')
"""Addresses on which a server listens on all that the machine has."""


class BootService(Role):
    """Boot scripts and files by HTTP, grants by HTTPS; both on the virtual IP, so only the acting master has them."""

    authority: Authority
    """Set by the daemon before the first start."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self._certificate = tls.self_signed(conf.cluster.virtual_ip)
        self._servers: list[HttpServer] = []

    @property
    def boot_url(self) -> str:
        """Where machines reach the boot service."""
        cluster = self.conf.cluster
        return self.conf.provision.boot_url or f'http://{in_url(cluster.virtual_ip)}:{cluster.boot_port}'

    @property
    def tls_facts(self) -> tuple[str, str]:
        """Where installers ask for grants, and the fingerprint that they pin."""
        cluster = self.conf.cluster
        url = self.conf.provision.tls_url or f'https://{in_url(cluster.virtual_ip)}:{cluster.boot_tls_port}'
        return url, self._certificate.fingerprint

    def start(self) -> None:
        if self._servers and all(server.running for server in self._servers):
            return
        self.stop()  # what is left when one of them has died
        cluster, address = self.conf.cluster, bare(self.conf.cluster.virtual_ip)
        driver = base.load(self.conf)
        plain = plain_app(self.authority, driver, self.conf.image.shared_storage)
        secured, bounds = tls_app(self.authority), Bounds.from_conf(self.conf)
        servers = [
            HttpServer(plain, address, cluster.boot_port, bounds=bounds),
            HttpServer(secured, address, cluster.boot_tls_port, certificate=self._certificate, bounds=bounds),
        ]
        try:
            for server in servers:
                server.start()
        except OvcaError:
            for server in servers:
                server.stop()
            raise
        self._servers = servers

    def stop(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.stop()

    def running(self) -> bool:
        return any(server.running for server in self._servers)


class StatusService(Role):
    """The acting master's status server on the virtual IP, beside each node's own: one address tells of an update.

    There is nothing to start where the node's own server listens on that address already, as on ``0.0.0.0``.
    """

    app: Starlette
    """Set by the daemon before the first start."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self._server: HttpServer | None = None

    def start(self) -> None:
        cluster, address = self.conf.cluster, bare(self.conf.cluster.virtual_ip)
        if self.running() or cluster.address in (address, *EVERYWHERE):
            return
        server = HttpServer(self.app, address, cluster.port, bounds=Bounds.from_conf(self.conf))
        server.start()
        self._server = server

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def running(self) -> bool:
        return self._server is not None and self._server.running
