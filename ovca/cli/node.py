"""The nodes: listed, shown, added, changed, and deleted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ovca.cli import base, brief, watch

if TYPE_CHECKING:
    from ovca.remaster.inventory import Facts

LATER = '`ovca node-list` shows what came of it'


class NodeList(base.Lister):
    """List the nodes with their roles, versions and health.

    When the appliance runs on one node only, a line beside the table says since when and why.

    A table leaves out kind and quarantine where all nodes are alike; the formats for scripts hold all.

    Example: ovca node-list -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        names = ('name', 'kind', 'role', 'version', 'health', 'ready', 'quarantined', 'last_seen_at')
        nodes = self.service.nodes()
        if (alone := self.service.alone()) is not None:
            watch.tell(self, str(alone))
        alike = [] if any(node.kind != 'management' for node in nodes) else ['kind']
        alike += [] if any(node.quarantined for node in nodes) else ['quarantined']
        shown = brief.columns(parsed_args, names, without=alike)
        return shown, [[getattr(node, name) for name in shown] for node in nodes]


class NodeShow(base.ShowOne):
    """Show one node: what it runs, how it feels and why, and how it is reached.

    Example: ovca node-show mn1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        name = parser.add_argument('name', metavar='<name>', nargs='?', help='the node (default: this one)')
        base.completes(name, base.nodes)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from dataclasses import asdict

        facts = asdict(self.service.node(self.service.here if parsed_args.name is None else parsed_args.name))
        facts['seconds_since_seen'] = None if (age := facts.pop('age')) is None else round(age, 1)
        return tuple(facts), tuple(facts.values())


class NodeAdd(base.Command):
    """Make a machine known before it can tell of itself; nothing is done to the machine.

    A management node registers itself when its service starts, and keeps the BMC and the card that were given here.

    Example: ovca node-add cn1 --kind compute --bmc https://192.0.2.31/redfish/v1/Systems/1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='<name>', help='its name, unique in the appliance')
        _facts(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from ovca.exceptions import Refused
        from ovca.remaster import inventory

        name, facts = inventory.check_name(parsed_args.name), _given(parsed_args)
        self.service.must_lead()
        if name in base.nodes(self.service):
            raise Refused(f'node {name} is there already; change it with `ovca node-set {name}`', id='node-exists')
        _warn(self, name, self.service.unheard(name, facts))
        number = self.service.submit('node-add', name=name, **facts.given)
        watch.wait(self, number, 'it', later=LATER)
        watch.say(self, f'node {name} is added')


class NodeSet(base.Command):
    """Change what is known of a node: its BMC, its network card, or its kind.

    An empty BMC or card is none, as if it had never been said. The configuration wins: [power] bmc and [provision]
    mac, where they name the node.

    Example: ovca node-set mn2 --bmc https://192.0.2.22/redfish/v1/Systems/1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        base.completes(parser.add_argument('name', metavar='<name>', help='the node'), base.nodes)
        _facts(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from ovca.exceptions import UsageError

        name, facts = parsed_args.name, _given(parsed_args)
        if not facts.given:
            raise UsageError('nothing is to be set; give at least one of --bmc, --mac and --kind', id='nothing-to-set')
        self.service.must_lead()
        _warn(self, name, self.service.settable(name, facts))
        number = self.service.submit('node-set', name=name, **facts.given)
        watch.wait(self, number, 'it', later=LATER)
        watch.say(self, f'node {name} is changed')


class NodeDelete(base.Command):
    """Forget a node that is gone for good; nothing is done to the machine.

    A node that is alive is refused, and so is one that an open update refers to. Should the machine start again, it
    registers itself as new.

    Example: ovca node-delete cn1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        base.completes(parser.add_argument('name', metavar='<name>', help='the node'), base.nodes)
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        self.service.must_lead()
        node = self.service.deletable(parsed_args.name)
        seen = f'was last seen {base.plain(node.last_seen_at)}' if node.last_seen_at else 'was never seen'
        lost = [
            f'its BMC {node.bmc}' if node.bmc_source == 'database' else '',
            f'its card {node.mac}' if node.mac else '',
        ]
        if node.quarantined:
            lost.append(f'that it is quarantined ({node.quarantine_reason})')
        forgotten = ', '.join(word for word in lost if word)
        watch.tell(
            self, f'{node.name} ({node.kind}) {seen}' + (f'; forgotten will be {forgotten}' if forgotten else '')
        )
        self.confirm(f'Delete node {node.name}?', yes=parsed_args.yes)
        number = self.service.submit('node-delete', name=node.name)
        watch.wait(self, number, 'the deletion', later=LATER)
        watch.say(self, f'node {node.name} is deleted')


def _facts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--kind', choices=('management', 'compute'), help='what the node is')
    parser.add_argument('--bmc', metavar='<uri>', help='the URI of its BMC, without user and password')
    parser.add_argument('--mac', metavar='<address>', help='the network card that it boots from')


def _given(parsed_args: argparse.Namespace) -> Facts:
    from ovca.remaster.inventory import Facts

    return Facts(parsed_args.kind, parsed_args.bmc, parsed_args.mac)


def _warn(command: base.Command, name: str, options: list[str]) -> None:
    for option in options:
        command.complain(f'{option} names {name} too, and the configuration wins over what is given here')
