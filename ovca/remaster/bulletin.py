"""How an update stands, as JSON from one node to another: as much as its followers need, and nothing secret."""

from __future__ import annotations

import datetime as dt
import enum
import types
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ovca.remaster.views import DirectiveView, EntryView, EventView, MasterFacts, NodeView, Snapshot, UpdateView

EVENTS = 50
"""The newest events that are told; an outage longer than those is read from the database after it."""
T = TypeVar('T')


def told(seen: Snapshot, after: int = 0) -> dict[str, Any]:
    """The snapshot as data, with the events after the one with the number ``after``."""
    # Where a machine's BMC is does not concern who follows an update.
    nodes = [replace(node, bmc=None, bmc_source=None, mac=None, mac_source=None, address=None) for node in seen.nodes]
    events = [event for event in seen.events[-EVENTS:] if event.id > after]
    data: dict[str, Any] = _plain(asdict(replace(seen, nodes=tuple(nodes), events=tuple(events))))
    del data['told_by']
    return data


def heard(data: Any) -> Snapshot:
    """The snapshot that another node tells. :raises ValueError: it is none."""
    if not isinstance(data, Mapping):
        raise ValueError('this is not a snapshot')
    return Snapshot(
        update=_made(UpdateView, data.get('update')),
        entries=tuple(_made(EntryView, each) for each in _list(data.get('entries'))),
        nodes=tuple(_made(NodeView, each) for each in _list(data.get('nodes'))),
        master=_made(MasterFacts, data.get('master')),
        events=tuple(_made(EventView, each) for each in _list(data.get('events'))),
        now=_typed(data.get('now'), dt.datetime),
        directives=tuple(_made(DirectiveView, each) for each in _list(data.get('directives', []))),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError('this is not a list')
    return value


def _made(kind: type[T], data: Any) -> T:
    """A value of a dataclass; what newer software tells besides is passed over."""
    if not isinstance(data, Mapping):
        raise ValueError(f'this is not a {kind.__name__}')
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    missing = [name for name in names if name not in data]
    if missing:
        raise ValueError(f'{kind.__name__} without {", ".join(missing)}')
    return kind(**{name: _typed(data[name], hints[name]) for name in names})


def _typed(value: Any, hint: Any) -> Any:
    """The value as the type wants it. :raises ValueError: it is another one."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        choices = [each for each in get_args(hint) if each is not type(None)]
        return None if value is None and len(choices) < len(get_args(hint)) else _typed(value, choices[0])
    if hint is dt.datetime and isinstance(value, str):
        moment = dt.datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError('a time without a zone')
        return moment
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    if origin is dict and isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f'{value!r:.40} is not of the type {hint}')
