"""Who leads, by an operator's word."""

from __future__ import annotations

import argparse

from ovca.cli import base, watch
from ovca.exceptions import Refused, ServiceUnavailable, UsageError

PATIENCE = 30.0
"""Seconds beyond those that the protocol needs, after which waiting for a new master ends."""


class Failover(base.Command):
    """Make the standby the master, and this node the standby; no node is powered off or reboots.

    The standby must be healthy, ready, and run the same software. An open update moves the lease by itself and is
    never disturbed.

    Example: ovca failover --reason 'cable work in rack 3'
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--reason', metavar='<text>', help='why; it is kept in the journal')
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        self.service.must_lead()
        epoch = self.service.master().epoch
        self.service.must_be_free('a failover')
        peer = self.conf.cluster.peer
        if peer is None:
            raise Refused('there is no second management node to hand over to; set [cluster] peer', id='no-second-node')
        watch.tell(self, f'{peer} becomes master, and {self.service.here} stands by; services move with the master')
        self.confirm(f'Hand over to {peer}?', yes=parsed_args.yes)
        number = self.service.submit('failover', reason=parsed_args.reason, epoch=epoch)
        watch.wait(self, number, 'the hand-over', later='`ovca master-show` shows its end')
        if not self.service.wait_for_master(peer, PATIENCE):
            raise ServiceUnavailable(
                f'{peer} has the lease and does not act yet; see `ovca master-show`, and the log of ovca.service on '
                f'{peer}',
                id='master-silent',
            )
        gap = self.service.unserved()
        watch.say(self, f'{peer} is master' + ('' if gap is None else f'; nobody acted for {gap:.1f} s'))


class MasterClaim(base.Command):
    """Let this node lead although the BMC of the other one cannot prove that it is off.

    A node that takes over powers the other one off first, and waits until that is seen. With a dead BMC this cannot be:
    then somebody who knows that the other node is off, having pulled its cables, may say so. If it is not off, two
    nodes serve at once. The word counts once, for 15 minutes, and never lets a node lead whose software is unproved.

    Example: ovca master-claim --force --known-off mn1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--force', action='store_true', help='take over without a proof by the BMC')
        off = parser.add_argument(
            '--known-off', metavar='<node>', help='the node that is off, for use without a terminal to type it on'
        )
        base.completes(off, base.nodes)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        leader, here, peer = self.service.master(), self.service.here, self.conf.cluster.peer
        if leader.is_here and leader.acting and not leader.expired:
            watch.say(self, f'{here} is master already')
            return
        if peer is None:
            raise Refused(
                'there is no second management node to take over from; set [cluster] peer', id='no-second-node'
            )
        if not parsed_args.force:
            raise UsageError(
                f'a node takes over by itself as soon as the other one is seen to be off; if the BMC of {peer} is dead '
                f'and you know that {peer} is off, add --force',
                id='force-needed',
            )
        name = self._typed(peer) if parsed_args.known_off is None else parsed_args.known_off
        number = self.service.claim(name)
        watch.tell(self, f'request {number}: {here} takes over, on your word that {name} is off')
        if not self.service.wait_for_master(here, leader.ttl + self.conf.cluster.fence_timeout + PATIENCE):
            why = self.service.why_not_lead() or (
                f'see `ovca master-show`, `ovca node-show {here}`, and the log of ovca.service'
            )
            raise ServiceUnavailable(f'{here} does not act as master yet; {why}', id='claim-waits')
        watch.say(self, f'{here} is master')

    def _typed(self, peer: str) -> str:
        """The name of the node, typed by a person: a "y" comes too easily."""
        if not self.interactive:
            raise Refused(
                'there is no terminal to type the name on; nothing was done. Add --known-off with the name of the '
                'node that is off',
                id='no-terminal',
            )
        self.app.stderr.write(f'If {peer} is not off, two nodes serve at once. Type the name of the node that is off: ')
        self.app.stderr.flush()
        return str(self.app.stdin.readline()).strip()
