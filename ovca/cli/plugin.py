"""Commands about plugins."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ovca import plugins
from ovca.cli import base


class PluginList(base.Lister):
    """List all extensions with the package that brings them, and what is wrong with the broken ones.

    Each is imported and looked at as if it were used. The exit status is 0 with broken ones too: whether what the
    configuration names can be loaded is for `ovca config-check` to judge.

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
            problem = plugins.problem(extension, _loader(extension.group))
            status = 'broken' if problem else 'usable'
            rows.append((extension.group, extension.name, extension.package, extension.version, status, problem))
        return ('group', 'name', 'package', 'version', 'status', 'problem'), rows


def _loader(group: str) -> Callable[[plugins.Extension], Any]:
    """What loads the extensions of a group when they are used."""
    from ovca import pages
    from ovca.conf import groups

    return {groups.GROUP: groups.options, pages.GROUP: pages.folder}.get(group, plugins.load_as_used)
