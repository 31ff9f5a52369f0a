"""An appliance as its rows: what the commands read and write, with somebody who plays the master's service."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from ovca import conf
from ovca.cluster.clock import boot_id as present_boot
from ovca.daemon.status import status_app
from ovca.db.engine import Database
from ovca.db.models import Base, Directive, Entry, Event, Image, InstallGrant, Lease, Node, Operation, Request, Update
from ovca.exceptions import OvcaError
from ovca.provision.server import HttpServer
from ovca.remaster.protocol import State
from ovca.remaster.service import Service
from ovca.testing import tables

OLD, NEW = 'a' * 64, 'b' * 64
STALLED = 60.0
"""Seconds that a whole machine may stand still in the middle of a test without the server ending a transaction."""
MANIFEST = {
    'version': '1.1.0',
    'update_from': '1.0.0',
    'notes': 'better',
    'components': {'mgmt': {'files': 3, 'size': 30, 'install': 'unpack'}, 'hmp': {'files': 1, 'size': 5}},
}


class Operated:
    """Two nodes, mn1 the master and mn2 the standby; on one SQLite file, unless another URL is given."""

    def __init__(self, folder: Path, *, here: str = 'mn1', url: str | None = None) -> None:
        self.folder, self.url = folder, url or f'sqlite:///{folder / "ovca.sqlite"}'
        self.database = Database(self.url, idle_timeout=STALLED)
        tables.prepare(self.database)
        self.config_file = folder / 'ovca.conf'
        self.config_file.write_text('')
        self.configure(here)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def configure(self, here: str, extra: str = '') -> None:
        """Write the configuration as the node ``here`` has it."""
        peer = 'mn2' if here == 'mn1' else 'mn1'
        (self.folder / 'shared').mkdir(exist_ok=True)
        self.config_file.write_text(
            f'[cluster]\nnode_name = {here}\npeer = {peer}\n'
            f'[database]\nconnection = {self.url}\nsingle_host = true\n'
            f'[image]\nshared_storage = {self.folder / "shared"}\nspace_reserve = 0\n{extra}'
        )

    def service(self, **kwargs: Any) -> Service:
        """The library behind the commands."""
        return Service(conf.load(str(self.config_file)), self.database, user='otto', **kwargs)

    def started(self, *, holder: str = 'mn1', address: str | None = None) -> Operated:
        """Both nodes run 1.0.0, and ``holder`` acts as master."""
        with self.database.write() as session:
            now = self.database.now(session)
            session.add(Lease(name='management', holder=holder, epoch=3, acting=True, renewed_at=now, ttl=30.0))
            for name in ('mn1', 'mn2'):
                session.add(
                    Node(
                        name=name,
                        running_version='1.0.0',
                        running_digest=OLD,
                        health='healthy',
                        ready=True,
                        last_seen_at=now,
                        address=address,
                        bmc='http://operator:secret@127.0.0.9/redfish/v1/Systems/1',
                    )
                )
        return self

    def image(self, version: str = '1.1.0', digest: str = NEW) -> Operated:
        """An image is published."""
        with self.database.write() as session:
            # Two of one millisecond would have no order.
            number = session.scalar(select(func.count()).select_from(Image)) or 0
            session.add(
                Image(
                    version=version,
                    digest=digest,
                    iso=f'mgmt_image/{version}/x.iso',
                    size=30_000_000,
                    manifest={**MANIFEST, 'version': version},
                    signed_by='vendor',
                    source='https://otto:geheim@example.com/x.zip?token=geheim',
                    published_at=self.database.now(session) + dt.timedelta(milliseconds=number),
                )
            )
        return self

    def update(self, state: str = 'REQUESTED', **facts: Any) -> int:
        """An update is there, in this state."""
        with self.database.write() as session:
            now = self.database.now(session)
            values = {
                'version': '1.1.0',
                'digest': NEW,
                'old_version': '1.0.0',
                'old_digest': OLD,
                'first': 'mn2',
                'second': 'mn1',
                'created_at': now,
                'created_by': 'otto',
                'state_since': now,
                'deadline_from': now,
                'finished_at': now if State(state).ended else None,
            }
            row = Update(state=state, **{**values, **facts})
            session.add(row)
            session.flush()
            return row.id

    def move(self, update_id: int, to: str, detail: str, *, reason: str | None = None) -> None:
        """The update changes its state, as the master's service does it."""
        with self.database.write() as session:
            row, now = session.get_one(Update, update_id), self.database.now(session)
            session.add(
                Event(
                    update_id=update_id,
                    at=now,
                    node='mn1',
                    actor='mn1',
                    kind='state',
                    from_state=row.state,
                    to_state=to,
                    detail=detail,
                )
            )
            row.state, row.state_since, row.reason = to, now, reason
            row.finished_at = now if reason else None

    def entry(self, update_id: int, node: str = 'mn2', **facts: Any) -> None:
        """A node has a record in the update, or a new one."""
        with self.database.write() as session:
            row = session.get(Entry, (update_id, node))
            now = self.database.now(session)
            if row is None:
                row = Entry(update_id=update_id, node=node, version='1.1.0', digest=NEW, created_at=now, step_at=now)
                session.add(row)
            for name, value in facts.items():
                setattr(row, name, value)

    def wiped(self, update_id: int, node: str = 'mn2') -> None:
        """A grant was consumed."""
        with self.database.write() as session:
            now = self.database.now(session)
            session.add(
                InstallGrant(
                    update_id=update_id,
                    node=node,
                    attempt=1,
                    epoch=3,
                    digest=NEW,
                    salt='x',
                    issued_at=now,
                    expires_at=now,
                    consumed_at=now,
                )
            )

    def decides(self, update: int, kind: str, why: str = '', *, by: str = 'otto') -> None:
        """Somebody decides something about an update, as to pause it."""
        with self.database.write() as session:
            now = self.database.now(session)
            session.add(Directive(update_id=update, kind=kind, subject='', detail=why, created_at=now, created_by=by))

    def holds(self, name: str, *, owner: str, why: str, boot_id: str | None = None) -> None:
        """Somebody on mn1 holds an operation: this process, unless another boot is named."""
        with self.database.write() as session:
            session.add(
                Operation(
                    name=name,
                    owner=owner,
                    node='mn1',
                    boot_id=boot_id or present_boot(),
                    pid=os.getpid(),
                    why=why,
                    taken_at=self.database.now(session),
                )
            )

    def rows(self) -> dict[str, list[str]]:
        """All that is in the tables but requests, to compare before and after."""
        with self.database.read() as session:
            return {
                table.name: sorted(str(tuple(row)) for row in session.execute(select(table)))
                for table in Base.metadata.sorted_tables
                if table.name != Request.__tablename__
            }

    def silent(self, seconds: float) -> None:
        """Nobody was heard of for a while."""
        with self.database.write() as session:
            before = self.database.now(session) - dt.timedelta(seconds=seconds)
            session.scalars(select(Lease)).one().renewed_at = before
            for node in session.scalars(select(Node)):
                node.last_seen_at = before

    def alarm(self, detail: str, *, before: float = 0) -> None:
        """An alarm of the newest update was raised, so many seconds ago."""
        with self.database.write() as session:
            update = session.scalars(select(Update).order_by(Update.id.desc()).limit(1)).one()
            at = self.database.now(session) - dt.timedelta(seconds=before)
            session.add(Event(update_id=update.id, at=at, node='mn1', actor='mn1', kind='alarm', detail=detail))

    def requests(self) -> list[Request]:
        """All requests."""
        with self.database.read() as session:
            return list(session.scalars(select(Request).order_by(Request.id)))

    def answer(self, work: Callable[[Request], dict[str, Any] | Exception]) -> None:
        """Play the master's service: carry each request out by ``work``, in a thread, until :meth:`close`."""

        def run() -> None:
            while not self._stop.wait(0.05):
                for request in self.requests():
                    if request.state == 'open':
                        outcome = work(request)
                        self.finish(request.id, outcome)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def progress(self, request_id: int, **facts: Any) -> None:
        """A request reports how far it is."""
        with self.database.write() as session:
            row = session.get_one(Request, request_id)
            row.state, row.progress = 'running', facts

    def finish(self, request_id: int, outcome: dict[str, Any] | Exception) -> None:
        """A request is done, or failed."""
        with self.database.write() as session:
            row = session.get_one(Request, request_id)
            if isinstance(outcome, Exception):
                row.state, row.error = 'failed', str(outcome)
                row.exit_code = getattr(outcome, 'exit_code', 1)
                row.result = {'error_id': outcome.id} if isinstance(outcome, OvcaError) else None
            else:
                row.state, row.result, row.exit_code = 'done', outcome, 0

    def close(self) -> None:
        """Stop what was started."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
        self.database.dispose()


@contextmanager
def saving(operated: Operated, answer: dict[str, Any]) -> Iterator[None]:
    """mn2's status server, which answers with ``answer`` when it is asked to save its site settings."""
    server = HttpServer(status_app(dict, lambda: None, save_site=lambda: {**answer}), '127.0.0.1', 0)
    server.start()
    with operated.database.write() as session:
        session.get_one(Node, 'mn2').address = f'http://127.0.0.1:{server.port}'
    yield
    server.stop()
