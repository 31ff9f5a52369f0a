"""The node's own status server: wake, status and metrics. It tells nothing secret and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


def status_app(facts: Callable[[], dict[str, Any]], wake: Callable[[], None]) -> Starlette:
    """Return the application. ``facts`` are numbers, words and booleans; ``wake`` is a hint and may be repeated."""

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

    return Starlette(
        routes=[
            Route('/v1/wake', do_wake, methods=['POST']),
            Route('/v1/status', status),
            Route('/metrics', metrics),
        ]
    )
