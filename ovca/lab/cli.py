"""``ovca-lab``: the process lab from a terminal."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cliff.app import App
from cliff.command import Command as CliffCommand
from cliff.commandmanager import CommandManager
from cliff.lister import Lister

import ovca
from ovca.exceptions import OvcaError
from ovca.lab.lab import Lab
from ovca.lab.spec import LabError

FOLDER = Path('.lab/default')
VERSION = '1.0.0'
LOG = logging.getLogger(__name__)


class Command(CliffCommand):
    """A command on the lab of ``--folder``."""

    def lab(self) -> Lab:
        return Lab.open(self.folder)

    @property
    def folder(self) -> Path:
        return Path(self.app.options.folder or FOLDER)

    def say(self, text: str) -> None:
        print(text, file=self.app.stdout)


class OnNode(Command):
    """A command on one node; subclasses name the work."""

    work = ''

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('node', metavar='<node>', help='mn1 or mn2')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        getattr(self.lab(), self.work)(parsed_args.node)
        return 0


class OnCable(OnNode):
    """A command on one cable of a node."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'cable',
            metavar='<cable>',
            nargs='?',
            default='all',
            help='database (with start --database), bmc-<node>, boot, boot-tls or peer; default: all',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        lab = self.lab()
        getattr(lab, self.work)(lab.node(parsed_args.node).name, parsed_args.cable)
        return 0


class Start(Command):
    """Start the lab; make it first where there is none."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('--database', metavar='<url>', help='an empty PostgreSQL database; default: SQLite')
        parser.add_argument(
            '--version-on-disk', metavar='<version>', help=f'what the factory installs on a new lab; default: {VERSION}'
        )
        parser.add_argument('--off', action='store_true', help='leave the nodes switched off')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        folder = self.folder
        if (folder / 'lab.json').exists():
            for option, value in (
                ('--database', parsed_args.database),
                ('--version-on-disk', parsed_args.version_on_disk),
            ):
                if value is not None:
                    raise LabError(f'the lab in {folder} is made already; start it without {option}')
            lab = Lab.open(folder)
        else:
            self.say(f'Making a lab in {folder} ...')
            version = VERSION if parsed_args.version_on_disk is None else parsed_args.version_on_disk
            lab = Lab.create(folder, database=parsed_args.database, version=version)
        lab.start(power=not parsed_args.off)
        self.say(f'The lab in {folder} runs; its virtual IP is {lab.spec.virtual_ip}.')
        return 0


class Stop(Command):
    """Stop everything of the lab; its folder stays."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        self.lab().stop()
        return 0


class Status(Lister, Command):
    """Show power, service and software of the nodes, cut cables, and vices."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        from ovca.lab.lab import NodeStatus

        columns = tuple(field.name for field in dataclasses.fields(NodeStatus))
        rows = [tuple(getattr(status, name) for name in columns) for status in self.lab().status()]
        if parsed_args.formatter == 'table':
            rows = [tuple(_plain(value) for value in row) for row in rows]
        return columns, [tuple(list(v) if isinstance(v, tuple) else v for v in row) for row in rows]


class Run(OnNode):
    """Run ovca as on a node: run mn1 -- node-list -f json."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('words', metavar='<word>', nargs=argparse.REMAINDER, help='the command and its arguments')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        words = parsed_args.words[1:] if parsed_args.words[:1] == ['--'] else parsed_args.words
        with self.lab().popen(parsed_args.node, words) as process:
            while True:
                try:
                    code = process.wait()
                    return code if code >= 0 else 128 - code  # killed by a signal, as a shell tells it
                except KeyboardInterrupt:
                    continue  # it got the Ctrl-C as well, and ends in its own way


class NewMachine(OnNode):
    """Put another machine in a node's place: blank disk, other network card and BMC; and say what they are."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        lab = self.lab()
        machine = lab.new_machine(parsed_args.node)
        self.say(f'mac {machine.mac}')
        self.say(f'bmc {lab.bmc_as_seen_from(machine.peer, machine.name)}')
        return 0


class Log(OnNode):
    """Show a node's log: machine, firmware, installer and service."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--lines', type=_count, metavar='<number>', help='only so many of the last lines; default: all'
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        path = self.lab().node(parsed_args.node).log
        lines = path.read_text(errors='replace').splitlines() if path.exists() else []
        self.say('\n'.join(lines[-parsed_args.lines :] if parsed_args.lines else lines))
        return 0


