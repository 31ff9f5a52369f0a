"""What all commands have in common."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cliff import command, lister, show

from ovca.exceptions import Refused

if TYPE_CHECKING:
    from oslo_config import cfg

Table = tuple[Sequence[str], Iterable[Sequence[Any]]]
Record = tuple[Sequence[str], Sequence[Any]]


def plain(value: Any) -> Any:
    """Return a value that every output format can show: times as ISO-8601 in UTC, enums as words."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


class _Common:
    """Shortcuts, and no search for the package that a command comes from."""

    app: Any

    def get_epilog(self) -> str:
        """cliff would look through every installed package's files for it."""
        return ''

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

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask once, unless ``--yes`` was given.

        :raises Refused: the answer is no, or there is nobody to ask.
        """
        if yes:
            return
        if not self.interactive:
            raise Refused('there is no terminal to ask on; nothing was done. Repeat the command with --yes')
        self.app.stdout.write(f'{question} [y/N] ')
        self.app.stdout.flush()
        if self.app.stdin.readline().strip().lower() not in ('y', 'yes'):
            raise Refused('nothing was done')


class Command(_Common, command.Command):  # type: ignore[misc]  # cliff has no annotations
    """A command that acts."""


class Lister(_Common, lister.Lister):  # type: ignore[misc]
    """A command that returns a table."""

    def produce_output(self, parsed_args: Any, column_names: Any, data: Any) -> int:
        rows = [tuple(plain(value) for value in row) for row in data]
        return int(super().produce_output(parsed_args, column_names, rows) or 0)


class ShowOne(_Common, show.ShowOne):  # type: ignore[misc]
    """A command that returns one record."""

    def produce_output(self, parsed_args: Any, column_names: Any, data: Any) -> int:
        values = tuple(plain(value) for value in data)
        return int(super().produce_output(parsed_args, column_names, values) or 0)
