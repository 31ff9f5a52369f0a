"""What all commands have in common."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cliff import _argparse, command, lister, show

from ovca import plugins
from ovca.cli.output import Formats, plain, readable, shown
from ovca.exceptions import OvcaError, PluginError, Refused, UsageError

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = [
    'Command',
    'Lister',
    'Record',
    'ShowOne',
    'Table',
    'completes',
    'images',
    'nodes',
    'plain',
    'shown',
]

Table = tuple[Sequence[str], Iterable[Sequence[Any]]]
Record = tuple[Sequence[str], Sequence[Any]]
HOOKS = 'ovca.cli'
"""The group whose sub-groups, ``ovca.cli.<command>``, hold the hooks of the commands."""


Source = Callable[[Any], Iterable[str]]


def completes(action: argparse.Action, source: Source) -> argparse.Action:
    """Let Tab offer values for an argument: ``source`` gets the remaster service and returns words.

    It is called while somebody types, so it must be quick and may fail; then nothing is offered.
    """
    action.complete = source  # type: ignore[attr-defined]
    return action


def images(service: Any) -> Iterable[str]:
    """The versions of the published images, for :func:`completes`."""
    return [image.version for image in service.images()]


def nodes(service: Any) -> Iterable[str]:
    """The names of the nodes, for :func:`completes`."""
    return [node.name for node in service.nodes()]


def updates(service: Any) -> Iterable[str]:
    """The ids of the last updates, for :func:`completes`."""
    return [str(update.id) for update in service.updates()]


def event_kinds(service: Any) -> Iterable[str]:
    """The kinds of events, for :func:`completes`."""
    from ovca.db.events import KINDS

    return KINDS


def groups(service: Any) -> Iterable[str]:
    """The groups of the configuration, for :func:`completes`."""
    from ovca import conf

    return [group for group, _ in conf.list_opts()]


def files(service: Any) -> Iterable[str]:
    """Any path, for :func:`completes`; who completes them looks at what was typed. A ``type`` of Path says the same."""
    return ()


def unpaged(parser: argparse.ArgumentParser) -> None:
    """Make ``--help`` print. cliff's parsers would start a pager, and ``!`` in ``less`` is a shell."""
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            action.__class__ = argparse._HelpAction
        elif isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                unpaged(inner)