class Vice(OnNode):
    """Give a node's BMC a vice: vice mn1 off_delay=3, vice mn1 stuck_on, vice mn1 stuck_on=off."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'vice',
            metavar='<vice>[=<value>]',
            help='off_delay=<seconds>, stuck_on, unreachable or repeat_network_boot; =off takes it back',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        name, _, value = parsed_args.vice.partition('=')
        self.lab().set_vice(parsed_args.node, name, _value(name, value))
        return 0


class MakeImage(Command):
    """Make a signed image of the ovca that runs here, under another version."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('image', metavar='<version>', help='the version of the image')
        parser.add_argument('--update-from', metavar='<version>', help='the oldest version it may update')
        parser.add_argument('--downgrade-to', metavar='<version>', help='the oldest version it may be downgraded to')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        made = self.lab().make_image(
            parsed_args.image, update_from=parsed_args.update_from, downgrade_to=parsed_args.downgrade_to
        )
        self.say(str(made))
        return 0


class Demo(Command):
    """Show an update of a new appliance, from its start to its end; its folder is .lab/demo without --folder."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from ovca.lab import demo

        return demo.run(self.app.options.folder or demo.FOLDER)


class Serve(Command):
    """Serve the lab's images by HTTP until the lab is stopped, and show their URLs."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        lab = self.lab()
        url = lab.serve()
        for path in sorted((lab.folder / 'www').glob('*.zip')):
            self.say(url + path.name)
        return 0


def _on_node(name: str, text: str, base: type[OnNode] = OnNode) -> type[OnNode]:
    return type(name, (base,), {'work': name, '__doc__': text})


COMMANDS: dict[str, type[CliffCommand]] = {
    'start': Start,
    'status': Status,
    'stop': Stop,
    'run': Run,
    'log': Log,
    'new-machine': NewMachine,
    'vice': Vice,
    'make-image': MakeImage,
    'serve': Serve,
    'demo': Demo,
    'power-on': _on_node('power_on', 'Switch a node on through its BMC.'),
    'cut-power': _on_node('cut_power', 'Pull the plug of a node.'),
    'reset': _on_node('reset', 'Press the reset button of a node.'),
    'kill-service': _on_node('kill_service', "Kill a node's service with SIGKILL; it is started again."),
    'pause-service': _on_node('pause_service', "Stop a node's service with SIGSTOP."),
    'resume-service': _on_node('resume_service', 'Let a paused service go on.'),
    'cut': _on_node('cut', 'Cut a cable of a node.', OnCable),
    'silence': _on_node('silence', 'Let a cable of a node swallow everything.', OnCable),
    'mend': _on_node('mend', 'Mend a cable of a node.', OnCable),
}


class LabApp(App):
    """The application."""

    NAME = 'ovca-lab'

    def __init__(self) -> None:
        manager = CommandManager('ovca.lab.commands')
        for name, command in COMMANDS.items():
            manager.add_command(name, command)
        super().__init__('A whole appliance on one machine.', ovca.__version__, manager, deferred_help=True)

    def build_option_parser(
        self, description: str | None, version: str | None, argparse_kwargs: dict[str, Any] | None = None
    ) -> argparse.ArgumentParser:
        parser = super().build_option_parser(description, version, argparse_kwargs)
        parser.add_argument('--folder', type=Path, metavar='<folder>', help=f'the folder of the lab; default: {FOLDER}')
        return parser

    def configure_logging(self) -> None:
        super().configure_logging()
        for chatty in ('alembic', 'sushy', 'urllib3'):
            logging.getLogger(chatty).setLevel(logging.WARNING)

    def run_subcommand(self, argv: list[str]) -> int:
        try:
            found = self.command_manager.find_command(argv)
        except ValueError as exc:
            print(f'ovca-lab: {exc}; see ovca-lab --help', file=self.stderr)
            return 2
        factory, name, words = found
        command = factory(self, self.options, cmd_name=name)
        try:
            return int(command.run(command.get_parser(f'{self.NAME} {name}').parse_args(words)) or 0)
        except OvcaError as exc:
            if self.options.debug:
                raise
            print(f'ovca-lab: {exc}', file=self.stderr)
            return exc.exit_code


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return ', '.join(f'{key}={item}' for key, item in value.items())
    return ', '.join(value) if isinstance(value, tuple) else value


def _count(text: str) -> int:
    """A number of lines, as the ``type`` of an argument."""
    if not re.fullmatch(r'[1-9]\d{0,8}', text, re.ASCII):
        raise argparse.ArgumentTypeError(f'{text!r} is no number of lines; write one above 0')
    return int(text)


def _value(vice: str, text: str) -> object:
    """The value of a vice; None takes it back."""
    if text in ('off', 'no', 'false'):
        return None
    if vice != 'off_delay':
        if text in ('', 'on', 'yes', 'true'):
            return True
        raise LabError(f'{text!r} is no value for {vice}; write on or off')
    if not re.fullmatch(r'\d{1,6}(\.\d{1,3})?', text, re.ASCII):
        raise LabError(f'{text!r} is no value for {vice}; write seconds, as {vice}=3, or off')
    return float(text)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    return int(LabApp().run(words or ['--help']))


if __name__ == '__main__':
    sys.exit(main())
