"""A server that does not wake while nobody is connected."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import uvicorn

from ovca.provision.bounded import Guests

TICK = 1.0
"""Seconds; what uvicorn does at each tick, writing the date of its answers, is meant for once a second."""


class QuietServer(uvicorn.Server):
    """Wakes once a second while somebody is connected, where uvicorn does ten times a second whoever is.

    An idle node serves by several. Whenever it wakes, it ends those of its ``guests`` whose time is over.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _wake: asyncio.Event

    def __init__(self, config: uvicorn.Config, guests: Guests) -> None:
        super().__init__(config)
        self._guests = guests

    async def main_loop(self) -> None:
        """Wait for the end."""
        self._wake, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self._guests.first = self._wake.set
        while True:
            self._wake.clear()  # before the look: who comes, or ends it, after it is seen at the next one
            if await self.on_tick(0):
                return
            self._guests.sweep()
            for connection in list(self.server_state.connections):
                peer, transport = getattr(connection, 'client', None), getattr(connection, 'transport', None)
                if peer is not None and transport is not None and self._guests.ends(peer):
                    transport.abort()  # one that is not read from does not notice that its line is cut
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), None if self._guests.none else TICK)

    def end(self) -> None:
        """End soon; from any thread."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # it has just been closed
                self._loop.call_soon_threadsafe(self._wake.set)
