"""Commands about the configuration."""

from __future__ import annotations

import argparse
import re
from typing import Any

from ovca.cli import base

_PASSWORD = re.compile(r'(?<=//)([^/@:\s]*):[^/@\s]*@')


class ConfigShow(base.Lister):
    """Show every option with its value and where the value comes from; secrets are masked.

    Example: ovca config-show -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('group', metavar='<group>', nargs='?', help='show this group only, as update')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca import conf
        from ovca.exceptions import UsageError

        known = dict(conf.list_opts())
        if parsed_args.group and parsed_args.group not in known:
            raise UsageError(f'there is no group {parsed_args.group}; the groups are {", ".join(known)}')
        rows = []
        for group in [parsed_args.group] if parsed_args.group else known:
            for option in known[group]:
                value = masked(getattr(self.conf[group], option.dest), secret=option.secret)
                rows.append((group, option.dest, value, self._source(group, option.dest)))
        return ('group', 'option', 'value', 'source'), rows

    def _source(self, group: str, name: str) -> str:
        found = self.conf.get_location(name, group)
        where = found.location.name if found else ''
        if found and where == 'user':
            return str(found.detail)
        return '--set' if where == 'set_override' else 'default'


def masked(value: Any, *, secret: bool = False) -> Any:
    """The value as it may be shown: no secret, and no password within a URL."""
    if isinstance(value, dict):
        return {key: masked(item, secret=secret) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, secret=secret) for item in value]
    if not isinstance(value, str) or not value:
        return value
    hidden, found = _PASSWORD.subn(r'\1:****@', value)
    if secret and not found and not value.startswith('sqlite:'):
        return '****'
    return hidden