class HelpFormatter(_argparse.SmartHelpFormatter):
    """Keeps the paragraphs of a description, and its example on a line of its own."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = []
        for block in re.split(r'\n(?=Example: )|\n\n', text):
            example = block.removeprefix('Example: ')
            filled = super()._fill_text(block, width, indent)
            blocks.append(filled if example == block else f'Example:\n  {example}')
        return '\n\n'.join(blocks)


class _Common(command.Command):
    """Shortcuts, and the mending of what cliff does for each command.

    The commands work in another cliff application too, one that knows nothing of ovca: there they read the
    configuration that ``--config-file`` names if the application has such an option, and report errors themselves.
    """

    exit_code = 0
    """The exit status of a command that returns a table or a record; :meth:`take_action` may set it."""

    app: Any
    _own_conf: cfg.ConfigOpts | None = None
    _own_service: Any = None

    def _load_hooks(self) -> None:
        # cliff takes them from stevedore's cache, which can be stale, and passes over broken ones.
        self._hooks: Any = []
        if not self.cmd_name:
            return
        for extension in plugins.extensions(f'{HOOKS}.{self.cmd_name}'):
            try:
                self._hooks.append(SimpleNamespace(obj=plugins.load(extension)(command=self)))
            except PluginError as exc:
                self.complain(str(exc))

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.formatter_class = HelpFormatter
        return parser

    def get_epilog(self) -> str:
        """The hooks' words. cliff would also look through the files of every package for the command's own."""
        epilogs = [self._epilog, *(hook.obj.get_epilog() for hook in self._hooks)]
        return '\n\n'.join(text for text in epilogs if text)

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; return the exit status. In ovca itself errors are the application's."""
        try:
            return super().run(parsed_args) or self.exit_code
        except OvcaError as exc:
            if getattr(self.app, 'reports_errors', False):
                raise
            self.complain(exc.with_id)
            return exc.exit_code

    @property
    def conf(self) -> cfg.ConfigOpts:
        """The configuration. :raises ConfigError: it is wrong."""
        conf: cfg.ConfigOpts | None = getattr(self.app, 'conf', None) or self._own_conf
        if conf is None:
            from ovca import conf as configuration

            conf = self._own_conf = configuration.load(getattr(self.app_args, 'config_file', None))
        return conf

    @property
    def service(self) -> Any:
        """The remaster service, which commands delegate to."""
        service = getattr(self.app, 'service', None) or self._own_service
        if service is None:
            from ovca.remaster.service import Service

            service = self._own_service = Service(self.conf)
        return service

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        stdin = getattr(self.app, 'stdin', None)
        return bool(stdin and stdin.isatty())

    def complain(self, text: str) -> None:
        """Tell the operator something that belongs to no output."""
        self.app.stderr.write(f'{self.app.NAME}: {shown(text)}\n')

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask once, unless ``--yes`` was given.

        :raises Refused: the answer is no, or there is nobody to ask.
        """
        if yes:
            return
        if not self.interactive:
            raise Refused(
                'there is no terminal to ask on; nothing was done. Repeat the command with --yes', id='no-terminal'
            )
        self.app.stderr.write(f'{question} [y/N] ')
        self.app.stderr.flush()
        if self.app.stdin.readline().strip().lower() not in ('y', 'yes'):
            raise Refused('the answer was not yes; nothing was done', id='declined')


class Command(_Common):
    """A command that acts."""


WORDS = {
    '--format': (None, 'how the result is written (default: table)'),
    '--column': ('<column>', 'show this column only; may be repeated'),
    '--sort-column': ('<column>', 'sort by this column; may be repeated, the first one counts most'),
    '--sort-ascending': (None, 'the smallest first, which is the default'),
    '--sort-descending': (None, 'the largest first'),
}
"""The options that cliff gives to commands that return data, with placeholders and words that hold here."""


class _Showing(_Common):
    """What commands that return data have in common."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        for option, (metavar, text) in WORDS.items():
            action = parser._option_string_actions.get(option)
            if action is not None:
                action.metavar, action.help = metavar or action.metavar, text
        return parser

    def _load_formatter_plugins(self) -> Any:
        return Formats()

    def _ready(self, parsed_args: argparse.Namespace, names: Sequence[str], row: Sequence[Any]) -> list[Any]:
        """A row as its format wants it."""
        if parsed_args.formatter == 'table':
            return [readable(name, value) for name, value in zip(names, row, strict=True)]
        return [plain(value) for value in row]

    def _check_columns(self, parsed_args: argparse.Namespace, names: Sequence[str]) -> None:
        for name in [*parsed_args.columns, *getattr(parsed_args, 'sort_columns', ())]:
            if _column(name) not in names:
                raise UsageError(f'there is no column {name}; the columns are {", ".join(names)}', id='no-column')


def _column(name: str) -> str:
    return name.lower().strip().replace(' ', '_')


def _rank(value: Any) -> tuple[bool, bool, Any]:
    """The order of values in a column: numbers, then texts, then what is unknown."""
    value = plain(value)
    number = isinstance(value, int | float)
    return value is None, not number, value if number else str(value)


class Lister(_Showing, lister.Lister):
    """A command that returns a table."""

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Iterable[Sequence[Any]]
    ) -> int:
        self._check_columns(parsed_args, column_names)
        rows = list(data)
        for name in reversed(parsed_args.sort_columns):
            index = list(column_names).index(_column(name))
            rows.sort(key=lambda row: _rank(row[index]), reverse=parsed_args.sort_direction == 'desc')
        ready = [self._ready(parsed_args, column_names, row) for row in rows]
        return super().produce_output(parsed_args, column_names, ready)

    @property
    def need_sort_by_cliff(self) -> bool:
        """No: it would sort sizes and times as they are shown."""
        return False


class ShowOne(_Showing, show.ShowOne):
    """A command that returns one record."""

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Sequence[Any]) -> int:
        self._check_columns(parsed_args, column_names)
        return super().produce_output(parsed_args, column_names, self._ready(parsed_args, column_names, data))
