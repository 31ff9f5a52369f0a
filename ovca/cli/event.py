"""The journal."""

from __future__ import annotations

import argparse

from ovca.cli import base, brief, live, values


class EventList(base.Lister):
    """List the journal of the appliance: what happened, to which node, and who did it; the newest stands last.

    A table has the columns that one reads; `-c` chooses others, and the formats for scripts hold all.

    Example: ovca event-list --since 2h --alarms
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        base.completes(parser.add_argument('--update', metavar='<id>', help='of this update only'), base.updates)
        kinds = parser.add_mutually_exclusive_group()
        base.completes(
            kinds.add_argument('--kind', metavar='<kind>', help='of this kind only, as state, lease, lock or power'),
            base.event_kinds,
        )
        kinds.add_argument('--alarms', dest='kind', action='store_const', const='alarm', help='alarms only')
        base.completes(parser.add_argument('--node', metavar='<node>', help='about this node only'), base.nodes)
        parser.add_argument(
            '--since',
            metavar='<time>',
            help='from this time on (2026-11-24T10:00:00Z), or from so long ago (90s, 30m, 2h, 1d12h)',
        )
        parser.add_argument(
            '--limit',
            metavar='<number>',
            default='50',
            help='how many of the newest (default: 50)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        names = ('id', 'at', 'kind', 'node', 'actor', 'epoch', 'update_id', 'from_state', 'to_state', 'detail')
        limit = values.number('--limit', parsed_args.limit, most=values.MOST_ROWS)
        since = None if parsed_args.since is None else values.moment(parsed_args.since)
        update = values.update_id(parsed_args.update)
        if update is not None:
            self.service.update(update)
        events = self.service.journal(
            update_id=update,
            kind=parsed_args.kind,
            node=parsed_args.node,
            since=since,
            limit=limit,
        )
        if brief.wanted(parsed_args):
            return ('at', 'kind', 'node', 'detail'), [(e.at, e.kind, e.node, live.event_text(e)) for e in events]
        return names, [[getattr(event, name) for name in names] for event in events]
