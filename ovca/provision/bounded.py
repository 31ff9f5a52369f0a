"""What strangers may cost a server: connections, bytes and time are bounded, and who is honest is served meanwhile.

A connection is counted from the moment it is accepted, before TLS, and may wait for its client only so long: for a
request to arrive whole, for an answer to be taken on. When there are too many, the one that has waited longest for its
client is ended in favour of the new one; an honest client sends its request at once, and so is not the one.
All of this runs in the thread of the server's event loop, but for :meth:`Turns.call`, which leaves it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import h11
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from oslo_config import cfg
    from starlette.applications import Starlette

LOG = logging.getLogger(__name__)
T = TypeVar('T')
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Peer = tuple[str, int]

HEADER_BYTES = 16 * 1024
"""What the head of a request may have; those of firmware and of installers have some hundred."""
ENDING = 64
"""Connections that may be about to end beside those that are open."""
TELL_EVERY = 60.0
"""Seconds between two lines in the log about connections that were ended."""


@dataclass(frozen=True)
class Bounds:
    """The limits of one server; times in seconds."""

    connections: int = 200
    per_address: int = 32
    request: float = 20.0
    """From the connection, or the last answer, until a request has arrived with its body."""
    stall: float = 60.0
    """Without a client taking anything of its answer; at most as long may an answer be worked on."""

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Bounds:
        """The limits that ``[provision]`` has."""
        group = conf.provision
        return cls(group.connections, group.connections_per_address, group.request_timeout, group.stall_timeout)


class Guest(socket.socket):
    """A connection, with what the server knows of who is at its other end."""

    guests: Guests | None = None
    peer: Peer = ('', 0)
    waits_since: float | None = None
    """Since when the server waits for the client; None while the client waits for the server."""
    deadline: float = 0.0
    ending: bool = False

    def close(self) -> None:
        """Close it, which makes room for another one."""
        if self.guests is not None:
            self.guests.left(self)
        super().close()

    def end(self) -> None:
        """Cut the line; the event loop notices, and closes what belongs to it."""
        self.ending = True
        with suppress(OSError):  # the client was faster
            self.shutdown(socket.SHUT_RDWR)


class Listener(socket.socket):
    """A listening socket that admits its connections to :attr:`guests`, and closes those that are too many."""

    guests: Guests

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next connection that is admitted. :raises BlockingIOError: there is none now."""
        while True:
            accepted, address = super().accept()
            guest = Guest(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
            if self.guests.admit(guest, (str(address[0]), int(address[1]))):
                return guest, address
            guest.close()


class Guests:
    """Everybody who is connected to one server."""

    def __init__(self, bounds: Bounds, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds, self.name, self._clock = bounds, name, clock
        self._known: dict[Peer, Guest] = {}
        self._ended: Counter[str] = Counter()
        self._told_at = -TELL_EVERY
        self.first: Callable[[], None] = lambda: None
        """Called when somebody comes while there was nobody."""

    def __len__(self) -> int:
        return len(self._known)

    @property
    def none(self) -> bool:
        """Whether nobody is connected, and there is nothing to tell of those who were."""
        return not self._known and not self._ended

    def admit(self, guest: Guest, peer: Peer) -> bool:
        """Take a new connection in, for which another one may have to go; return whether there is room."""
        now = self._clock()
        self._room(peer[0], now)
        live = [each for each in self._known.values() if not each.ending]
        if (
            len(live) >= self.bounds.connections
            or len(self._known) >= self.bounds.connections + ENDING
            or sum(1 for each in live if each.peer[0] == peer[0]) >= self.bounds.per_address
            # What is about to end counts, too: a flood takes its own room for that, and not the others'.
            or sum(1 for each in self._known.values() if each.peer[0] == peer[0]) >= 2 * self.bounds.per_address
        ):
            self._note(peer[0], now)
            return False
        guest.guests, guest.peer = self, peer
        guest.waits_since, guest.deadline = now, now + self.bounds.request
        if not self._known:
            self.first()
        self._known[peer] = guest
        return True

    def _room(self, address: str, now: float) -> None:
        """End whom the server has waited for longest, of the address that has its share, or of the fullest one."""
        live = [each for each in self._known.values() if not each.ending]
        shares = Counter(each.peer[0] for each in live)
        if shares[address] >= self.bounds.per_address:
            candidates = [each for each in live if each.peer[0] == address]
        elif len(live) >= self.bounds.connections:
            candidates = live
        else:
            return
        waiting = [(-shares[e.peer[0]], e.waits_since, e) for e in candidates if e.waits_since is not None]
        if waiting:
            self._end(min(waiting, key=lambda each: each[:2])[2], now)

    def left(self, guest: Guest) -> None:
        """A connection is closed."""
        if self._known.get(guest.peer) is guest:
            del self._known[guest.peer]

    def dismiss(self) -> None:
        """Close what is left when the event loop has ended: who came at that moment belongs to nobody else."""
        for guest in list(self._known.values()):
            guest.close()

    def ends(self, peer: Peer) -> bool:
        """Whether this connection was ended, and is not closed yet."""
        guest = self._known.get(peer)
        return guest is not None and guest.ending

    def sweep(self) -> None:
        """End all whose time is over; called about once a second while there is somebody."""
        now = self._clock()
        for guest in list(self._known.values()):
            if not guest.ending and now > guest.deadline:
                self._end(guest, now)
        if self._ended and now - self._told_at >= TELL_EVERY:
            self._tell(now)

    def _end(self, guest: Guest, now: float) -> None:
        guest.end()
        self._note(guest.peer[0], now)

    def _note(self, address: str, now: float) -> None:
        if len(self._ended) < ENDING or address in self._ended:
            self._ended[address] += 1
        if now - self._told_at >= TELL_EVERY:
            self._tell(now)

    def _tell(self, now: float) -> None:
        """One line a minute at most: a log that strangers fill is another way to harm."""
        most = ', '.join(f'{address} ({number})' for address, number in self._ended.most_common(3))
        LOG.warning(
            '%s: %d connections were ended, as they were too many or too slow; most from %s',
            self.name,
            self._ended.total(),
            most,
        )
        self._ended.clear()
        self._told_at = now

    def guard(self, app: Application) -> Application:
        """Return the application with a clock beside each of its requests."""

        async def guarded(scope: Message, receive: Receive, send: Send) -> None:
            guest = self._known.get(tuple(scope.get('client') or ('', 0)))
            if guest is None:  # it had gone before anybody saw who it was
                await PlainTextResponse('', 400)(scope, receive, send)
                return
            turn = Turn(guest, self.bounds, self._clock)
            try:
                await app(scope, turn.receiver(receive), turn.sender(send))
            except ClientDisconnect:
                pass  # in the middle of its request; that is nothing to tell
            except h11.LocalProtocolError:
                # What came after the head was no HTTP: uvicorn has answered it already, and ends the connection.
                while (await receive())['type'] != 'http.disconnect':
                    pass
            finally:
                turn.over()

        return guarded


class Turn:
    """One request of a guest: says for whom one waits, and until when."""

    def __init__(self, guest: Guest, bounds: Bounds, clock: Callable[[], float]) -> None:
        self.guest, self.bounds, self._clock = guest, bounds, clock
        self._arrived = False
        self._until = guest.deadline
        """Until when the request has to be there."""
        self._works()

    def _works(self) -> None:
        self.guest.waits_since, self.guest.deadline = None, self._clock() + self.bounds.stall

    def receiver(self, receive: Receive) -> Receive:
        """``receive``, with the clock of the request."""

        async def received() -> Message:
            if self._arrived:  # the body is there; who asks now wants to hear that the client has gone
                return await receive()
            self.guest.waits_since, self.guest.deadline = self._clock(), self._until
            message = await receive()
            self._arrived = not message.get('more_body', False)
            self._works()
            return message

        return received

    def sender(self, send: Send) -> Send:
        """``send``, with the clock of the answer, which begins anew with each piece that is taken."""

        async def sent(message: Message) -> None:
            self._works()
            self.guest.waits_since = self._clock()
            await send(message)
            self._works()

        return sent

    def over(self) -> None:
        """The answer is given: the next request may come. What is left of this one's body does not prolong it."""
        now = self._clock()
        self.guest.waits_since, self.guest.deadline = now, now + self.bounds.request


def plainly(app: Starlette) -> Starlette:
    """The application without redirections: their target would be made of what the client says of the host."""
    app.router.redirect_slashes = False
    return app


class Turns:
    """At most ``most`` calls at a time, each in a thread; the others wait in the order in which they came."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free: asyncio.Semaphore

    async def call(self, work: Callable[..., T], *args: Any) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a server that is started again has another one
            self._loop, self._free = loop, asyncio.Semaphore(self.most)
        async with self._free:
            return await run_in_threadpool(work, *args)


class Pace:
    """A log of what strangers can cause: some lines a minute, and then how many more there were."""

    def __init__(
        self, log: logging.Logger, *, most: int = 20, every: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._most, self._every, self._clock = log, most, every, clock
        self._lock = threading.Lock()
        self._begun, self._said = -every, 0

    def info(self, text: str, *args: object) -> None:
        """Write a line, unless there were too many."""
        self._say(logging.INFO, text, args, exc_info=False)

    def warning(self, text: str, *args: object, exc_info: bool = False) -> None:
        """Write a line that may need somebody, unless there were too many."""
        self._say(logging.WARNING, text, args, exc_info=exc_info)

    def _say(self, level: int, text: str, args: tuple[object, ...], *, exc_info: bool) -> None:
        with self._lock:
            now = self._clock()
            if now - self._begun >= self._every:
                if self._said > self._most:
                    self._log.warning('%d further lines like those before were left out', self._said - self._most)
                self._begun, self._said = now, 0
            self._said += 1
            if self._said > self._most:
                return
        self._log.log(level, text, *args, exc_info=exc_info)
