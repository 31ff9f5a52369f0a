"""``config-show``."""

from __future__ import annotations

import argparse

from ovca.cli import base


class ConfigShow(base.Lister):
    """Show every option with its value; secrets are masked.

    Example: ovca config-show -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca import conf

        rows = []
        for group, options in conf.list_opts():
            for option in options:
                value = getattr(getattr(self.conf, group), option.dest)
                rows.append((group, option.dest, '****' if option.secret and value else value, value == option.default))
        return ('group', 'option', 'value', 'is_default'), rows
