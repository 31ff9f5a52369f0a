"""``plugin-list``."""

from __future__ import annotations

import argparse

from ovca.cli import base


class PluginList(base.Lister):
    """List all extensions with the package that brings them, and what is wrong with the broken ones.

    Example: ovca plugin-list -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca import plugins
        from ovca.exceptions import PluginError

        rows = []
        for group in plugins.GROUPS:
            winners = plugins.chosen(group)
            for extension in plugins.extensions(group):
                problem = ''
                if winners[extension.name] != extension:
                    problem = f'ignored: the name belongs to {winners[extension.name].package}'
                else:
                    try:
                        plugins.load(extension)
                    except PluginError as exc:
                        problem = str(exc)
                status = 'broken' if problem else 'usable'
                rows.append((group, extension.name, extension.package, extension.version, status, problem))
        return ('group', 'name', 'package', 'version', 'status', 'problem'), rows
