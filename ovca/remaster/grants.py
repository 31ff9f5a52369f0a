"""Grants: the right to wipe one node once, given by the acting master at the moment of wiping.

Each call is one transaction that locks the lease. The boot token chooses the boot script, the nonce is the installer's
own secret, and the evidence token is derived from both sides, so that a lost reply can be asked for again and nothing
secret is at rest.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.cluster.lease import Lease
from ovca.cluster.nodes import mac_form, mac_of
from ovca.db import events
from ovca.db.models import Entry, Event, Image, InstallGrant, Node, Update
from ovca.exceptions import GrantRefused, LeaseLost
from ovca.provision.authority import GrantAsk, Granted, Order, SiteBundle
from ovca.provision.site.state import load as load_site
from ovca.remaster.observe import BOOTING, newest_update
from ovca.remaster.protocol import TARGET, WIPING, State, Which

if TYPE_CHECKING:
    from oslo_config import cfg


REFUSED: Final = 'grant-refused'
"""Kind of event: somebody asked for a grant that another run of the installer has consumed."""


def hashed(secret: str) -> str:
    """How a secret is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def evidence_token(nonce: str, salt: str) -> str:
    """The token that this nonce gets for this grant: the same each time it is asked for."""
    return hmac.new(nonce.encode(), f'evidence:{salt}'.encode(), hashlib.sha256).hexdigest()


def _by(grant: InstallGrant, nonce: str) -> bool:
    """Whether it was this nonce that consumed the grant."""
    return bool(grant.nonce_hash) and hmac.compare_digest(grant.nonce_hash or '', hashed(nonce))


def target_of(update: Update) -> str | None:
    """The node that may be wiped in the update's present state."""
    if update.state not in WIPING:
        return None
    return update.first if TARGET[State(update.state)] is Which.FIRST else update.second


