"""Something is true in every situation: shown by trying each that it can tell apart, not by samples.

A situation has so many fields that no test can try all. What looks at one reads a few of them; so a field gets its
value when it is first read, and whatever looked is asked again for each other value that it could have had. That tries
everything that a table of rules and a promise about it can tell from one another.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from ovca.remaster.protocol import Situation

VALUES: Mapping[str, tuple[object, ...]] = {
    name: (False, True) if kind is bool else tuple(kind)
    for name, kind in typing.get_type_hints(Situation).items()
    if kind is bool or issubclass(kind, Enum)
}


class _Unread(Exception):
    """A field was read that has no value yet."""


class Reading:
    """A situation whose fields get their values when they are read."""

    def __init__(self, known: Mapping[str, object]) -> None:
        self._known = known

    def __getattr__(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        if name in VALUES:
            raise _Unread(name)
        found = getattr(Situation, name)
        return found.__get__(self)

    def but(self, **changes: object) -> Reading:
        """The same situation with other values."""
        return Reading({**self._known, **changes})


def everywhere(check: Callable[[Any], None]) -> int:
    """Call ``check`` with all situations that it tells apart; return how many they are.

    Whatever it raises tells in a note what was read.
    """
    todo: list[dict[str, object]] = [{}]
    count = 0
    while todo:
        known = todo.pop()
        try:
            check(Reading(known))
        except _Unread as unread:
            (field,) = unread.args
            todo += [{**known, field: value} for value in VALUES[field]]
        except Exception as exc:
            exc.add_note(', '.join(f'{name}={value}' for name, value in known.items()))
            raise
        else:
            count += 1
    return count
