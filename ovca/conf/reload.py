"""What a changed configuration means for a service that runs: what counts at once, and what needs a restart. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from ovca.conf.masking import masked


@dataclass(frozen=True)
class Change:
    """One option with another value than before; as a text it tells no secret."""

    group: str
    option: cfg.Opt
    old: Any
    new: Any

    @property
    def name(self) -> str:
        """``group.option``."""
        return f'{self.group}.{self.option.dest}'

    @property
    def at_once(self) -> bool:
        """Whether it counts without a restart: the code reads the option each time it needs it."""
        return bool(self.option.mutable)

    def __str__(self) -> str:
        old, new = (_shown(masked(value, secret=self.option.secret)) for value in (self.old, self.new))
        return f'{self.name}: {old} -> {new}'


def compare(options: Mapping[str, list[cfg.Opt]], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The options of which ``new`` has another value than ``old``; both are by ``group.option``."""
    return [
        Change(group, option, old.get(name), new.get(name))
        for group, listed in options.items()
        for option in listed
        if old.get(name := f'{group}.{option.dest}') != new.get(name)
    ]


def _shown(value: Any) -> str:
    if value is None or value == '':
        return '(none)'
    if isinstance(value, list):
        return ','.join(map(str, value)) or '(none)'
    if isinstance(value, dict):
        return ','.join(f'{key}:{item}' for key, item in value.items()) or '(none)'
    return str(value)
