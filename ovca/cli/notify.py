"""Who is told."""

from __future__ import annotations

import argparse

from ovca.cli import base


class NotifyTest(base.Lister):
    """Send a test message through each driver of [notify] drivers, and list how each took it.

    Exit status 1 when one of them did not.

    Example: ovca notify-test
    """

    failed: tuple[str, ...] = ()
    total = 0

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.exceptions import ConfigError
        from ovca.notify import test

        if not self.conf.notify.drivers:
            raise ConfigError(
                'nobody is told of anything: [notify] drivers is empty; name a driver there, for example log',
                id='no-notifier',
            )
        results = test(self.conf)
        self.failed = tuple(name for name, problem in results.items() if problem)
        self.total = len(results)
        rows = [(name, 'failed' if problem else 'sent', problem) for name, problem in results.items()]
        return ('driver', 'result', 'detail'), rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show the results, then fail if one of them did."""
        from ovca.notify import NotifyError

        code = int(super().run(parsed_args) or 0)
        if self.failed:
            raise NotifyError(
                f'{len(self.failed)} of {self.total} notifiers did not take the message: {", ".join(self.failed)}; the '
                f'causes stand in the table'
            )
        return code
