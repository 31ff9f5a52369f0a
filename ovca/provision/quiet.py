"""A server that hardly wakes while nobody asks it for anything."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import uvicorn

from ovca.provision.bounded import Guests

TICK = 1.0
"""Seconds; what uvicorn does at each tick, writing the date of its answers, is meant for once a second."""


class QuietServer(uvicorn.Server):
    """Wakes once a second, not ten times, for an idle node serves by several; told to end, it wakes at once.

    Whenever it wakes, it ends those of its ``guests`` whose time is over.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _ending: asyncio.Event

    def __init__(self, config: uvicorn.Config, guests: Guests) -> None:
        super().__init__(config)
        self._guests = guests

    async def main_loop(self) -> None:
        """Wait for the end."""
        self._ending, self._loop = asyncio.Event(), asyncio.get_running_loop()
        while not await self.on_tick(0):
            self._guests.sweep()
            for connection in list(self.server_state.connections):
                peer, transport = getattr(connection, 'client', None), getattr(connection, 'transport', None)
                if peer is not None and transport is not None and self._guests.ends(peer):
                    transport.abort()  # one that is not read from does not notice that its line is cut
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), TICK)

    def end(self) -> None:
        """End soon; from any thread."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # it has just been closed
                self._loop.call_soon_threadsafe(self._ending.set)
