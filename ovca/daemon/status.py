"""The node's own status server: wake, site settings, machine, status and metrics. It tells nothing secret.

Anybody may ask, so that no question may cost much: who wakes the node again and again wakes it a few times a second,
and who asks it to save the site settings has them saved a little earlier than the node would by itself, and no more.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ovca.cluster.machine import PATH
from ovca.provision.bounded import Turns, plainly

CALLS = 8
"""Questions of a kind that are answered at a time; each has a thread."""
WAKE_EVERY = 0.2
"""Seconds between two wakes for who asks again and again; each of them makes all threads of the service look."""


class Waker:
    """Passes a hint on at once, and those that come soon after it together; called by the thread of one event loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake, self._woken = wake, -math.inf
        self._next: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        """Somebody gives the hint."""
        loop = asyncio.get_running_loop()
        since = loop.time() - self._woken
        if since >= WAKE_EVERY:
            self._pass_on()
        elif self._next is None or self._next.when() < loop.time():  # it belonged to a server that was stopped
            self._next = loop.call_later(WAKE_EVERY - since, self._pass_on)

    def _pass_on(self) -> None:
        self._woken, self._next = asyncio.get_running_loop().time(), None
        self._wake()


def status_app(
    facts: Callable[[], dict[str, Any]],
    wake: Callable[[], None],
    update: Callable[[int], dict[str, Any]] | None = None,
    save_site: Callable[[], dict[str, Any]] | None = None,
    *,
    machine: Callable[[], dict[str, Any]] | None = None,
) -> Starlette:
    """Return the application. ``facts`` are numbers, words and booleans; ``wake`` is a hint and may be repeated.

    ``update`` tells of the newest update and its events after a number; it may take as long as the database does.
    ``save_site`` saves the site settings and tells when, or why they are not saved; it takes some seconds at most.
    ``machine`` tells of clock, disks and network cards; it may take as long as the disks do.
    """

    waker = Waker(wake)
    saving, looking = Turns(CALLS), Turns(CALLS)

    async def do_wake(request: Request) -> Response:
        waker()
        return Response(status_code=204)

    async def status(request: Request) -> Response:
        return JSONResponse(facts())

    async def metrics(request: Request) -> Response:
        lines = []
        for name, value in facts().items():
            if isinstance(value, bool | int | float):
                lines += [f'# TYPE ovca_{name} gauge', f'ovca_{name} {float(value):g}']
        return PlainTextResponse('\n'.join(lines) + '\n')

    async def newest_update(request: Request) -> Response:
        after = request.query_params.get('after', '0')
        number = int(after) if re.fullmatch(r'[0-9]{1,18}', after) else 0
        told = await looking.call(update, number) if update is not None else {}
        known = facts()
        return JSONResponse({name: known.get(name) for name in ('node', 'acting', 'epoch', 'health')} | told)

    async def site(request: Request) -> Response:
        if save_site is None:
            return Response(status_code=404)
        answer = await saving.call(save_site)
        return JSONResponse(answer, 503 if answer.get('error') else 200)

    async def tell_machine(request: Request) -> Response:
        if machine is None:
            return Response(status_code=404)
        return JSONResponse(await looking.call(machine))

    return plainly(
        Starlette(
            routes=[
                Route('/v1/wake', do_wake, methods=['POST']),
                Route('/v1/site', site, methods=['POST']),
                Route('/v1/status', status),
                Route('/v1/update', newest_update),
                Route(PATH, tell_machine),
                Route('/metrics', metrics),
            ]
        )
    )
