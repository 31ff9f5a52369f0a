"""``check``."""

from __future__ import annotations

import argparse

from ovca.cli import base
from ovca.exceptions import Refused


class Check(base.Lister):
    """Run the checks that an update has to pass; nothing is changed.

    Exit status 6 when one of them fails.

    Example: ovca check --image-version 1.1.0
    """

    failed: tuple[str, ...] = ()
    total = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        version = parser.add_argument(
            '--image-version', metavar='<version>', help='the image to install; also checks the image'
        )
        base.completes(version, base.images)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.remaster.checks import Result, run_all

        results = run_all(self.conf, self.service.database, parsed_args.image_version)
        self.failed = tuple(r.id for r in results if r.result is Result.FAILED)
        self.total = len(results)
        return ('id', 'result', 'detail', 'remedy'), [(r.id, r.result, r.detail, r.remedy) for r in results]

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show the results, then fail if one of them did."""
        code = int(super().run(parsed_args) or 0)
        if self.failed:
            raise Refused(
                f'{len(self.failed)} of {self.total} checks failed: {", ".join(self.failed)}; their remedies stand in '
                f'the table',
                id='checks-failed',
            )
        return code
