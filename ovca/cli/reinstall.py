"""Installing one node with the software that the master runs."""

from __future__ import annotations

import argparse
from typing import Any

from ovca.cli import base, watch
from ovca.exceptions import Refused, UsageError


def _arguments(parser: argparse.ArgumentParser) -> None:
    base.completes(parser.add_argument('name', metavar='<name>', help='the node'), base.nodes)
    parser.add_argument('--reason', metavar='<text>', help='why; it is kept with the run')
    parser.add_argument('--yes', action='store_true', help='do not ask')
    watch.accepting(parser)
    watch.progress(parser)
    parser.add_argument('--no-wait', action='store_true', help='return as soon as the master has been asked')


class NodeReinstall(base.Command):
    """Wipe the other management node, and install it with the software that the master runs.

    For a node in quarantine, as a roll-back leaves it, and for one that is damaged. It is a run like an update, with
    grants, attempts and deadlines, of the second node only. Before it the checks are run, and the master is compared
    with its image.

    Example: ovca node-reinstall mn2
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _arguments(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        watch.acceptable(self, parsed_args.accept)
        self.service.must_lead()
        self.service.must_be_free(f'the installation of {parsed_args.name}')
        node = self.service.node(parsed_args.name)
        if node.name == self.service.here:
            raise Refused(
                f'{node.name} is master; a master never wipes itself: hand over first with `ovca failover`',
                id='node-is-master',
            )
        runs = node.version or 'nothing that is known'
        state = f'quarantined: {node.quarantine_reason}' if node.quarantined else node.health
        watch.tell(self, f'{node.name} runs {runs} ({state}); it is wiped, and installed as {self.service.here} is')
        accept = parsed_args.accept
        missing = watch.checks(self, self.service.running_image(), accept, retry=True)
        watch.warned(self, missing, asked=self.interactive and not parsed_args.yes)
        self.confirm(f'Wipe {node.name}?', yes=parsed_args.yes)
        accept = [*accept, *(each.id for each in missing)] or None
        watch.begin(
            self, parsed_args, 'reinstall', planned=True, node=node.name, reason=parsed_args.reason, accept=accept
        )


class NodeReplace(base.Command):
    """Put a new machine in the place of a management node that died for good, and install it.

    Its BMC and network card are noted under the old name. While an update is open this is possible for the node that
    it installs at this moment: a new attempt begins there. Otherwise the checks are run once the machine is noted.

    Example: ovca node-replace mn2 --mac 52:54:00:00:00:09 --bmc https://192.0.2.29/redfish/v1/Systems/1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _arguments(parser)
        parser.add_argument('--mac', metavar='<address>', help='the card that the new machine boots from')
        parser.add_argument('--bmc', metavar='<uri>', help='the BMC of the new machine, without a password')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from ovca.remaster.inventory import Facts

        watch.acceptable(self, parsed_args.accept)
        self.service.must_lead()
        facts = Facts(None, parsed_args.bmc, parsed_args.mac)
        unheard = self.service.replaceable(parsed_args.name, facts)
        node = self.service.node(parsed_args.name)
        if unheard:
            raise UsageError(
                f'the configuration names {" and ".join(unheard)} of {node.name}, and it wins: change it there, on '
                f'both nodes, restart ovca.service here, then repeat the command without it',
                id='configuration-wins',
            )
        said: dict[str, Any] = {name: value for name, value in facts.given.items()}
        card, bmc = said.get('mac') or node.mac or 'unknown', said.get('bmc') or node.bmc or 'unknown'
        watch.tell(
            self,
            f'{node.name} is another machine from now on, with the card {card} and the BMC {bmc}; its disk is wiped, '
            f'and it is installed',
        )
        self.confirm(f'Replace {node.name}?', yes=parsed_args.yes)
        # The checks want the new machine: the master runs them when it is noted.
        said |= {'reason': parsed_args.reason, 'accept': parsed_args.accept or None}
        watch.begin(self, parsed_args, 'replace', planned=True, node=node.name, **said)
