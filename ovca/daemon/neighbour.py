"""What one node's service asks of another's, by the status server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from requests import Response


def post(url: str, name: str, timeout: float | tuple[float, float]) -> Response:
    """Send a request without a body to the status server at ``url``; ``timeout`` is in seconds, as requests has it.

    :raises requests.RequestException: there is no answer.
    """
    import requests

    with requests.Session() as session:
        session.trust_env = False  # no proxy leads to a node, and a .netrc knows nothing of it
        return session.post(f'{url.rstrip("/")}/v1/{name}', timeout=timeout, allow_redirects=False)
