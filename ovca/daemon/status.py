"""The node's own status server: wake, site settings, machine, status and metrics. It tells nothing secret.

Whoever asks it to save the site settings has them saved a little earlier than the node would by itself, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ovca.cluster.machine import PATH


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

    async def do_wake(request: Request) -> Response:
        wake()
        return Response(status_code=204)

    async def status(request: Request) -> Response:
        return JSONResponse(facts())

    async def metrics(request: Request) -> Response:
        lines = []
        for name, value in facts().items():
            if isinstance(value, bool | int | float):
                lines += [f'# TYPE ovca_{name} gauge', f'ovca_{name} {float(value):g}']
        return PlainTextResponse('\n'.join(lines) + '\n')

    def newest_update(request: Request) -> Response:  # no coroutine: it runs in a thread, because it waits
        after = request.query_params.get('after', '0')
        told = update(int(after) if re.fullmatch(r'[0-9]{1,18}', after) else 0) if update is not None else {}
        known = facts()
        return JSONResponse({name: known.get(name) for name in ('node', 'acting', 'epoch', 'health')} | told)

    def site(request: Request) -> Response:  # no coroutine, for the same reason
        if save_site is None:
            return Response(status_code=404)
        answer = save_site()
        return JSONResponse(answer, 503 if answer.get('error') else 200)

    def tell_machine(request: Request) -> Response:
        if machine is None:
            return Response(status_code=404)
        return JSONResponse(machine())

    return Starlette(
        routes=[
            Route('/v1/wake', do_wake, methods=['POST']),
            Route('/v1/site', site, methods=['POST']),
            Route('/v1/status', status),
            Route('/v1/update', newest_update),
            Route(PATH, tell_machine),
            Route('/metrics', metrics),
        ]
    )
