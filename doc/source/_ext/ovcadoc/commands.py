"""The commands and the options of the command line, from their parsers."""

from __future__ import annotations

import argparse
import functools
import io
from collections.abc import Iterable

from ovca import plugins
from ovca.cli import base, options
from ovca.cli.app import OvcaApp
from ovca.cli.commands import GROUP
from ovcadoc import rst

WIDTH = 76
OUTPUT = '[output options]'
HELP = '-h'


def global_options(*, linked: bool) -> str:
    """The options that stand before the command."""
    return _options(options.parser()._actions, linked)


def service_options() -> str:
    """The options of ``ovcad``."""
    from ovca.daemon.__main__ import parser

    return _options(parser()._actions, linked=False)


def output_options(*, linked: bool) -> str:
    """What all commands that show something have in common."""
    return _options(_common().values(), linked)


def reference(*, linked: bool) -> str:
    """All commands of this package, by their names. ``linked`` pages are part of a web; a man page is not."""
    app = OvcaApp(stdin=io.StringIO(), stdout=io.StringIO(), stderr=io.StringIO())
    app.options = app.parser.parse_args([])
    names = sorted(['help', *(name for name, found in plugins.chosen(GROUP).items() if found.core)])
    return '\n'.join(_command(app, name, linked) for name in names)


def _command(app: OvcaApp, name: str, linked: bool) -> str:
    command, parser, _ = app.command([name])
    own = [action for action in parser._actions if not _known(action)]
    text, _, example = (parser.description or '').partition('Example: ')
    parts = [f'.. index:: single: command; {name}\n\n.. _command-{name}:\n'] if linked else []
    parts += [
        rst.heading(name, '~'),
        *([f'.. program:: ovca {name}\n'] if linked else []),
        '\n\n'.join(rst.escaped(' '.join(block.split())) for block in text.strip().split('\n\n')) + '\n',
        rst.block(_usage(parser, own, isinstance(command, base.Lister | base.ShowOne)), 'text'),
        _options(own, linked),
    ]
    if example:
        parts.append(f'Example:\n\n{rst.block(f"# {example.strip()}")}')
    return '\n'.join(parts)


def _usage(parser: argparse.ArgumentParser, own: list[argparse.Action], shows: bool) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=WIDTH)
    groups = [group for group in parser._mutually_exclusive_groups if set(group._group_actions) <= set(own)]
    named = [action for action in own if action.help != argparse.SUPPRESS and HELP not in action.option_strings]
    formatter.add_usage(None, named, groups, prefix='')
    usage = formatter.format_help().strip()
    return f'{usage} {OUTPUT}' if shows else usage


@functools.cache
def _common() -> dict[tuple[str, ...], argparse.Action]:
    """The options that a command gets from being a list or a record."""

    class List(base.Lister):
        def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
            raise NotImplementedError

    class Show(base.ShowOne):
        def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
            raise NotImplementedError

    found = {}
    for kind in (List, Show):
        parser = kind(OvcaApp(), argparse.Namespace()).get_parser('ovca')
        found.update({_key(action): action for action in parser._actions if HELP not in action.option_strings})
    return found


def _key(action: argparse.Action) -> tuple[str, ...]:
    return tuple(action.option_strings) or (action.dest,)


def _known(action: argparse.Action) -> bool:
    return HELP in action.option_strings or _key(action) in _common()


def _options(actions: Iterable[argparse.Action], linked: bool) -> str:
    shown = [action for action in actions if action.help != argparse.SUPPRESS]
    if not linked:
        return rst.definitions((f'**{_signature(a)}**', _explained(a)) for a in shown)
    return '\n'.join(f'.. option:: {_signature(a)}\n\n{rst.indented(_explained(a))}\n' for a in shown)


def _signature(action: argparse.Action) -> str:
    name = max(action.option_strings, key=len, default=action.dest).lstrip('-')
    value = '' if action.nargs == 0 else str(action.metavar or f'<{name}>')
    return ', '.join(f'{option} {value}'.strip() for option in action.option_strings) or value


def _explained(action: argparse.Action) -> str:
    text = rst.escaped(' '.join(str(action.help or '').split()))
    sentence = f'{text[:1].upper()}{text[1:]}' + ('' if text.endswith('.') else '.')
    if action.choices is not None and action.metavar is None:
        sentence += f' One of {", ".join(f"``{choice}``" for choice in action.choices)}.'
    return sentence
