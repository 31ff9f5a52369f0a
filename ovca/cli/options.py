"""The options that stand before the command. Light: ``ovca --version`` imports nothing else."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

import ovca
from ovca.exceptions import UsageError

NAME = 'ovca'
DESCRIPTION = 'Update all software of an appliance that two management nodes run.'
OURS = ('-h', '--help', '--version', '--config-file', '--set', '--debug', '--keep-going')
OTHERS = ('-v', '--verbose', '-q', '--quiet', '--log-file')
"""The global options of any other cliff application that takes our commands in."""
RESERVED = OURS + OTHERS
"""What no command may own: in front of it, or in another application, the word has another meaning."""

_NUMBER = re.compile(r'(?<=: )invalid (int|float) value: (.*)')


class GlobalParser(argparse.ArgumentParser):
    """The parser; what is wrong is an error like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f'{message}; see `{NAME} --help`', id='bad-option')

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Name a misspelt option, and the right one; argparse would take it for the command."""
        found, rest = super().parse_known_args(args, namespace)
        if rest or (found.words and found.words[0].startswith('-')):
            raise UsageError(wrong_option(self, (rest or found.words)[0]), id='bad-option')
        return found, rest


def parser() -> GlobalParser:
    """The options that stand before the command; everything from the command's name on is left alone."""
    result = GlobalParser(
        prog=NAME,
        description=DESCRIPTION,
        usage='%(prog)s [options] <command> [arguments]',
        epilog='Without a command: a shell of these commands, or the lines that come from a pipe.',
        add_help=False,
        allow_abbrev=False,
    )
    result.add_argument('-h', '--help', action='store_true', help='show this, and all commands')
    result.add_argument('--version', action='version', version=f'{NAME} {ovca.__version__}', help='show the version')
    result.add_argument(
        '--config-file',
        metavar='<file>',
        help='the configuration (default: that of $OVCA_CONFIG_FILE, or else /etc/ovca.conf)',
    )
    result.add_argument(
        '--set',
        metavar='<group.option=value>',
        action='append',
        default=[],
        help='set an option of the configuration for this run; may be repeated',
    )
    result.add_argument('--debug', action='store_true', help='log everything, and show where errors come from')
    result.add_argument(
        '--keep-going', action='store_true', help='run all lines of a script, and end with the first failing status'
    )
    result.add_argument('words', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return result


def plainly(message: str) -> str:
    """What argparse says, without Python's words for a number that is none."""
    return _NUMBER.sub(lambda found: f'{found[2]} is no {"whole " if found[1] == "int" else ""}number', message)


def wrong_option(parser: argparse.ArgumentParser, word: str) -> str:
    """One sentence on a word that the parser does not know, with the nearest that it knows."""
    import difflib

    if not word.startswith('-') or word == '-':
        return f'{word!r} is one argument too many; see `{parser.prog} --help`'
    given = word.partition('=')[0]
    if given in parser._option_string_actions:
        return f'{given} stands behind --, so it counts as an argument, and is one too many; put it before --'
    known = [option for option in parser._option_string_actions if option.startswith('--')]
    close = [option for option in known if option.startswith(given) and len(given) > 2]
    # Without the dashes: all options have them, and short ones would be alike for that alone.
    names = [option.removeprefix('--') for option in known]
    close = close[:3] or [f'--{name}' for name in difflib.get_close_matches(given.lstrip('-'), names, 2, 0.6)]
    return f'there is no option {given}; ' + (
        f'did you mean {" or ".join(close)}?' if close else f'see `{parser.prog} --help`'
    )