class GrantDesk:
    """Answers the boot service and the installers, in the name of the acting master.

    ``epoch`` returns the epoch under which this node acts, or None while it does not; ``changed`` wakes the loop.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        *,
        epoch: Callable[[], int | None],
        boot_url: Callable[[], str],
        tls: Callable[[], tuple[str, str]],
        changed: Callable[[], None],
    ) -> None:
        self.conf, self.lease, self._epoch = conf, lease, epoch
        self._boot_url, self._tls, self._changed = boot_url, tls, changed

    def boot(self, mac: str, address: str = '') -> Order | None:
        """Return the order for the machine with this card, or None: it boots from its local disk.

        :raises GrantRefused: it asks from another address than the node has.
        """
        epoch = self._epoch()
        if epoch is None:
            return None
        wanted = mac_form(mac)
        with self.lease.database.read() as session:
            found = self._wanted(session, wanted)
        if found is None:
            return None  # whoever asks, the lease's lock is not for strangers to hold
        if why := self._elsewhere(found[1], address):
            raise GrantRefused(why)
        try:
            with self.lease.fenced(epoch) as session:
                found = self._wanted(session, wanted)
                if found is None:
                    return None
                update, target = found
                entry = session.get(Entry, (update.id, target))
                image = session.get(Image, update.version)
                grant = self._open_grant(session, update, target, entry, epoch)
                if entry is None or grant is None or image is None:
                    return None
                token = secrets.token_urlsafe(24)
                grant.boot_token_hash = hashed(token)
                entry.step, entry.step_at = BOOTING, self.lease.database.now(session)
                tls_url, fingerprint = self._tls()
                return Order(
                    node=target,
                    update=update.id,
                    attempt=entry.attempt,
                    version=update.version,
                    digest=update.digest,
                    boot_token=token,
                    boot_url=self._boot_url(),
                    tls_url=tls_url,
                    tls_fingerprint=fingerprint,
                    iso=image.iso,
                    shared_storage=self.conf.image.shared_storage,
                    root=self.conf.provision.root,
                )
        except LeaseLost:
            return None

    def _elsewhere(self, node: str, address: str) -> str:
        """Why somebody at this address cannot be the node; empty, if that is not known."""
        own = (self.conf.provision.boot_address or {}).get(node)
        if not own or own == address:
            return ''
        return f'{address or "somebody"} asks in the place of {node}, which has {own} in [provision] boot_address'

    def _wanted(self, session: Session, mac: str) -> tuple[Update, str] | None:
        """The open update, and the node that it may wipe, if that is the machine with this card."""
        update = newest_update(session)
        target = target_of(update) if update else None
        node = session.get(Node, target) if target else None
        if update is None or target is None or node is None or mac_of(self.conf, node) != mac:
            return None
        return update, target

    def _open_grant(
        self, session: Session, update: Update, target: str, entry: Entry | None, epoch: int
    ) -> InstallGrant | None:
        if entry is None:
            return None
        rows = session.scalars(
            select(InstallGrant).where(
                InstallGrant.update_id == update.id,
                InstallGrant.node == target,
                InstallGrant.attempt == entry.attempt,
            )
        ).all()
        if any(row.consumed_at is not None for row in rows):
            return None
        now = self.lease.database.now(session)
        usable = [r for r in rows if r.epoch == epoch and r.revoked_at is None and r.expires_at > now]
        return usable[0] if usable else None

    def consume(self, ask: GrantAsk) -> Granted:
        """Consume the grant: from here on the target counts as wiped.

        :raises GrantRefused: there is no right to wipe; the machine boots from its disk.
        """
        epoch = self._epoch()
        if epoch is None:
            raise GrantRefused(f'{ask.node}: this node is not the acting master, so it grants nothing')
        if why := self._elsewhere(ask.node, ask.address):
            raise GrantRefused(why)
        with self.lease.database.read() as session:  # a stranger costs neither the lease's lock nor a look at secrets
            _, _, grant = self._asked(session, ask)
        site = SiteBundle()
        if grant.consumed_at is None or _by(grant, ask.nonce):
            site = load_site(Path(self.conf.image.shared_storage), ask.node).bundle()
        try:
            with self.lease.fenced(epoch) as session:
                token = self._consume(session, ask, epoch)
        except LeaseLost as exc:
            raise GrantRefused(f'{ask.node}: {exc}') from exc
        self._changed()
        return Granted(evidence_token=token, site=site)

    def _asked(self, session: Session, ask: GrantAsk, *, lock: bool = False) -> tuple[Update, Entry, InstallGrant]:
        """What a question is about. :raises GrantRefused: it is not what the master has ordered."""
        update = newest_update(session)
        if update is None or update.id != ask.update or target_of(update) != ask.node:
            raise GrantRefused(f'{ask.node}: no update wants to install it now')
        if ask.node == self.lease.node:
            raise GrantRefused(f'{ask.node} is the master; a lease holder is never wiped')
        entry = session.get(Entry, (update.id, ask.node))
        if entry is None or entry.attempt != ask.attempt or ask.digest != update.digest:
            raise GrantRefused(f'{ask.node}: the order is not the one of the present attempt')
        grant = self._by_token(session, update, ask, lock=lock)
        if grant is None:
            raise GrantRefused(f'{ask.node}: the boot token is not valid')
        return update, entry, grant

    def _consume(self, session: Session, ask: GrantAsk, epoch: int) -> str:
        update, entry, grant = self._asked(session, ask, lock=True)
        now = self.lease.database.now(session)
        token = evidence_token(ask.nonce, grant.salt)
        if grant.consumed_at is not None:
            if _by(grant, ask.nonce):
                return token
            if grant.written_at is None and not grant.failed:
                # Another run of the installer: what the first one left is unknown, so a new attempt begins.
                grant.failed = 'the installer started again after it had begun to wipe'
                update.revision += 1
            self._told_once(
                session, update, ask.node, epoch, f'attempt {ask.attempt}: another nonce has consumed this grant'
            )
            session.commit()
            self._changed()
            raise GrantRefused(
                f'{ask.node}: the grant was consumed by another run of the installer', id='grant-consumed'
            )
        if grant.epoch != epoch or grant.revoked_at is not None or grant.expires_at <= now:
            raise GrantRefused(f'{ask.node}: the grant has expired or is of an older epoch')
        grant.consumed_at, grant.nonce_hash, grant.boot_id = now, hashed(ask.nonce), ask.boot_id
        grant.evidence_hash = hashed(token)
        entry.step, entry.percent, entry.step_at = 'installing', 0.0, now
        update.revision += 1
        self._told(session, update, ask.node, epoch, 'grant-consumed', f'attempt {ask.attempt}: {ask.node} is wiped')
        return token

    def _by_token(self, session: Session, update: Update, ask: GrantAsk, *, lock: bool) -> InstallGrant | None:
        wanted = hashed(ask.boot_token)
        query = select(InstallGrant).where(
            InstallGrant.update_id == update.id,
            InstallGrant.node == ask.node,
            InstallGrant.attempt == ask.attempt,
        )
        for row in session.scalars(query.with_for_update() if lock else query):
            if row.boot_token_hash and hmac.compare_digest(row.boot_token_hash, wanted):
                return row
        return None

    def progress(self, node: str, update: int, attempt: int, nonce: str, percent: float, text: str) -> None:
        """Note how far the installer is.

        :raises GrantRefused: this nonce has consumed no grant of the present attempt.
        """
        epoch = self._acting(node)
        with self.lease.fenced(epoch) as session:
            _, entry = self._own_grant(session, node, update, attempt, nonce)
            known, percent = entry.percent or 0.0, max(0.0, min(100.0, percent))
            if int(percent) > int(known):  # only what gets on begins the deadline anew, at most a hundred times
                entry.step_at = self.lease.database.now(session)
            entry.percent, entry.step_detail = max(known, percent), text[:500]
        self._changed()

    def written(self, node: str, update: int, attempt: int, nonce: str) -> None:
        """Note that the installer has finished; repeating it changes nothing."""
        epoch = self._acting(node)
        with self.lease.fenced(epoch) as session:
            grant, entry = self._own_grant(session, node, update, attempt, nonce)
            if grant.written_at is not None:
                return
            grant.written_at = self.lease.database.now(session)
            entry.step, entry.percent, entry.step_at = 'written', 100.0, grant.written_at
            row = session.get_one(Update, update)
            row.revision += 1
            self._told(session, row, node, epoch, 'written', f'{node} is installed and reboots into {row.version}')
        self._changed()

    def failed(self, node: str, update: int, attempt: int, nonce: str, text: str) -> None:
        """Note that the installer gave up."""
        epoch = self._acting(node)
        with self.lease.fenced(epoch) as session:
            grant, entry = self._own_grant(session, node, update, attempt, nonce)
            grant.failed = text[:500] or 'the installer failed'
            entry.step, entry.step_detail = 'failed', grant.failed
            entry.step_at = self.lease.database.now(session)
            row = session.get_one(Update, update)
            row.revision += 1
            self._told(session, row, node, epoch, 'install-failed', grant.failed)
        self._changed()

    def _acting(self, node: str) -> int:
        epoch = self._epoch()
        if epoch is None:
            raise GrantRefused(f'{node}: this node is not the acting master')
        return epoch

    def _own_grant(
        self, session: Session, node: str, update: int, attempt: int, nonce: str
    ) -> tuple[InstallGrant, Entry]:
        row, entry = session.get(Update, update), session.get(Entry, (update, node))
        if row is None or entry is None or entry.attempt != attempt or State(row.state).ended:
            raise GrantRefused(f'{node}: update {update} has no attempt {attempt} now')
        grants = session.scalars(
            select(InstallGrant).where(
                InstallGrant.update_id == update, InstallGrant.node == node, InstallGrant.attempt == attempt
            )
        )
        for grant in grants:
            if _by(grant, nonce):
                return grant, entry
        raise GrantRefused(f'{node}: this installer holds no grant')

    def _told_once(self, session: Session, update: Update, node: str, epoch: int, detail: str) -> None:
        """Tell of a refusal in the journal, unless it does so already: who is refused can ask again and again."""
        same = select(Event.id).where(
            Event.update_id == update.id, Event.node == node, Event.kind == REFUSED, Event.detail == detail
        )
        if session.scalars(same.limit(1)).first() is None:
            self._told(session, update, node, epoch, REFUSED, detail)

    def _told(self, session: Session, update: Update, node: str, epoch: int, kind: events.Kind, detail: str) -> None:
        events.append(
            session,
            kind=kind,
            detail=detail,
            update_id=update.id,
            node=node,
            epoch=epoch,
            actor=self.lease.node,
        )
