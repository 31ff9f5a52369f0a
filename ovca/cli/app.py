"""The command line: loads commands by entry point, reports errors in one sentence, and sets the exit status.

It stands on cliff's application and mends what an operator would stumble over: a command is imported only when it
runs; a core command cannot be replaced; a broken plugin is named; nothing is abbreviated.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cliff.app import App
from cliff.commandmanager import CommandManager

import ovca
from ovca import plugins
from ovca.exceptions import Interrupted, OvcaError, PluginError

if TYPE_CHECKING:
    from oslo_config import cfg

GROUP = 'ovca.cli'
LOG = logging.getLogger(__name__)


class Commands(CommandManager):
    """The commands of one entry-point group, found without importing any of them."""

    def __init__(self, namespace: str = GROUP) -> None:
        super().__init__(namespace)
        self.known = plugins.chosen(namespace)

    def load_commands(self, namespace: str) -> None:
        """Read nothing here: the entry points are read in the constructor, and imported when a command runs."""

    def __iter__(self) -> Any:
        return iter(sorted((name, extension.entry) for name, extension in self.known.items()))

    def find_command(self, argv: list[str]) -> tuple[Any, str, list[str]]:
        """Return the command's class, its name, and the rest; names are never abbreviated.

        :raises ValueError: there is no such command.
        """
        if not argv or argv[0] not in (*self.known, *self.commands):
            raise ValueError(argv[0] if argv else '')
        name = argv[0]
        if name in self.commands:
            return self.commands[name].load(), name, argv[1:]
        return plugins.load(self.known[name]), name, argv[1:]


class OvcaApp(App):
    """The application ``ovca``."""

    NAME = 'ovca'
    LOG = logging.getLogger('ovca')

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            description='Update all software of an appliance that two management nodes run.',
            version=ovca.__version__,
            command_manager=Commands(),
            deferred_help=True,
            **kwargs,
        )
        self._conf: cfg.ConfigOpts | None = None
        self._service: Any = None

    def build_option_parser(
        self, description: str | None, version: str | None, argparse_kwargs: dict[str, Any] | None = None
    ) -> argparse.ArgumentParser:
        """The options that stand before the command."""
        parser: argparse.ArgumentParser = super().build_option_parser(description, version, argparse_kwargs)
        parser.add_argument('--config-file', metavar='<file>', help='The configuration (default: /etc/ovca.conf).')
        parser.add_argument(
            '--set',
            metavar='<group.option=value>',
            action='append',
            default=[],
            help='Set an option for this run; may be repeated.',
        )
        return parser

    @property
    def conf(self) -> cfg.ConfigOpts:
        """The configuration, read when it is first needed. :raises ConfigError: it is wrong."""
        if self._conf is None:
            from ovca import conf

            self._conf = conf.load(self.options.config_file, self.options.set)
        return self._conf

    @property
    def service(self) -> Any:
        """What the commands delegate to: the remaster service."""
        if self._service is None:
            from ovca.remaster.service import Service

            self._service = Service(self.conf)
        return self._service

    def run(self, argv: list[str]) -> int:
        """Run one command; return its exit status."""
        try:
            return int(super().run(argv) or 0)
        except SystemExit as exc:
            # argparse ends the program by itself: 0 for --help, 2 for a wrong argument.
            return exc.code if isinstance(exc.code, int) else 2
        except BrokenPipeError:
            sys.stdout = open(os.devnull, 'w')  # noqa: SIM115, PTH123 - the reader went away; nothing is to be said
            return 0

    def run_subcommand(self, argv: list[str]) -> int:
        """Find the command and run it; every error becomes one sentence and an exit status."""
        try:
            factory, name, rest = self.command_manager.find_command(argv)
        except ValueError as exc:
            return self._unknown(str(exc))
        except PluginError as exc:
            return self._fail(exc)
        command = factory(self, self.options, cmd_name=name)
        try:
            parsed = command.get_parser(f'{self.NAME} {name}').parse_args(rest)
            return int(command.run(parsed) or 0)
        except KeyboardInterrupt:
            return self._fail(Interrupted('interrupted'))
        except OvcaError as exc:
            return self._fail(exc)
        except BrokenPipeError:
            raise
        except Exception as exc:
            if self.options.debug:
                raise
            print(
                f'{self.NAME}: {type(exc).__name__}: {exc}; this is a mistake in {self.NAME}, run it again with --debug '
                f'and report what it shows',
                file=self.stderr,
            )
            return 1

    def _fail(self, exc: OvcaError) -> int:
        if self.options.debug and not isinstance(exc, Interrupted):
            LOG.exception('%s', exc)
        print(f'{self.NAME}: {exc}', file=self.stderr)
        return exc.exit_code

    def _unknown(self, word: str) -> int:
        close = difflib.get_close_matches(word, list(self.command_manager.known), 3, 0.5)
        hint = f'did you mean {" or ".join(close)}?' if close else f'see `{self.NAME} help` for all commands'
        print(f'{self.NAME}: {word!r} is not a command; {hint}', file=self.stderr)
        return 2

    def interact(self) -> int:
        """Without a command there is nothing to run: show the help."""
        self.parser.print_help(self.stdout)
        return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    words = list(sys.argv[1:] if argv is None else argv)
    return OvcaApp().run(words or ['--help'])


if __name__ == '__main__':
    sys.exit(main())
