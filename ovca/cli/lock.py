"""What forbids something now: listed; and what has stayed of a process that is gone: broken."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ovca.cli import base, brief, watch
from ovca.exceptions import Refused

if TYPE_CHECKING:
    from ovca.remaster.locks import LockView


class LockList(base.Lister):
    """List what forbids other commands now: an open update, an operation, work on the images.

    It says who holds it, on which node, since when and why, and whether it looks stale: then its process is gone.

    Example: ovca lock-list -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        names = ('name', 'owner', 'node', 'since', 'why', 'stale', 'detail')
        shown = brief.columns(parsed_args, names, without=('detail',))
        return shown, [[getattr(lock, name) for name in shown] for lock in self.service.locks()]


class LockBreak(base.Command):
    """Break the lock of an operation whose process is gone; it is written to the journal.

    It shows first why the lock is thought to be stale, and asks. One that does not look stale is broken only if its
    name is typed once more. An open update is no lock to break: end it with `ovca update-abort`.

    Example: ovca lock-break firmware --reason 'the node was switched off'
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        name = parser.add_argument('name', metavar='<name>', help='the lock, as `ovca lock-list` shows it')
        base.completes(name, _operations)
        parser.add_argument('--reason', metavar='<text>', help='why; it is kept in the journal')
        parser.add_argument('--yes', action='store_true', help='do not ask, if it looks stale')
        parser.add_argument(
            '--confirm',
            metavar='<name>',
            help='the name once more: do not ask, and break it whether it looks stale or not',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        self.service.must_lead()
        lock = self.service.breakable(parsed_args.name)
        watch.tell(self, f'{lock.name}: held by {lock.owner} on {lock.node} since {base.plain(lock.since)}: {lock.why}')
        certain = self._certain(lock, parsed_args)
        number = self.service.submit(
            'lock-break',
            name=lock.name,
            since=lock.since.isoformat(),
            certain=certain or None,
            reason=parsed_args.reason,
        )
        watch.wait(self, number, 'it', later='`ovca lock-list` shows what came of it')
        watch.say(self, f'the lock {lock.name} is broken')

    def _certain(self, lock: LockView, parsed_args: argparse.Namespace) -> bool:
        """Ask; return whether the operator has confirmed it against the looks. :raises Refused: no."""
        looks = 'looks stale' if lock.stale else 'does not look stale'
        watch.tell(self, f'it {looks}: {lock.detail}')
        typed = parsed_args.confirm
        if lock.stale and typed in (None, lock.name):
            self.confirm(f'Break the lock {lock.name}?', yes=parsed_args.yes or typed is not None)
            return False
        if typed is None:
            if not self.interactive:
                raise Refused(
                    f'the lock {lock.name} does not look stale ({lock.detail}), and there is no terminal to ask on; '
                    f'wait for its end, or repeat the command with --confirm {lock.name}',
                    id='lock-alive',
                )
            self.app.stderr.write(f'What {lock.owner} does may go on. Type the name of the lock to break it: ')
            self.app.stderr.flush()
            typed = self.app.stdin.readline().strip()
        if typed != lock.name:
            raise Refused(f'{typed!r} is not the name of the lock; nothing was done', id='declined')
        return True


def _operations(service: Any) -> Iterable[str]:
    return [lock.name for lock in service.locks() if lock.name not in ('update', 'images')]
