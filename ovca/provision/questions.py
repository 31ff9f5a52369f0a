"""What installers ask, read from bytes that anybody may have sent: it has the form of a question, or is refused.

What passes is of the right type, short, printable, and within what a database takes; whether it is true is judged by
the :class:`~ovca.provision.authority.Authority`. No error repeats what was sent.
"""

from __future__ import annotations

import json
import math
from typing import Any

from ovca.conf import types
from ovca.provision.authority import GrantAsk
from ovca.provision.client import TEXT_LIMIT

WORD_LIMIT = 256
NONCE_LEAST = 32
"""A shorter nonce could be guessed."""


def parse(data: bytes) -> dict[str, Any]:
    """Return the object that these bytes are in JSON. :raises ValueError: they are none."""
    try:
        body = json.loads(data)
    except RecursionError:
        raise ValueError('it is nested too deep') from None
    if not isinstance(body, dict):
        raise ValueError('it is no object')
    return body


def grant(body: dict[str, Any], address: str) -> GrantAsk:
    """Return the question for a grant that came from this address.

    :raises KeyError, TypeError, ValueError: it is none.
    """
    node, update, attempt, nonce = who(body)
    return GrantAsk(
        boot_token=_word(body['boot_token']),
        node=node,
        update=update,
        attempt=attempt,
        digest=_word(body['digest']),
        nonce=nonce,
        boot_id=_shown(body.get('boot_id', ''), 64),
        address=address,
    )


def who(body: dict[str, Any]) -> tuple[str, int, int, str]:
    """Return node, update, attempt and nonce of a report. :raises KeyError, TypeError, ValueError: one is none."""
    node = str(types.NODE_NEEDED(_word(body['node'])))
    nonce = _word(body['nonce'])
    if len(nonce) < NONCE_LEAST:
        raise ValueError('the nonce is too short to be a secret')
    return node, _number(body['update'], 63), _number(body['attempt'], 31), nonce


def percent(body: dict[str, Any]) -> float:
    """Return how far an install is, from 0 to 100. :raises KeyError, TypeError, ValueError: it is no number."""
    try:
        value = float(body['percent'])
    except OverflowError:
        raise ValueError('the percentage is no number') from None
    if not math.isfinite(value):
        raise ValueError('the percentage is no number')
    return min(100.0, max(0.0, value))


def text(body: dict[str, Any]) -> str:
    """Return what is said to people, on one line and without what would disturb a terminal."""
    return _shown(body.get('text', ''), TEXT_LIMIT)


def _shown(value: Any, most: int) -> str:
    return ''.join(letter if letter.isprintable() else ' ' for letter in str(value)[:most])


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError('it is no text')
    if len(value) > WORD_LIMIT or not value.isprintable():
        raise ValueError('it is too long, or cannot be printed')
    return value


def _number(value: Any, bits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError('it is no whole number')
    if not 0 <= value < 1 << bits:
        raise ValueError('there is no such number')
    return value
