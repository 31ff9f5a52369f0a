"""The image server: a folder by HTTP, with ranges and strong ETags, so that a cut download can go on.

Run as ``python -m ovca.lab.server <folder> <address> <port>``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def serve(folder: str, address: str, port: int) -> None:
    """Serve until killed."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    app = Starlette(routes=[Mount('/', StaticFiles(directory=folder))])
    uvicorn.run(app, host=address, port=port, log_level='info')


def main(argv: Sequence[str] | None = None) -> int:
    folder, address, port = sys.argv[1:] if argv is None else argv
    serve(folder, address, int(port))
    return 0


if __name__ == '__main__':
    sys.exit(main())
