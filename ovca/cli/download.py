"""Downloads: begun, listed, and aborted. The master's service carries them out."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import astuple, fields
from typing import Any

from ovca.cli import base, brief, live, values, watch
from ovca.exceptions import OvcaError


class Download(base.Command):
    """Fetch an image, verify it, and publish it on the shared storage; nothing is installed.

    A URI that ends in .json is the index of a channel: of its images it takes the newest that may be installed over
    what runs. The master's service does it; it goes on when the terminal goes away, and `ovca download-abort` ends it.

    Example: ovca download https://updates.example.com/ovca-1.1.0.iso.zip
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        watch.fetching(parser)
        watch.progress(parser)
        parser.add_argument('--no-wait', action='store_true', help='return as soon as the master has been asked')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        number = self.service.submit('download', **watch.wanted(self, parsed_args))
        if parsed_args.no_wait:
            watch.say(self, f'request {number} is with the master; {watch.PICKED_UP}')
        else:
            watch.finish(self, number, planned=True, progress=parsed_args.progress)


class DownloadList(base.Lister):
    """List the downloads, the newest first, with how far they are; also those that updates begin with.

    Example: ovca download-list -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--limit', metavar='<number>', default='20', help='how many (default: 20)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.remaster.views import DownloadView

        names = [field.name for field in fields(DownloadView)]
        shown = brief.columns(parsed_args, names, without=('kind', 'bytes_per_second', 'created_at', 'created_by'))
        limit = values.number('--limit', parsed_args.limit, most=values.MOST_ROWS)
        rows = [dict(zip(names, astuple(view), strict=True)) for view in self.service.downloads(limit)]
        return shown, [[row[name] for name in shown] for row in rows]


class DownloadAbort(base.Command):
    """Abort a download; what was received is kept, and the same download resumes it.

    It asks once. A running one stops within seconds, one that waits for its turn is removed.

    Example: ovca download-abort
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        id = parser.add_argument(
            'id', metavar='<id>', nargs='?', help='the download (default: the running one, or the first that waits)'
        )
        base.completes(id, _unfinished)
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        number = None if parsed_args.id is None else values.number('the number of a download', parsed_args.id)
        download = self.service.unfinished_download(number)
        self.service.must_lead()
        far = f', {live.amount(download.done_bytes)} received' if download.done_bytes else ''
        watch.tell(self, f'download {download.id} of {download.source}: {download.state}{far}')
        self.confirm(f'Abort download {download.id}?', yes=parsed_args.yes)
        self.service.abort_download(download.id)
        try:
            watch.wait(self, download.id, 'the abort', later='`ovca download-list` shows its end')
        except OvcaError as exc:
            if exc.id != 'download-aborted':
                raise
            watch.say(self, f'download {download.id}: aborted')
        else:
            watch.say(self, f'download {download.id} was done before it could be aborted')


def _unfinished(service: Any) -> Iterable[str]:
    return [str(view.id) for view in service.downloads() if view.state in ('waiting', 'running')]
