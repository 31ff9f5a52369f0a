"""The lab's network: every node reaches everything else through forwarders of its own, and each can be cut.

A cut cable drops its connections and refuses new ones; mended, it takes new ones. A silent one keeps them and takes new
ones, and nothing arrives until it is mended; then what was underway does, as TCP would send it again. Which are cut or
silent is kept in a file and survives a restart. Cables of a node: ``database`` (PostgreSQL only), ``bmc-<node>``,
``boot``, ``boot-tls``, ``peer``.

This process also watches the owner of the lab, if it has one, and stops the lab when the owner is gone.

Run as ``python -m ovca.lab.network <lab folder> [pid of the owner]``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ovca.files import write_json
from ovca.lab import spec
from ovca.lab.spec import LabError, LabSpec, NodeSpec

LOG = logging.getLogger(__name__)
CONTROL = 'control'
SILENT = ' (silent)'
"""How a list of broken cables marks one that is not cut."""
Address = tuple[str, int]


@dataclass(eq=False)
class Cable:
    """One forwarder."""

    node: str
    name: str
    listen: Address
    upstream: Address
    server: asyncio.Server | None = None
    connections: set[asyncio.StreamWriter] = field(default_factory=set)
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set: it is silent."""

    @property
    def state(self) -> str:
        """``cut``, ``silent`` or ``whole``."""
        if self.server is None:
            return 'cut'
        return 'whole' if self.flows.is_set() else 'silent'

    async def mend(self) -> None:
        self.flows.set()
        await self._listen()

    async def silence(self) -> None:
        self.flows.clear()
        await self._listen()

    async def _listen(self) -> None:
        if self.server is None:
            self.server = await asyncio.start_server(self._serve, *self.listen)

    async def cut(self) -> None:
        self.flows.set()  # what stands still has to notice that its connection is gone
        server, self.server = self.server, None
        if server is not None:
            server.close()
        for writer in list(self.connections):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        await self.flows.wait()
        try:
            there, back = await asyncio.wait_for(asyncio.open_connection(*self.upstream), 5)
        except (OSError, TimeoutError):
            self.connections.discard(writer)
            _reset(writer)
            return
        self.connections.add(back)
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            _reset(writer)
            _reset(back)
        finally:
            self.connections -= {writer, back}
            for each in (writer, back):
                with contextlib.suppress(OSError):
                    each.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            await self.flows.wait()
            sink.write(data)
            await sink.drain()
        await self.flows.wait()
        if sink.can_write_eof():
            sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other end sees an error, and no orderly end."""
    with contextlib.suppress(OSError):
        plain = writer.get_extra_info('socket')
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    writer.transport.abort()


def cables(lab: LabSpec, node: NodeSpec) -> list[Cable]:
    """The forwarders of a node."""
    peer = lab.node(node.peer)
    found = {
        f'bmc-{each.name}': ((node.cables, spec.BMC_PORT + 1 + i), (each.bmc, spec.BMC_PORT))
        for i, each in enumerate(lab.nodes)
    }
    found['boot'] = ((node.cables, spec.BOOT_PORT), (lab.virtual_ip, spec.BOOT_PORT))
    found['boot-tls'] = ((node.cables, spec.TLS_PORT), (lab.virtual_ip, spec.TLS_PORT))
    found['peer'] = ((node.cables, spec.STATUS_PORT), (peer.address, spec.STATUS_PORT))
    upstream = database_address(lab.database)
    if upstream is not None:
        found['database'] = ((node.cables, spec.DATABASE_CABLE_PORT), upstream)
    return [Cable(node.name, name, listen, upstream) for name, (listen, upstream) in found.items()]


def database_address(url: str) -> Address | None:
    """Where a database server listens; None for a file."""
    if url.startswith('sqlite'):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 5432
    except ValueError:
        host, port = None, 0
    if not host:
        raise LabError('the database URL of a lab needs a host and a port: postgresql://user@host:port/name')
    return host, port


def through_cable(lab: LabSpec, node: NodeSpec) -> str:
    """The database's URL as ``node`` reaches it."""
    if database_address(lab.database) is None:
        return lab.database
    parts = urlsplit(lab.database)
    login = parts.netloc.rpartition('@')[0]
    place = f'{node.cables}:{spec.DATABASE_CABLE_PORT}'
    return parts._replace(netloc=f'{login}@{place}' if login else place).geturl()


