"""An authority in memory, which is the rules of a grant on one page, and the shortest example of a provision driver."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field, replace

from ovca.exceptions import GrantRefused
from ovca.provision.authority import GrantAsk, Granted, Order, SiteBundle
from ovca.provision.base import ProvisionDriver, words


class FakeProvision(ProvisionDriver):
    """Scripts for machines that are played by a test: the word ``install`` with the order's facts, or ``local``."""

    def install_script(self, order: Order) -> str:
        return '\n'.join(['install', *(f'{name}={value}' for name, value in words(order).items())]) + '\n'

    def local_script(self) -> str:
        return 'local\n'


@dataclass
class FakeGrant:
    """What the authority knows of one armed install."""

    order: Order
    site: SiteBundle = field(default_factory=SiteBundle)
    nonce: str | None = None
    token: str = field(default='', repr=False)
    asked: int = 0
    percent: float = 0.0
    written: bool = False
    failed: str | None = None

    @property
    def consumed(self) -> bool:
        """Whether some installer has been given the right to wipe."""
        return self.nonce is not None


class FakeAuthority:
    """Grants installs that :meth:`arm` named, each once. Safe to use from the threads of a server."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._grants: dict[str, FakeGrant] = {}
        self._macs: dict[str, str] = {}

    def arm(self, mac: str, order: Order, site: SiteBundle | None = None) -> FakeGrant:
        """Allow ``order`` once for the machine with this card; an earlier grant for its node is void."""
        with self._lock:
            grant = FakeGrant(order, site or SiteBundle())
            self._grants[order.node], self._macs[mac.lower()] = grant, order.node
            return grant

    def disarm(self, node: str) -> None:
        """Take a grant back."""
        with self._lock:
            self._grants.pop(node, None)

    def boot(self, mac: str, address: str = '') -> Order | None:
        """See :class:`~ovca.provision.authority.Authority`."""
        with self._lock:
            grant = self._grants.get(self._macs.get(mac.lower(), ''))
            if grant is None or grant.consumed:
                return None
            grant.order = replace(grant.order, boot_token=secrets.token_urlsafe(24))
            return grant.order

    def consume(self, ask: GrantAsk) -> Granted:
        """See :class:`~ovca.provision.authority.Authority`."""
        with self._lock:
            grant = self._grants.get(ask.node)
            if grant is None:
                raise GrantRefused(f'{ask.node}: no install is armed')
            grant.asked += 1
            order = grant.order
            if (ask.update, ask.attempt, ask.digest) != (order.update, order.attempt, order.digest):
                raise GrantRefused(f'{ask.node}: the order is not the one of the present attempt')
            if not secrets.compare_digest(ask.boot_token, order.boot_token):
                raise GrantRefused(f'{ask.node}: the boot token is not valid')
            if grant.nonce is None:
                grant.nonce, grant.token = ask.nonce, secrets.token_hex(32)
            elif not secrets.compare_digest(grant.nonce, ask.nonce):
                raise GrantRefused(
                    f'{ask.node}: another run of the installer has consumed the grant', id='grant-consumed'
                )
            return Granted(grant.token, grant.site)

    def progress(self, node: str, update: int, attempt: int, nonce: str, percent: float, text: str) -> None:
        """See :class:`~ovca.provision.authority.Authority`."""
        self._own(node, update, attempt, nonce).percent = percent

    def written(self, node: str, update: int, attempt: int, nonce: str) -> None:
        """See :class:`~ovca.provision.authority.Authority`."""
        self._own(node, update, attempt, nonce).written = True

    def failed(self, node: str, update: int, attempt: int, nonce: str, text: str) -> None:
        """See :class:`~ovca.provision.authority.Authority`."""
        self._own(node, update, attempt, nonce).failed = text

    def _own(self, node: str, update: int, attempt: int, nonce: str) -> FakeGrant:
        with self._lock:
            grant = self._grants.get(node)
            if grant is None or (grant.order.update, grant.order.attempt) != (update, attempt):
                raise GrantRefused(f'{node}: update {update} has no attempt {attempt} now')
            if grant.nonce is None or not secrets.compare_digest(grant.nonce, nonce):
                raise GrantRefused(f'{node}: this installer holds no grant')
            return grant
