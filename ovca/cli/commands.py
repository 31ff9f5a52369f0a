"""The commands: found by entry point without importing them, and the command that explains them."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cliff.commandmanager import CommandManager, EntryPointWrapper

from ovca import pages, plugins
from ovca.cli import base, overview
from ovca.exceptions import UsageError

if TYPE_CHECKING:
    from ovca.cli.app import OvcaApp

GROUP = overview.GROUP


class Commands(CommandManager):
    """The commands of one entry-point group.

    A core command cannot be replaced, and a name is never abbreviated: rules that hang on a command's name would not
    see the abbreviated ones.
    """

    def __init__(self, namespace: str = GROUP) -> None:
        super().__init__(namespace, convert_underscores=False)
        self.known = plugins.chosen(namespace)

    def load_commands(self, namespace: str) -> None:
        """Read nothing here: cliff would import every command at every run."""
        self.group_list.append(namespace)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(sorted([*((name, e.entry) for name, e in self.known.items()), *self.commands.items()]))

    def names(self) -> list[str]:
        return [name for name, _ in self]

    def get_command_names(self, group: str | None = None) -> list[str]:
        return list(plugins.chosen(group)) if group else self.names()

    def find_command(self, argv: list[str]) -> tuple[Any, str, list[str]]:
        """Return the command's class, its name, and the rest of the words.

        :raises UsageError: there is no such command.
        :raises PluginError: it cannot be imported.
        """
        if not argv:
            raise UsageError('a command is missing; see `ovca help` for all of them', id='no-command')
        name = argv[0]
        if name in self.known:
            return plugins.load(self.known[name]), name, argv[1:]
        own = self.commands.get(name)
        if isinstance(own, EntryPointWrapper):
            return own.load(), name, argv[1:]
        raise UsageError(f'{name!r} is not a command; {_hint(name, self.names())}', id='no-command')


def _hint(word: str, names: list[str]) -> str:
    close = [name for name in names if name.startswith(word)] if len(word) > 1 else []
    close = close[:3] or difflib.get_close_matches(word, names, 3, 0.6)
    return f'did you mean {" or ".join(close)}?' if close else 'see `ovca help` for all of them'


class Help(base.Command):
    """Explain a command or an error, or list all commands.

    Example: ovca help update
    """

    app: OvcaApp

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        topic = parser.add_argument(
            'topic', metavar='<topic>', nargs='?', help='a command, or the id in brackets that ends an error'
        )
        base.completes(topic, lambda service: [*self.app.command_manager.names(), *pages.ids(), *pages.brought()])
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        topic = (parsed_args.topic or '').strip('[]')
        names = self.app.command_manager.names()
        if not topic:
            overview.write(self.app.stdout, self.app.stderr)
        elif topic in names:
            self.app.command([topic])[1].print_help(self.app.stdout)
        elif (page := pages.page(topic)) is not None:
            self.app.stdout.write(page)
        else:
            raise UsageError(_unknown(topic, names), id='no-command')


def _unknown(topic: str, commands: list[str]) -> str:
    """One sentence on a topic that nobody explains. An id that begins with none of our words may be a plugin's."""
    ours, theirs = pages.ids(), pages.brought()
    word, dash, _ = topic.partition('-')
    if not dash or word in {id.partition('-')[0] for id in ours}:
        return f'{topic!r} is neither a command nor the id of an error; {_hint(topic, [*commands, *ours, *theirs])}'
    maker = pages.maker(topic)
    if maker is None:
        return (
            f'{topic!r} is neither a command nor the id of an error of ovca; it may be one of a plugin, which brings '
            f'no page for it or is not installed here: see `ovca plugin-list`'
        )
    close = difflib.get_close_matches(topic, theirs, 3, 0.6)
    hint = f'did you mean {" or ".join(close)}?' if close else 'ask its maker'
    return f'{topic!r} may be an error of package {maker.package} {maker.version}, which has no such page; {hint}'
