"""Asking the acting master: a request is a row, which its service carries out, and whose end is waited for."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from ovca.db import events
from ovca.db.engine import Database
from ovca.db.models import UNFINISHED, Event, Node, Request
from ovca.exceptions import (
    BackupError,
    ConfigError,
    DatabaseError,
    DatabaseUnavailable,
    FetchError,
    ImageError,
    NotMaster,
    OvcaError,
    PowerError,
    ProvisionError,
    Refused,
    ServiceUnavailable,
    UsageError,
)
from ovca.remaster import reading
from ovca.remaster.views import MasterFacts, RequestView

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
KINDS = (
    'download',
    'activate',
    'update',
    'abort',
    'retry',
    'pause',
    'continue',
    'failover',
    'claim',
    'reinstall',
    'replace',
    'image-delete',
    'image-adopt',
    'node-add',
    'node-set',
    'node-delete',
    'lock-break',
)
LONG = ('download', 'activate', 'update', 'retry', 'reinstall', 'replace')
"""Requests that an update comes out of, or its image."""
POLL = 0.25
PATIENCE = 5.0
"""Seconds after which a request that nobody takes is worth a word."""
ERRORS: dict[int, type[OvcaError]] = {
    kind.exit_code: kind
    for kind in (
        UsageError,
        ConfigError,
        ImageError,
        FetchError,
        Refused,
        ServiceUnavailable,
        DatabaseError,
        PowerError,
        ProvisionError,
        BackupError,
    )
}
Notice = Callable[[str], None]
T = TypeVar('T')


def quiet(text: str) -> None:
    """Note a notice that nobody asked for."""
    LOG.info('%s', text)


class Asking:
    """One operator's way to the acting master. It is open where the master is, and says elsewhere who that is."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: Database | None = None,
        *,
        user: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.conf = conf
        self.here: str = conf.cluster.node_name
        self._database, self._user, self._sleep, self._clock = database, user, sleep, clock

    @property
    def database(self) -> Database:
        """The database, opened when it is first needed. :raises ConfigError: nothing usable is configured."""
        if self._database is None:
            self._database = Database.from_conf(self.conf)
        return self._database

    def close(self) -> None:
        """Close the database if it was opened; it may be used again."""
        if self._database is not None:
            self._database.dispose()

    @property
    def user(self) -> str:
        """Who asks."""
        return self._user or _user()

    def master(self) -> MasterFacts:
        """Who is master."""
        with self.database.read() as session:
            return reading.master(session, self.here)

    def submit(self, kind: str, /, **args: Any) -> int:
        """Ask the acting master for something; return the request's number.

        The same request is not written twice: while it waits or runs, its number is returned again.

        :raises NotMaster: this node is not the master. :raises ServiceUnavailable: its service does not run.
        """
        if kind not in KINDS:
            raise ValueError(f'{kind!r} is not a kind of request')
        given = {name: value for name, value in args.items() if value is not None}
        with self.database.write() as session:
            leader = reading.master(session, self.here)
            _must_lead(leader)
            unfinished = select(Request).where(Request.kind == kind, Request.state.in_(UNFINISHED))
            for row in session.scalars(unfinished.order_by(Request.id)):
                if row.args == given:
                    return row.id
            row = Request(
                kind=kind,
                args=given,
                state='open',
                created_at=self.database.now(session),
                created_by=self.user,
            )
            session.add(row)
            session.flush()
            number, node = row.id, session.get(Node, self.here)
            address = node.address if node else None
        if address:
            _wake(address)
        return number

    def must_lead(self) -> None:
        """Refuse early what only the master can do. :raises NotMaster: this node is not it."""
        _must_lead(self.master())

    def request(self, id: int) -> RequestView:
        """One request. :raises UsageError: there is none."""
        with self.database.read() as session:
            row = session.get(Request, id)
            if row is None:
                raise UsageError(f'there is no request {id}', id='no-request')
            return reading.request(row)

    def open_request(self) -> RequestView | None:
        """The oldest long request that is not finished: a download, or the start of an update."""
        query = select(Request).where(Request.state.in_(UNFINISHED), Request.kind.in_(LONG))
        with self.database.read() as session:
            row = session.scalars(query.order_by(Request.id).limit(1)).one_or_none()
            return reading.request(row) if row is not None else None

    def wait(
        self, id: int, on_progress: Callable[[dict[str, Any]], None] | None = None, *, on_notice: Notice = quiet
    ) -> RequestView:
        """Wait until a request is done; ``on_progress`` gets each new report of its progress.

        :raises OvcaError: the request failed; class and id are those of the master's error.
        """
        last: dict[str, Any] | None = None
        looked, told = self._clock(), ''
        for now in self._polled(lambda: self.request(id), on_notice):
            if now.progress and now.progress != last and on_progress is not None:
                last = now.progress
                on_progress(now.progress)
            if now.state == 'done':
                return now
            if now.state == 'failed':
                kind = ERRORS.get(now.exit_code or 1, OvcaError)
                raise kind(now.error or f'request {id} failed', id=(now.result or {}).get('error_id'))
            if now.state == 'open' and self._clock() - looked > PATIENCE:
                looked, before = self._clock(), told
                with contextlib.suppress(DatabaseUnavailable):  # the next look tells that it is away
                    told = f'request {id} waits for {self._ahead(id)}'
                if told != before:
                    on_notice(told)
        raise RuntimeError('unreachable')

    def _ahead(self, id: int) -> str:
        """What a request waits for."""
        query = select(Request).where(Request.state == 'running', Request.id < id).order_by(Request.id.desc())
        with self.database.read() as session:
            row = session.scalars(query.limit(1)).one_or_none()
            leader = reading.master(session, self.here)
            alarms = select(Event.detail).where(
                Event.kind == 'alarm', Event.epoch == leader.epoch, Event.detail.startswith(events.NO_TAKE_OVER)
            )
            alarm = session.scalar(alarms.order_by(Event.id.desc()).limit(1))
        if row is not None:
            return f'the end of request {row.id} ({row.kind})'
        if leader.holder is not None and not leader.acting and not leader.expired:
            why = (
                f'{alarm}; mend that, or, if the other node is known to be off, give'
                if alarm
                else 'if it stays so, see'
            )
            return (
                f'somebody to act: {leader.holder} holds the lease, and has not taken over; {why} `ovca master-claim '
                f'--force` on {leader.holder}'
            )
        return 'the service of the acting master; see `ovca master-show`'

    def _polled(self, look: Callable[[], T], on_notice: Notice) -> Iterator[T]:
        lost = False
        while True:
            try:
                seen = look()
            except DatabaseUnavailable as exc:
                if not lost:
                    on_notice(f'{exc}; trying on')
                lost = True
            else:
                if lost:
                    on_notice('the database answers again')
                lost = False
                yield seen
            self._sleep(POLL)


def _must_lead(leader: MasterFacts) -> None:
    if leader.holder is None:
        raise NotMaster(
            'no node is master yet; start ovca.service on both nodes, then see `ovca master-show`', id='no-master'
        )
    if not leader.is_here:
        gone = f', which has not renewed its lease {leader.unrenewed}' if leader.expired and leader.age else ''
        raise NotMaster(f'this node, {leader.here}, is not the master; run the command on {leader.holder}{gone}')
    if leader.expired:
        raise ServiceUnavailable(
            f'ovca.service on {leader.here} has not renewed its lease {leader.unrenewed}; start it, or read its log',
            id='master-silent',
        )


def _user() -> str:
    try:
        return os.environ.get('SUDO_USER') or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _wake(address: str) -> None:
    """A hint to look now; the service looks by itself soon, so that nothing depends on it."""
    import http.client
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname or '', parts.port or 80, timeout=1)
        try:
            connection.request('POST', '/v1/wake')
            connection.getresponse().read()
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as exc:
        LOG.debug('%s was not woken: %s', address, exc)
