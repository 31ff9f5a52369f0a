"""An appliance whose standby may be wiped now, with all of its servers, and everything that must stay secret.

Rows, grants, site settings, applications and sockets are the product's own; only the master's loop is not there.
"""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import json
import secrets
import shutil
import socket
import threading
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import select
from starlette.applications import Starlette

from ovca.cluster.lease import Lease
from ovca.daemon.status import status_app
from ovca.db import models
from ovca.db.models import Entry, InstallGrant, Node, Update
from ovca.provision.authority import Order, SiteFile
from ovca.provision.boot import plain_app, tls_app
from ovca.provision.bounded import Bounds
from ovca.provision.fake import FakeProvision
from ovca.provision.server import HttpServer
from ovca.provision.site import state
from ovca.provision.tls import Certificate
from ovca.remaster.grants import GrantDesk
from tests.hostile.sockets import unverified
from tests.operated import NEW, Operated

MAC = '52:54:00:00:00:02'
RUN = 'this run'
SECRET = 'the-password-of-the-database'
Answer = tuple[int, bytes]


class Besieged:
    """mn1 is the master; an update is about to wipe mn2, whose grant is armed."""

    def __init__(self, folder: Path, certificate: Certificate, schema: Path, **bounds: Any) -> None:
        shutil.copy(schema, folder / 'ovca.sqlite')
        self.operated = Operated(folder).started().image()
        self.database, self.shared = self.operated.database, folder / 'shared'
        self.conf = self.operated.service().conf
        self.update = self.operated.update('INSTALL_1')
        self.operated.entry(self.update, 'mn2')
        with self.database.write() as session:
            lease = session.scalars(select(models.Lease)).one()
            lease.incarnation, lease.ttl = RUN, 3600.0
            session.get_one(Node, 'mn2').mac = MAC
        self.arm()
        self.publish()
        self.save_site('mn2')
        self.epoch: int | None = 3
        self.lease = Lease(self.database, 'mn1', RUN, ttl=3600)
        self.woken = 0
        self.desk = GrantDesk(
            self.conf,
            self.lease,
            epoch=lambda: self.epoch,
            boot_url=lambda: f'http://127.0.0.1:{self.plain.port}',
            tls=lambda: (f'https://127.0.0.1:{self.tls.port}', certificate.fingerprint),
            changed=self._wake,
        )
        self._bounds, self._certificate = Bounds(**bounds), certificate
        self._started: list[HttpServer] = []

    def _start(self, app: Starlette, certificate: Certificate | None = None) -> HttpServer:
        server = HttpServer(app, '127.0.0.1', 0, certificate=certificate, bounds=self._bounds)
        server.start()
        self._started.append(server)
        return server

    @cached_property
    def plain(self) -> HttpServer:
        """Boot scripts and images."""
        return self._start(plain_app(self.desk, FakeProvision(self.conf), str(self.shared)))

    @cached_property
    def tls(self) -> HttpServer:
        """Grants and reports."""
        return self._start(tls_app(self.desk), self._certificate)

    @cached_property
    def bare(self) -> HttpServer:
        """What the HTTPS server answers, for tests that send too much to encrypt it; no such server ships."""
        return self._start(tls_app(self.desk))

    @cached_property
    def status(self) -> HttpServer:
        """What the service tells of the node."""
        return self._start(
            status_app(
                lambda: {'node': 'mn1', 'epoch': self.epoch, 'acting': True, 'health': 'healthy'},
                self._wake,
                lambda after: {'database': True, 'snapshot': None},
                lambda: {'node': 'mn1', 'saved_at': 'now'},
                machine=lambda: {'clock': 0},
            )
        )

    def close(self) -> threading.Thread:
        """Stop all servers, in a thread that has to be joined some time: each takes a moment."""

        def stop() -> None:
            for server in self._started:
                server.stop()
            self.operated.close()

        thread = threading.Thread(target=stop)
        thread.start()
        return thread

    def _wake(self) -> None:
        self.woken += 1

    # What there is.

    def arm(self, node: str = 'mn2', attempt: int = 1) -> None:
        """The master gives a grant, as its loop does."""
        with self.database.write() as session:
            now = self.database.now(session)
            session.add(
                InstallGrant(
                    update_id=self.update,
                    node=node,
                    attempt=attempt,
                    epoch=3,
                    digest=NEW,
                    salt=secrets.token_hex(16),
                    issued_at=now,
                    expires_at=now + dt.timedelta(hours=1),
                )
            )

    def publish(self) -> None:
        folder = self.shared / 'mgmt_image/1.1.0'
        folder.mkdir(parents=True)
        (folder / 'manifest.json').write_text('{}')
        (folder / 'x.iso').write_bytes(b'CD001' * 1000)

    def save_site(self, node: str) -> None:
        """A node has saved its settings, of which one is a secret."""
        file = SiteFile('etc/ovca/secrets/database', 0o600, SECRET.encode())
        items = (state.ItemState('configuration', state.SAVED),)
        state.save(state.SiteState(node, '1.0.0', 'one', items, (file,)), self.shared)

    def change(self, **facts: Any) -> None:
        """Write into the row of the update."""
        with self.database.write() as session:
            row = session.get_one(Update, self.update)
            for name, value in facts.items():
                setattr(row, name, value)

    def next_update(self) -> None:
        """The update is done, and the next one wants to install the same node."""
        with self.database.read() as session:
            now = self.database.now(session)
        self.change(state='DONE', finished_at=now)
        self.operated.update('INSTALL_1')

    def grants(self) -> list[InstallGrant]:
        with self.database.read() as session:
            return list(session.scalars(select(InstallGrant).order_by(InstallGrant.id)))

    def entry(self) -> Entry:
        with self.database.read() as session:
            return session.get_one(Entry, (self.update, 'mn2'))

    def wiped(self) -> int:
        """How many grants were consumed."""
        return sum(grant.consumed_at is not None for grant in self.grants())

    def journal(self) -> list[str]:
        return [event.detail for event in self.operated.service().journal(limit=10000)]

    # What is asked.

    def order(self) -> Order:
        """What the honest machine is told when it boots."""
        order = self.desk.boot(MAC)
        assert order is not None
        return order

    def ask(self, order: Order, **other: Any) -> dict[str, Any]:
        """The question of an honest installer; what a liar would say otherwise, by name."""
        honest = {
            'node': order.node,
            'update': order.update,
            'attempt': order.attempt,
            'digest': order.digest,
            'boot_token': order.boot_token,
            'nonce': secrets.token_hex(32),
            'boot_id': 'b',
        }
        return {name: value for name, value in {**honest, **other}.items() if value is not None}

    def post(self, name: str, body: Any, server: HttpServer | None = None, *, source: str = '127.0.0.1') -> Answer:
        """Ask the HTTPS server, or another one, from this address."""
        server, here = server or self.tls, (source, 0)
        if server.certificate:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                server.host, server.port, timeout=20, context=unverified(), source_address=here
            )
        else:
            connection = http.client.HTTPConnection(server.host, server.port, timeout=20, source_address=here)
        try:
            connection.request('POST', f'/v1/{name}', body if isinstance(body, bytes) else json.dumps(body))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def raw(self, server: HttpServer, data: bytes, *, shut: bool = True) -> bytes:
        """Send bytes, whatever they are; return what comes back.

        With ``shut`` it is said at the end that these are all, to which a server need not answer: so what has a blank
        line, and may be a whole request, waits for its answer a moment before.
        """
        found = bytearray()
        with socket.create_connection((server.host, server.port), timeout=20) as connection:
            try:
                connection.sendall(data)
                if shut:
                    if b'\n\r\n' in data or b'\n\n' in data:
                        connection.settimeout(0.03)
                        with suppress(TimeoutError):
                            while piece := connection.recv(1 << 20):
                                found += piece
                                connection.settimeout(0.01)
                        connection.settimeout(20)
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(1 << 20):
                    found += piece
            except OSError as exc:
                if isinstance(exc, TimeoutError):
                    raise
                # Otherwise it had enough, and ended the connection.
        return bytes(found)

    def get(self, path: str, server: HttpServer | None = None) -> Answer:
        server = server or self.plain
        answer = self.raw(
            server, f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'.encode('latin-1'), shut=False
        )
        head, _, body = answer.partition(b'\r\n\r\n')
        return int(head.split()[1]), body

    def alive(self) -> bool:
        """Whether an honest node is served by each of the servers."""
        return (
            self.get('/boot/52:54:00:00:00:99')[0] == 200
            and self.get('/image/1.1.0/x.iso') == (200, b'CD001' * 1000)
            and self.get('/v1/status', self.status)[0] == 200
            and self.post('written', self.ask_nothing())[0] == 403
        )

    def ask_nothing(self) -> dict[str, Any]:
        """A question that is understood, of somebody who has no right."""
        return {'node': 'mn2', 'update': self.update, 'attempt': 1, 'nonce': 'f' * 64}


def leaks(data: bytes | str, *more: str) -> list[str]:
    """Which secrets there are in what somebody else can see; those of the site as such, and as JSON carries them."""
    text = data if isinstance(data, str) else data.decode('latin-1')
    return [word for word in (SECRET, base64.b64encode(SECRET.encode()).decode(), *more) if word and word in text]
