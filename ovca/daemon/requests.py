"""What operators ask for, carried out by the acting master's service.

A request is a row. Short ones are done at once; a download runs in a thread of its own, and a request that a former
master has left unfinished is begun again: everything here may be repeated.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ovca.cluster.lease import Lease
from ovca.cluster.nodes import silent_after
from ovca.daemon.duties import Duties, FailOver
from ovca.daemon.surroundings import Worker, run_checks, spawn
from ovca.db.engine import rows
from ovca.db.models import UNFINISHED, WAITING, Node, Request, Update
from ovca.exceptions import DatabaseUnavailable, LeaseLost, OvcaError
from ovca.remaster.checks import CheckResult
from ovca.remaster.checks.patience import Patience
from ovca.remaster.protocol import ENDED

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
LENGTHY = ('download', 'update', 'activate', 'retry', 'image-delete', 'image-adopt', 'reinstall', 'replace')
"""What is carried out in a thread of its own, one after the other; the rest is quick and waits for none of them."""
AGAIN = 600.0
"""Seconds until images are deleted again that are too many and could not be."""
GIVEN_UP = 'the hand-over was given up; see the log of ovca.service on this node, and `ovca node-list`'

# Made once: each pass of the acting master says them.
_WAITING = select(func.min(Request.id)).where(WAITING)
_QUICK = _WAITING.where(Request.kind.not_in(LENGTHY))
_NEWEST = select(func.max(Update.id)).scalar_subquery()
_LOOK = select(
    _WAITING.scalar_subquery().label('request'),
    _NEWEST.label('update'),
    select(Update.state).where(Update.id == _NEWEST).scalar_subquery().label('state'),
)


@dataclass(frozen=True)
class Waiting:
    """What there was to do at one look."""

    request: int | None
    """The next one that the hands are free for."""
    update: tuple[int, bool] | None = None
    """The newest update, and whether it has ended, when nothing waits."""


class Requests:
    """The acting master's clerk. :meth:`step` is called by one thread."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        *,
        epoch: Callable[[], int | None],
        changed: Callable[[], None],
        running: tuple[str | None, str | None],
        fail_over: FailOver,
        patience: Patience | None = None,
        run_checks: Callable[..., list[CheckResult]] = run_checks,
        spawn: Callable[[str, Callable[[], None]], Worker] = spawn,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.conf, self.lease, self.database = conf, lease, lease.database
        self._epoch, self._changed = epoch, changed
        self._spawn, self._clock = spawn, clock
        self._duties = Duties(
            conf,
            lease,
            epoch=epoch,
            changed=changed,
            running=running,
            fail_over=fail_over,
            patience=patience or Patience(),
            run_checks=run_checks,
        )
        self.images = self._duties.images
        self._worker: Worker | None = None
        self._tidied: tuple[object, ...] | None = None
        self._tidy_again = math.inf
        """When it is tried again although nothing has happened since."""
        self._carried = 0

    def step(self) -> bool:
        """Look, and take the next request, if there is one and the hands are free; return whether one was taken."""
        epoch = self._epoch()
        if epoch is None:
            return False
        with self.database.read() as session:
            found = self.look(session)
        return self.take(epoch, found)

    def look(self, session: Session) -> Waiting:
        """What there is to do for the hands that are free."""
        if self._busy:
            return Waiting(rows(session, _QUICK).scalar_one())
        found: Any = rows(session, _LOOK).one()
        newest = (found.update, found.state in ENDED) if found.update is not None else None
        return Waiting(found.request, newest if found.request is None else None)

    @property
    def _busy(self) -> bool:
        return self._worker is not None and self._worker.is_alive()

    def take(self, epoch: int, found: Waiting) -> bool:
        """Take the request that was found, or else tidy up; return whether one was taken."""
        number = found.request
        if number is None:
            self._tidy(epoch, found.update)
            return False
        with self.lease.fenced(epoch) as session:
            row = session.get_one(Request, number, with_for_update=True)
            if row.state not in UNFINISHED:
                return True  # aborted meanwhile; look for the next one
            if row.kind == 'failover' and row.taken_epoch is None and self._quiet(session):
                return False
            again, repeated = row.taken_epoch is not None, row.taken_epoch == epoch
            row.state, row.taken_epoch = 'running', epoch
            args, kind, who, done = dict(row.args), row.kind, row.created_by, row.result
        if done is not None:
            # It was noted in the transaction that did it; only that it is finished could not be written.
            self._finish(epoch, number, result=done)
            return True
        if kind == 'failover' and again:
            # The hand-over ends this request in its own transaction; so that one was given up, and is not tried again.
            self._finish(epoch, number, error=GIVEN_UP, result={'error_id': 'hand-over-given-up'}, exit_code=6)
            return True
        carry_out = partial(self._carry_out, epoch, number, kind, args, who, repeated=repeated)
        if kind in LENGTHY:
            self._worker = self._spawn(f'request-{number}', carry_out)
        else:
            carry_out()
        return True

    def _quiet(self, session: Session) -> bool:
        """Whether the other node was heard of, and has yet to give a newer sign of life before anything is given to it.

        Nodes that have nothing to do give few; this one learns of the request by its next one at the latest.
        """
        seen = session.scalar(select(Node.last_seen_at).where(Node.name == self.conf.cluster.peer))
        if seen is None:
            return False
        age = (self.database.now(session) - seen).total_seconds()
        return bool(self.conf.remaster.ready_age < age <= silent_after(self.conf))

    def _tidy(self, epoch: int, update: tuple[int, bool] | None) -> None:
        """Delete the images that are too many, while the hands are free: after each request and each update's end.

        What could not be done then is tried again after a while.
        """
        if self._busy:
            return
        moment = (epoch, self._carried, update)
        if moment == self._tidied and self._clock() < self._tidy_again:
            return
        self._tidied, self._tidy_again = moment, math.inf
        self._worker = self._spawn('retention', lambda: self._retain(epoch))

    def _retain(self, epoch: int) -> None:
        try:
            for version in self.images.retain(epoch):
                LOG.info('image %s was deleted: it is older than those that [image] keep says', version)
        except OvcaError as exc:
            self._tidy_again = self._clock() + AGAIN
            LOG.warning('images that are too many are not deleted now: %s', exc)

    def join(self, timeout: float) -> None:
        """Wait for what is carried out in a thread of its own."""
        if self._worker is not None:
            self._worker.join(timeout)

    def _carry_out(
        self, epoch: int, id: int, kind: str, args: dict[str, Any], who: str, *, repeated: bool = False
    ) -> None:
        try:
            result = self._duties.carry_out(epoch, id, kind, args, who)
        except LeaseLost as exc:
            LOG.info('request %s stays open for the next master: %s', id, exc)
            return
        except OvcaError as exc:
            if isinstance(exc, DatabaseUnavailable) and not repeated:
                LOG.warning('request %s is begun again: %s', id, exc)
                return
            LOG.error('request %s (%s): %s', id, kind, exc)
            self._finish(epoch, id, result={'error_id': exc.id}, error=str(exc), exit_code=exc.exit_code)
        except Exception as exc:
            LOG.exception('request %s (%s)', id, kind)
            self._finish(epoch, id, error=f'{type(exc).__name__}: {exc}; see the log of ovca.service', exit_code=1)
        else:
            if kind != 'failover':  # that one is finished by whoever gives the lease away
                self._finish(epoch, id, result=result)
        self._carried += 1
        self._changed()

    def _finish(
        self,
        epoch: int,
        id: int,
        *,
        result: dict[str, Any] | None = None,
        error: str | None = None,
        exit_code: int = 0,
    ) -> None:
        from ovca.image.fetch import redacted

        try:
            with self.lease.fenced(epoch) as session:
                row = session.get_one(Request, id)
                row.state = 'failed' if error else 'done'
                row.result, row.error, row.exit_code = result, error, exit_code
                row.finished_at = self.database.now(session)
                if row.args.get('uri'):
                    # A password in it was needed until now, and is kept no longer.
                    row.args = {**row.args, 'uri': redacted(row.args['uri'])}
        except OvcaError as exc:
            LOG.warning('request %s: its end could not be written, it is begun again: %s', id, exc)
