"""What only the machine itself can tell: its clock, the room on its file systems, its network cards.

Each node's status server tells it to the other one. What comes from there is judged, never trusted: the answer is
bounded in size and time, and must be of the form that this module writes.
"""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ovca.cluster.nodes import mac_form
from ovca.db.engine import Database
from ovca.image.names import CONTROL
from ovca.image.strictjson import UNREADABLE, loads, number, reason, typed

if TYPE_CHECKING:
    from oslo_config import cfg

PATH = '/v1/machine'
TIMEOUT = 2.0
"""Seconds that the whole of an answer may take."""
LIMIT = 64 * 1024
"""Bytes of an answer."""
MOST = 256
"""File systems, and cards, in an answer."""
MAC = re.compile(r'[0-9a-f]{2}(:[0-9a-f]{2}){5}')


class Silent(Exception):
    """A status server gave no answer that counts; the text says why."""


class NotTold(Silent):
    """A status server answers, but knows nothing of this: it is that of older software."""


@dataclass(frozen=True)
class FileSystem:
    """The room on a file system; sizes in bytes."""

    path: str
    free: int
    total: int
    shared: bool
    """Whether it is the storage that both nodes share."""


@dataclass(frozen=True)
class Card:
    """A network card."""

    name: str
    mac: str
    link: bool


@dataclass(frozen=True)
class Machine:
    """What a machine tells of itself."""

    node: str
    file_systems: tuple[FileSystem, ...]
    cards: tuple[Card, ...]
    time: float
    """Its clock, in seconds since 1970."""

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {**asdict(self), 'file_systems': [*map(asdict, self.file_systems)], 'cards': [*map(asdict, self.cards)]}

    @classmethod
    def parse(cls, data: bytes) -> Machine:
        """What another machine tells. :raises Silent: it is not of the right form."""
        try:
            raw = loads(data)
            when = raw['time']
            if type(when) not in (int, float):
                raise TypeError("'time' is no number")
            return cls(
                node=_text(raw, 'node'),
                file_systems=tuple(
                    FileSystem(
                        _text(row, 'path'), number(row, 'free'), number(row, 'total'), typed(row, 'shared', bool)
                    )
                    for row in _rows(raw, 'file_systems')
                ),
                cards=tuple(
                    Card(_text(row, 'name'), _mac(row), typed(row, 'link', bool)) for row in _rows(raw, 'cards')
                ),
                time=float(when),
            )
        except UNREADABLE as exc:
            raise Silent(f'its answer is not of the right form: {reason(exc)}') from exc


def _rows(raw: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    rows = typed(raw, key, list)
    if len(rows) > MOST:
        raise ValueError(f'{key!r} has more than {MOST} entries')
    for row in rows:
        if type(row) is not dict:
            raise TypeError(f'{key!r} holds something that is no object')
        yield row


def _text(raw: dict[str, Any], key: str) -> str:
    text = str(typed(raw, key, str))
    if not text or len(text) > 4096 or CONTROL.search(text):
        raise ValueError(f'{key!r} is no text of one line')
    return text


def _mac(raw: dict[str, Any]) -> str:
    mac = _text(raw, 'mac')
    if not MAC.fullmatch(mac):
        raise ValueError("'mac' is no address of a card")
    return mac


def look(conf: cfg.ConfigOpts, database: Database | None, *, clock: Callable[[], float] = time.time) -> Machine:
    """What this machine tells of itself. A folder that is not there is left out."""
    return Machine(
        node=conf.cluster.node_name,
        file_systems=tuple(_file_systems(conf, database)),
        cards=tuple(_cards(Path(conf.check.network_folder))),
        time=clock(),  # the last: a slow disk must not make it old
    )


def _file_systems(conf: cfg.ConfigOpts, database: Database | None) -> Iterator[FileSystem]:
    shared = Path(conf.image.shared_storage)
    folders = [shared, Path(conf.provision.root), Path(conf.provision.state_path)]
    if database is not None and database.file is not None:
        folders.append(database.file.parent)
    seen = set()
    for folder in [*folders, *map(Path, conf.check.folders)]:
        try:
            device, usage = folder.stat().st_dev, shutil.disk_usage(folder)
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            yield FileSystem(str(folder), usage.free, usage.total, folder == shared)


def _cards(folder: Path) -> Iterator[Card]:
    try:
        places = sorted(folder.iterdir())
    except OSError:
        return
    found = []
    for place in places:
        # A card of a bond has the address of the bond; what is printed on it stands elsewhere.
        mac = mac_form(_read(place / 'bonding_slave' / 'perm_hwaddr') or _read(place / 'address'))
        if MAC.fullmatch(mac) and mac != '00:00:00:00:00:00':
            found.append(((place / 'device').exists(), Card(place.name, mac, _read(place / 'carrier') == '1')))
    real = {card.mac for device, card in found if device}
    # A bond, a bridge or a VLAN has the address of a card, and is none.
    yield from (card for device, card in found if device or card.mac not in real)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeError):
        return ''  # of a card that is down the kernel tells no carrier


