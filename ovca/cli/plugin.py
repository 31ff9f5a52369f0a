"""Commands about plugins."""

from __future__ import annotations

import argparse

from ovca import plugins
from ovca.cli import base


class PluginList(base.Lister):
    """List all extensions with the package that brings them, and what is wrong with the broken ones.

    Example: ovca plugin-list -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--group', metavar='<group>', choices=plugins.GROUPS, help='list this group only, as ovca.power'
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        groups = [parsed_args.group] if parsed_args.group else plugins.GROUPS
        rows = []
        for extension in [e for group in groups for e in plugins.extensions(group)]:
            problem = plugins.problem(extension)
            status = 'broken' if problem else 'usable'
            rows.append((extension.group, extension.name, extension.package, extension.version, status, problem))
        return ('group', 'name', 'package', 'version', 'status', 'problem'), rows
