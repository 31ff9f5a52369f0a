"""The nodes."""

from __future__ import annotations

import argparse

from ovca.cli import base


class NodeList(base.Lister):
    """List the nodes with their roles, versions and health.

    Example: ovca node-list -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        names = ('name', 'role', 'version', 'health', 'ready', 'quarantined', 'last_seen_at')
        return names, [[getattr(node, name) for name in names] for node in self.service.nodes()]


class NodeShow(base.ShowOne):
    """Show one node: what it runs, how it feels and why, and how it is reached.

    Example: ovca node-show mn1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='<name>', nargs='?', help='the node (default: this one)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from dataclasses import asdict

        facts = asdict(self.service.node(parsed_args.name or self.service.here))
        facts['seconds_since_seen'] = None if (age := facts.pop('age')) is None else round(age, 1)
        return tuple(facts), tuple(facts.values())
