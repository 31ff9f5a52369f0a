"""JSON that is what it looks like: no key twice, no number that is none, and each value of the type that it must have.

The functions raise errors of ``UNREADABLE``; :func:`reason` makes a sentence's end of them.
"""

from __future__ import annotations

import json
import math
from typing import Any

from ovca.image.names import CONTROL

UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""Brackets without end, and text that is not UTF-8, raise errors of their own."""
LARGEST = 2**50
MAX_NESTING = 16
LONGEST = 300
KINDS = {str: 'text', int: 'whole number', bool: 'truth value', list: 'list', dict: 'object'}


def loads(data: bytes) -> dict[str, Any]:
    """Return the object."""
    value = json.loads(
        data.decode('utf-8'),
        object_pairs_hook=_unique,
        parse_constant=_no_constant,
        parse_float=_finite,
        parse_int=_whole,
    )
    if type(value) is not dict:
        raise TypeError('it is no object')
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f'{twice!r} is there twice')
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f'{text} is no number of JSON')


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError('a number is too large')
    return value


def _whole(text: str) -> int:
    if len(text) > 19:
        raise ValueError('a number is too large')
    return int(text)


def typed(raw: dict[str, Any], key: str, kind: type, *default: Any) -> Any:
    """Return the value, which must be of this very type; a default may stand for one that is missing or null."""
    if key not in raw and not default:
        raise KeyError(key)
    value = raw.get(key)
    if value is None and default:
        return default[0]
    if type(value) is not kind:
        raise TypeError(f'{key!r} is no {KINDS[kind]}')
    return value


def number(raw: dict[str, Any], key: str, *default: int) -> int:
    """Return a count or size."""
    value = int(typed(raw, key, int, *default))
    if not 0 <= value <= LARGEST:
        raise ValueError(f'{key!r} cannot be {value}')
    return value


def harmless(value: Any, depth: int = 0) -> None:
    """Check that no text would move the cursor of the terminal that shows it, and nothing is nested without end."""
    if depth > MAX_NESTING:
        raise ValueError(f'it is nested deeper than {MAX_NESTING}')
    if isinstance(value, dict):
        for key, each in value.items():
            harmless(key, depth + 1)
            harmless(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            harmless(each, depth + 1)
    elif isinstance(value, str) and CONTROL.search(value.replace('\n', ' ').replace('\t', ' ')):
        raise ValueError('a text holds control characters')


def reason(exc: BaseException) -> str:
    """What is wrong, as the end of a sentence of bounded length."""
    if isinstance(exc, KeyError):
        return f'{exc} is missing'
    if isinstance(exc, RecursionError):
        return 'it is nested without end'
    return str(exc)[:LONGEST]
