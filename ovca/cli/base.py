"""What all commands have in common."""

from __future__ import annotations

import argparse
import datetime as dt
import enum
import re
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cliff import _argparse, command, lister, show

from ovca import plugins
from ovca.exceptions import PluginError, Refused, UsageError

if TYPE_CHECKING:
    from oslo_config import cfg

Table = tuple[Sequence[str], Iterable[Sequence[Any]]]
Record = tuple[Sequence[str], Sequence[Any]]


def plain(value: Any) -> Any:
    """Return a value that every output format can carry: times as ISO-8601 in UTC, enums as words."""
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return moment.astimezone(dt.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def shown(value: Any) -> Any:
    """Return a plain value as people read it in a table; what could steer a terminal is made visible."""
    if value is None:
        return ''
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, dict):
        return '\n'.join(f'{k}: {shown(v)}' for k, v in value.items())
    if isinstance(value, list):
        return ', '.join(str(shown(v)) for v in value)
    if isinstance(value, str):
        return ''.join(c if c.isprintable() or c == '\n' else ascii(c)[1:-1] for c in value)
    return value


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
    """Shortcuts, and the mending of what cliff does for each command."""

    exit_code = 0
    """The exit status of a command that returns a table or a record; :meth:`take_action` may set it."""

    app: Any

    def _load_hooks(self) -> None:
        # cliff takes them from stevedore's cache, which can be stale, and passes over broken ones.
        self._hooks: Any = []
        if not self.cmd_name:
            return
        for extension in plugins.extensions(f'{self.app.command_manager.namespace}.{self.cmd_name}'):
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

    @property
    def conf(self) -> cfg.ConfigOpts:
        """The configuration."""
        conf: cfg.ConfigOpts = self.app.conf
        return conf

    @property
    def service(self) -> Any:
        """The remaster service."""
        return self.app.service

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        stdin = getattr(self.app, 'stdin', None)
        return bool(stdin and stdin.isatty())

    def complain(self, text: str) -> None:
        """Tell the operator something that belongs to no output."""
        self.app.stderr.write(f'{self.app.NAME}: {text}\n')

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


class Lister(_Common, lister.Lister):
    """A command that returns a table."""

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Iterable[Sequence[Any]]
    ) -> int:
        rows = [tuple(_value(value, parsed_args) for value in row) for row in data]
        _check_columns(parsed_args, column_names, self._normalize_column_name)
        return super().produce_output(parsed_args, column_names, rows)

    def run(self, parsed_args: argparse.Namespace) -> int:
        return super().run(parsed_args) or self.exit_code


class ShowOne(_Common, show.ShowOne):
    """A command that returns one record."""

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Sequence[Any]) -> int:
        values = tuple(_value(value, parsed_args) for value in data)
        _check_columns(parsed_args, column_names, self._normalize_column_name)
        return super().produce_output(parsed_args, column_names, values)

    def run(self, parsed_args: argparse.Namespace) -> int:
        return super().run(parsed_args) or self.exit_code


def _value(value: Any, parsed_args: argparse.Namespace) -> Any:
    return shown(plain(value)) if parsed_args.formatter == 'table' else plain(value)


def _check_columns(parsed_args: argparse.Namespace, names: Sequence[str], normal: Any) -> None:
    known = [normal(name) for name in names]
    for name in parsed_args.columns:
        if normal(name) not in known:
            raise UsageError(f'there is no column {name}; the columns are {", ".join(names)}')
