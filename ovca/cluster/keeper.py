"""The thin shell around :mod:`ovca.cluster.election`: watches the lease, keeps it, and tells the daemon.

One thread calls :meth:`Keeper.tick`. Whoever wants to know whether this node acts asks :attr:`Keeper.epoch`; what must
be exact is checked again inside the fenced transaction.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ovca.cluster.clock import boottime
from ovca.cluster.election import Standing, Step, step
from ovca.cluster.lease import Lease, LeaseExpired, LeaseView
from ovca.db import events
from ovca.exceptions import DatabaseError, LeaseLost, OvcaError

if TYPE_CHECKING:
    from oslo_config import cfg
    from sqlalchemy.orm import Session

LOG = logging.getLogger(__name__)
EARLY = 0.9
"""Share of the interval after which a holder renews: so a look that takes long does not cost it the lease."""
LATE = 0.1
"""Seconds after which a renewal that is due should be there."""
NEAR = 0.5
"""Seconds between two looks at a lease whose renewal is overdue: so much later, at most, its time begins to count."""
SHORTEST = 0.02


class Keeper:
    """Keeps this node's standing towards the lease.

    ``fence`` powers the peer off, polls until it is off, and returns the proof; ``serve`` starts the roles for an
    epoch, in a thread of its own, and does nothing when :attr:`epoch` is another one by then; ``stop_serving`` stops
    them.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        *,
        eligible: Callable[[Session], bool],
        fence: Callable[[], str],
        serve: Callable[[int], None],
        stop_serving: Callable[[], None],
        clock: Callable[[], float] = boottime,
        pool: Callable[[int, str], concurrent.futures.Executor] = concurrent.futures.ThreadPoolExecutor,
    ) -> None:
        self.conf, self.lease, self.clock = conf, lease, clock
        self.self_demote = float(conf.cluster.self_demote)
        self._eligible, self._fence, self._serve, self._stop_serving = eligible, fence, serve, stop_serving
        self.epoch: int | None = None
        """The epoch under which this node acts and serves, or None."""
        self.seen_epoch = 0
        self._handing_over = False
        """A hand-over is under way: this node serves no more until it is given up."""
        self._view: LeaseView | None = None
        """The lease as it was at the last look; None if that failed."""
        self._watched: tuple[object, ...] | None = None
        self._watched_since = 0.0
        self._renewed = 0.0
        self._fencing: concurrent.futures.Future[str] | None = None
        self._fenced_epoch: int | None = None
        self._retry_at = 0.0
        self._stopped: tuple[int, float, str] | None = None
        """The epoch in which this node has stopped serving without giving it up, when, and why."""
        self._pause: tuple[int, float, str] | None = None
        """The same with how long it was; what the journal has not got yet."""
        self._alarmed: set[tuple[int, str]] = set()
        self.stuck: int | None = None
        """The epoch that this node holds and cannot act under, as it does not see the other node off: nobody acts."""
        self._pool, self._starter = pool(1, 'fence'), pool(1, 'roles')

    def tick(self, *, look: bool = True) -> None:
        """Look at the lease and do what is to be done now; never raises for an outage of the database.

        Without ``look`` nothing has changed as far as the caller knows. Then a node that acts renews at once: that
        fails when the lease is not its own any more, and tells what is in the row.
        """
        try:
            if not look and self._prolonged():
                return
            self._view = None
            with self.lease.database.read() as session:
                view = self.lease.read(session)
                self.seen_epoch = view.epoch
                self._watch(view)
                standing = self._standing(view, session)
            self._do(step(standing), view)
            self._view = view
        except LeaseLost as exc:
            LOG.info('%s', exc)
            self._lost()
        except DatabaseError as exc:
            LOG.warning('%s', exc)
            self._watched = None  # what was not seen all the time was not watched
            self.demote_if_stale()

    def pause(self, *, busy: bool) -> float:
        """Seconds until the next look at the lease is worth it; while all is calm, that is about once a renewal."""
        often, cluster = self.conf.cluster.poll_interval, self.conf.cluster
        view, now = self._view, self.clock()
        if view is None or (view.holder == self.lease.node and self.epoch is None) or view.renewed_at is None:
            return float(often)
        if view.holder == self.lease.node:
            due = self._renewed + EARLY * cluster.renew_interval + SHORTEST - now  # not a moment before it is due
        else:
            # A database's clock that was put back makes an age that is below nothing.
            age = max(0.0, (view.now - view.renewed_at).total_seconds())
            due = EARLY * cluster.renew_interval + LATE - age
            if due <= 0:
                # Nobody renews it: its time counts from when that was first seen, so it is looked at closely.
                left = self._watched_since + view.ttl - now
                due = min(NEAR, left) if left > 0 else often  # it is over, and this node may not lead
        return float(max(SHORTEST, min(due, often) if busy else due))

    @property
    def blind(self) -> bool:
        """Whether the last look at the lease failed."""
        return self._view is None

    def close(self) -> None:
        """Let the threads that fence and start roles go."""
        for pool in (self._pool, self._starter):
            pool.shutdown(wait=False, cancel_futures=True)

    def demoting(self, epoch: int) -> None:
        """A hand-over begins: this node does not serve until the hand-over is given up."""
        self._stopped = epoch, self.clock(), 'a hand-over was given up'
        self._handing_over, self.epoch = True, None

    def gave_away(self) -> None:
        """The lease was handed over; nothing serves here any more."""
        self._handing_over, self.epoch = False, None

    def give_up(self) -> None:
        """The hand-over is given up: serve again, after a re-claim if the demotion was noted."""
        self._handing_over = False

    def _standing(self, view: LeaseView, session: Session) -> Standing:
        mine, vacant = view.holder == self.lease.node, view.holder is None
        watched = self.clock() - self._watched_since >= view.ttl
        # Who only watches another node lead need not ask what it may do itself.
        asked = mine or vacant or (view.expired and watched)
        return Standing(
            mine=mine,
            this_run=view.incarnation == self.lease.incarnation,
            vacant=vacant,
            acting=view.acting,
            demoted=view.demoted,
            previous_demoted=view.predecessor_demoted,
            fenced=view.fence_proof is not None,
            expired=view.expired,
            watched=watched,
            eligible=self._eligible(session) if asked else True,
            giving_up=not self._handing_over,
            has_peer=bool(self.conf.cluster.peer),
        )

    def _watch(self, view: LeaseView) -> None:
        key = (view.holder, view.incarnation, view.epoch, view.renewed_at)
        if key != self._watched:
            self._watched, self._watched_since = key, self.clock()

    def _do(self, what: Step, view: LeaseView) -> None:
        if what in (Step.WATCH, Step.STAY_DOWN, Step.CLAIM):
            self._lost()
        match what:
            case Step.CLAIM:
                LOG.info(
                    'claims the lease: %s', f'{view.holder} has not renewed it' if view.holder else 'nobody holds it'
                )
                self._renewed = self.clock()
                self.seen_epoch = self.lease.claim(view)
            case Step.RECLAIM:
                self._renewed = self.clock()
                self.seen_epoch = self.lease.reclaim()
            case Step.RENEW:
                self._renew(view.epoch)
                if self.epoch != view.epoch and not self._handing_over:
                    self._serve_now(view.epoch)
                self._tell_pause()
            case Step.FENCE:
                self._renew(view.epoch)
                self._fence_step(view.epoch)
            case Step.ACT:
                self._act(view)

    def _prolonged(self) -> bool:
        """Renew what this node acts under, if it is time; return whether there is no more to do than that."""
        epoch, sent = self.epoch, self.clock()
        if epoch is None or self._handing_over or sent - self._renewed < EARLY * self.conf.cluster.renew_interval:
            return False
        self._view = None
        self._view = self.lease.renew(epoch)
        self._renewed = sent
        self._watch(self._view)
        return self._view.acting and not self._view.demoted

    def _renew(self, epoch: int) -> None:
        sent = self.clock()
        if sent - self._renewed < EARLY * self.conf.cluster.renew_interval:
            return
        self.lease.renew(epoch)
        self._renewed = sent

    def _act(self, view: LeaseView) -> None:
        self._renewed = self.clock()
        self.lease.renew(view.epoch)
        proof = view.fence_proof
        if proof is None:
            handed = view.predecessor_demoted
            proof = f'the holder of epoch {view.demoted_epoch} was demoted' if handed else 'there is no peer'
        self.lease.set_acting(view.epoch, proof)
        self._serve_now(view.epoch)

    def _fence_step(self, epoch: int) -> None:
        if self._fencing is None or self._fenced_epoch != epoch:
            if self.clock() < self._retry_at:
                return
            self._fenced_epoch = epoch
            self._fencing = self._pool.submit(self._fence)
        with contextlib.suppress(TimeoutError):
            self._fencing.exception(self.conf.cluster.poll_interval)
        if not self._fencing.done():
            return
        fencing, self._fencing = self._fencing, None
        try:
            proof = fencing.result()
        except OvcaError as exc:
            LOG.error('ALARM: no take-over: %s', exc)
            self._retry_at = self.clock() + self.conf.cluster.poll_interval
            self.stuck = epoch
            self._alarm(epoch, exc)
            return
        peer = self.conf.cluster.peer
        try:
            self.lease.set_acting(epoch, proof, off=peer)
        except LeaseExpired:
            self.lease.renew(epoch)
            self.lease.set_acting(epoch, proof, off=peer)
        self._serve_now(epoch)

    def _alarm(self, epoch: int, exc: OvcaError) -> None:
        """Write to the journal why there is no take-over, once for each cause. :raises DatabaseError: not now."""
        if (epoch, exc.id) not in self._alarmed:
            self.lease.alarm(epoch, f'{events.NO_TAKE_OVER}{exc.with_id}', cause=exc.id)
            self._alarmed.add((epoch, exc.id))

    def _serve_now(self, epoch: int) -> None:
        """Start the roles, and keep the lease meanwhile: it may run out before a slow one has started."""
        self.epoch, self.stuck = epoch, None
        starting = self._starter.submit(self._serve, epoch)
        while not concurrent.futures.wait([starting], timeout=self.conf.cluster.poll_interval).done:
            self._renew(epoch)
        starting.result()
        if self._stopped is not None:
            stopped, since, why = self._stopped
            self._pause = (epoch, self.clock() - since, why) if stopped == epoch else None
            self._stopped = None

    def _tell_pause(self) -> None:
        """Write to the journal for how long this node has served nobody. :raises DatabaseError: not now."""
        if self._pause is not None and self._pause[0] == self.epoch:
            self.lease.serves_again(*self._pause)
        self._pause = None

    def _lost(self) -> None:
        self.stuck = None
        if self.epoch is not None:
            LOG.warning('does not lead any more; stops serving')
            self._stopped = self.epoch, self.clock(), 'the lease could not be renewed'
            self.epoch = None
            self._stop_serving()

    @property
    def fresh_for(self) -> float:
        """Seconds until this node has to stop serving, unless it renews the lease; infinite while it does not act."""
        if self.epoch is None:
            return math.inf
        return self._renewed + self.self_demote - self.clock()

    def demote_if_stale(self) -> None:
        """Stop serving when no renewal has succeeded for ``self_demote``.

        Another thread calls it too: the one that keeps the lease may hang in a call to the database.
        """
        if self.epoch is not None and self.clock() - self._renewed > self.self_demote:
            LOG.error('ALARM: no renewal for %s s; stops serving until the database is back', self.self_demote)
            self._lost()