class Network:
    """All cables of a lab."""

    def __init__(self, lab: LabSpec) -> None:
        self.lab = lab
        self.folder = lab.folder / 'network'
        self.cables = {(cable.node, cable.name): cable for node in lab.nodes for cable in cables(lab, node)}

    async def run(self, owner: int | None = None) -> None:
        self.folder.mkdir(exist_ok=True)
        kept = spec.read_json(self.folder / 'cut.json')
        cut, silent = ({tuple(pair) for pair in kept.get(state, [])} for state in ('cut', 'silent'))
        for key, cable in self.cables.items():
            if key not in cut:
                await (cable.silence() if key in silent else cable.mend())
        path = self.folder / CONTROL
        path.unlink(missing_ok=True)
        os.chdir(self.folder)  # the name of a unix socket may only be short
        os.umask(0o077)
        server = await asyncio.start_unix_server(self._control, CONTROL)
        if owner is not None:
            _when_gone(owner, self._stop_lab)
        async with server:
            await server.serve_forever()

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer: dict[str, Any]
        try:
            answer = await self._do(json.loads(await reader.readline()))
        except (ValueError, KeyError, TypeError, OSError) as exc:
            answer = {'error': f'{type(exc).__name__}: {exc}'}
        writer.write(json.dumps(answer).encode() + b'\n')
        writer.write_eof()
        await writer.drain()
        writer.close()

    async def _do(self, order: dict[str, Any]) -> dict[str, Any]:
        what = order['do']
        if what != 'list':
            wanted = [
                cable
                for key, cable in self.cables.items()
                if key[0] == order['node'] and order['cable'] in (key[1], 'all')
            ]
            if not wanted:
                names = ', '.join(sorted(name for node, name in self.cables if node == order['node']))
                return {'error': f'{order["node"]} has no cable {order["cable"]}; it has: {names}'}
            for cable in wanted:
                await {'cut': cable.cut, 'silence': cable.silence, 'mend': cable.mend}[what]()
            write_json(self.folder / 'cut.json', {state: self._in(state) for state in ('cut', 'silent')})
        return {'cut': self._in('cut') + [[node, name + SILENT] for node, name in self._in('silent')]}

    def _in(self, state: str) -> list[tuple[str, str]]:
        return [key for key, cable in self.cables.items() if cable.state == state]

    def _stop_lab(self) -> None:
        LOG.warning('the owner of this lab is gone; stopping it')
        subprocess.Popen(
            [sys.executable, '-m', 'ovca.lab.cli', '--folder', str(self.lab.folder), 'stop'],
            start_new_session=True,
            cwd='/',
        )


def _when_gone(pid: int, call: Any) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        call()
        return
    loop = asyncio.get_running_loop()

    def ready() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        call()

    loop.add_reader(handle, ready)


def order(lab: LabSpec, what: str, node: str = '', cable: str = '') -> list[tuple[str, str]]:
    """Give an order to the network (``list``, ``cut``, ``silence``, ``mend``); return the cables that are broken now.

    :raises LabError: the network does not run, or there is no such cable.
    """
    folder = -1
    try:
        folder = os.open(lab.folder / 'network', os.O_RDONLY | os.O_DIRECTORY)
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(5)
            # Through /proc, because the name of a unix socket may only be short.
            talk.connect(f'/proc/self/fd/{folder}/{CONTROL}')
            talk.sendall(json.dumps({'do': what, 'node': node, 'cable': cable}).encode() + b'\n')
            answer = json.loads(talk.makefile('rb').read())
    except (OSError, ValueError) as exc:
        raise LabError(f'the network of the lab {lab.folder} does not answer ({exc}); start the lab') from exc
    finally:
        if folder >= 0:
            os.close(folder)
    if 'error' in answer:
        raise LabError(str(answer['error']))
    return [(pair[0], pair[1]) for pair in answer['cut']]


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(name)s %(message)s')
    lab = spec.load(Path(words[0]))
    asyncio.run(Network(lab).run(int(words[1]) if len(words) > 1 else None))
    return 0


if __name__ == '__main__':
    sys.exit(main())
