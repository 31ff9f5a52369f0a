"""Site settings."""

from __future__ import annotations

import argparse

from ovca.cli import base, brief


class SiteShow(base.Lister):
    """Show what a node keeps through a wipe, item by item, and the files that it would lose.

    It reads what the node has saved on the shared storage, which only root may. The column last_install tells what
    became of each item when the node was last installed.

    Example: ovca site-show mn2
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        name = parser.add_argument('node', metavar='<node>', nargs='?', help='the node (default: this one)')
        base.completes(name, base.nodes)
        parser.add_argument('--files', action='store_true', help='list each file that is carried over, too')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.remaster import site_view

        names = ('node', 'item', 'state', 'files', 'path', 'detail', 'last_install', 'saved_at')
        node = self.conf.cluster.node_name if parsed_args.node is None else parsed_args.node
        rows = site_view.rows(self.conf, node, files=parsed_args.files)
        shown = brief.columns(parsed_args, names, without=['node', 'saved_at'])
        return shown, [[getattr(row, name) for name in shown] for row in rows]