def ask(url: str, *, timeout: float = TIMEOUT) -> bytes:
    """Return what a status server says of its machine; ``timeout`` is for the whole of it.

    :raises Silent: it gives no answer, none in time, or one that is too long. :raises NotTold: it knows nothing of it.
    """
    try:
        parts = urlsplit(url)
        secure = parts.scheme == 'https'
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or '', parts.port, timeout=timeout)
        plain = socket.create_connection((connection.host, connection.port), timeout)
        with _cut_after(plain, timeout), closing(connection):
            connection.sock = _secured(plain, connection.host) if secure else plain
            connection.request('GET', parts.path.rstrip('/') + PATH, headers={'Connection': 'close'})
            answer = connection.getresponse()
            data = answer.read(LIMIT + 1)
    except TimeoutError as exc:
        raise Silent(f'it gives no answer within {timeout:g} s') from exc
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise Silent(getattr(exc, 'strerror', None) or str(exc) or type(exc).__name__) from exc
    if answer.status == http.client.NOT_FOUND:
        raise NotTold('it does not tell of its machine: it runs older software')
    if answer.status != http.client.OK:
        raise Silent(f'it answers with status {answer.status}')
    if len(data) > LIMIT:
        raise Silent(f'its answer is longer than {LIMIT} bytes')
    return data


def _secured(plain: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


@contextmanager
def _cut_after(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection that takes longer than that in all; its own timeout begins anew with every byte."""
    late = threading.Event()
    # One of our own: TLS takes the other over, and http.client lets go of it when the answer is the last one.
    held = connected.dup()

    def cut() -> None:
        late.set()
        try:
            held.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended meanwhile

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as exc:
        if late.is_set():
            raise TimeoutError from exc
        raise
    finally:
        timer.cancel()
        timer.join()  # it may be cutting just now
        held.close()
    if late.is_set():
        raise TimeoutError


@dataclass(frozen=True)
class Heard:
    """The answer of the other node, with this node's clock before and after; or why there is none."""

    machine: Machine | None
    why: str = ''
    wrong: bool = False
    """Whether an answer could be expected."""
    asked_at: float = 0.0
    heard_at: float = 0.0


class Machines:
    """Both machines. Each is asked once, and its answer kept for who asks later."""

    def __init__(self, conf: cfg.ConfigOpts, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.conf, self.database, self.clock = conf, database, clock
        self._own: Machine | None = None
        self._peer: Heard | None = None

    def own(self) -> Machine:
        """This machine."""
        if self._own is None:
            self._own = look(self.conf, self.database, clock=self.clock)
        return self._own

    def peer(self) -> Heard:
        """The other one, as far as it tells."""
        if self._peer is None:
            self._peer = self._ask()
        return self._peer

    def _ask(self) -> Heard:
        peer, url = self.conf.cluster.peer, self.conf.cluster.peer_url
        if not peer or not url:
            return Heard(None, '[cluster] peer_url is not set' if peer else 'there is no second management node')
        before = self.clock()
        try:
            machine = Machine.parse(ask(url))
            after = self.clock()
            if machine.node != peer:
                raise Silent(f'it is the one of {machine.node}, and not of {peer}')
        except NotTold as exc:
            return Heard(None, f'the status server of {peer}: {exc}')
        except Silent as exc:
            return Heard(None, f'the status server of {peer} at {url}: {exc}', wrong=True)
        return Heard(machine, asked_at=before, heard_at=after)
