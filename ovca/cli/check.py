"""``check``."""

from __future__ import annotations

import argparse

from ovca.cli import base, watch
from ovca.cli.verdict import Verdict
from ovca.exceptions import Refused


class Check(Verdict, base.Lister):
    """Run the checks that an update has to pass; nothing is changed.

    Exit status 6 when one of them fails.

    Example: ovca check --image-version 1.1.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        version = parser.add_argument(
            '--image-version', metavar='<version>', help='the image to install; also checks the image'
        )
        base.completes(version, base.images)
        watch.downgrades(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.remaster.checks import Result, run_all

        allowed, version = bool(parsed_args.allow_downgrade), parsed_args.image_version
        results = run_all(self.conf, self.service.database, version, allow_downgrade=allowed)
        failed = [r.id for r in results if r.result is Result.FAILED]
        if failed:
            self.verdict = Refused(
                f'{len(failed)} of {len(results)} checks failed: {", ".join(failed)}; the table has their remedies',
                id='checks-failed',
            )
        return ('id', 'result', 'detail', 'remedy'), [(r.id, r.result, r.detail, r.remedy) for r in results]
