"""What the documentation, the pages of the errors and the messages of the program tell to type does exist."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ovca import conf, pages, plugins
from ovca.cli import options
from ovca.cli.app import OvcaApp
from ovca.daemon.__main__ import parser as service_parser
from ovca.lab.cli import COMMANDS as LAB

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / 'doc/source'
MADE = ('errors', 'generated')
TEXTS = sorted(
    path
    for path in [*SOURCES.rglob('*.rst'), *pages.FOLDER.glob('*.rst'), ROOT / 'README.md']
    if not path.is_relative_to(SOURCES) or path.relative_to(SOURCES).parts[0] not in MADE
)
FOR_OPERATORS = [path for path in TEXTS if path.parent.name in ('tasks', 'admin', 'man', 'pages')]
PROMPT = re.compile(r'^\s*(?:#|\$|ovca>) (.*)$(?!\n\s*ovca: )', re.MULTILINE)
"""A line after a prompt; one that is answered with an error is there to show the error."""
LITERAL = re.compile(r'(?<!`)(`{1,2})(ovca(?: [^`]+)?)\1(?!`)')
VARIABLE = re.compile(r'[<{\[]|\.\.\.|N$|VERSION')
"""What stands for something that the reader puts in."""

APP = OvcaApp(stdin=io.StringIO(), stdout=io.StringIO(), stderr=io.StringIO())
APP.options = APP.parser.parse_args([])
COMMANDS = {name for name, found in plugins.chosen('ovca.cli').items() if found.core} | {'help'}
IN_THE_SHELL = {'exit', 'quit', '?'}
OF_THE_EXAMPLE = {'hello-list', 'hello-language'}  # it is not installed here; its own tests run its command lines
GLOBAL = options.parser()._option_string_actions


def typed(text: str, *, prompts: bool = True) -> Iterator[str]:
    """The command lines in a text, without their prompts and what they are piped to."""
    lines = [found[1] for found in PROMPT.finditer(text)] if prompts else []
    lines += [' '.join(found[2].split()) for found in LITERAL.finditer(text)]
    for line in lines:
        for part in re.split(r'\|\|?|&&|;', line):
            if re.match(r'ovca( |$)', part.strip()):
                yield part.strip()


def mistake(line: str) -> str | None:
    """Why a command line cannot be typed; None when it can."""
    try:
        words = shlex.split(line, comments=True)[1:]
    except ValueError:
        words = line.split()[1:]
    words = words[: next((i for i, word in enumerate(words) if word in ('<', '>')), len(words))]
    while words and words[0].startswith('-'):
        name, _, value = words.pop(0).partition('=')
        if name not in GLOBAL:
            return f'there is no option {name}'
        if GLOBAL[name].nargs != 0 and not value:
            words = words[1:]
    if not words or VARIABLE.match(words[0]):
        return None
    command, *rest = words
    if command in OF_THE_EXAMPLE:
        return None
    if command not in COMMANDS | IN_THE_SHELL:
        return f'there is no command {command}'
    if (
        command == 'help'
        and rest
        and not VARIABLE.match(rest[0])
        and rest[0] not in COMMANDS | OF_THE_EXAMPLE | {*pages.ids()}
    ):
        return f'there is no help on {rest[0]}'
    known = APP.command([command])[1]._option_string_actions if command in COMMANDS else {}
    wrong = [word for word in rest if re.match(r'--?[a-z]', word) and word.partition('=')[0] not in known]
    return f'there is no option {wrong[0]} of {command}' if wrong else None


def mistakes(lines: Iterable[str]) -> list[str]:
    return [f'{line}: {why}' for line in lines if (why := mistake(line)) is not None]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize('path', TEXTS, ids=name)
def test_a_page_tells_to_type_only_what_exists(path: Path) -> None:
    assert mistakes(typed(path.read_text())) == []


@pytest.mark.parametrize('path', TEXTS, ids=name)
def test_a_page_names_only_commands_of_the_lab_that_exist(path: Path) -> None:
    named = re.findall(r'\bovca-lab ([a-z][a-z-]+)', path.read_text())

    assert [command for command in named if command not in {*LAB, 'help'}] == []


@pytest.mark.parametrize('path', sorted((ROOT / 'ovca').rglob('*.py')), ids=name)
def test_a_message_tells_to_type_only_what_exists(path: Path) -> None:
    text = re.sub(r"'\n\s*f?'", '', path.read_text())  # a sentence goes on in the next line

    assert mistakes(line for line in typed(text, prompts=False) if '{' not in line) == []


@pytest.mark.parametrize('path', FOR_OPERATORS, ids=name)
def test_a_page_for_operators_names_only_options_that_exist(path: Path) -> None:
    parsers = [APP.command([command])[1] for command in COMMANDS] + [service_parser()]
    known = {*GLOBAL, *(option for parser in parsers for option in parser._option_string_actions)}

    named = re.findall(r'``(--[a-z][a-z-]*)', path.read_text())

    assert [option for option in named if option not in known] == []


@pytest.mark.parametrize('path', [path for path in TEXTS if 'plugins' not in (path.stem, path.parent.name)], ids=name)
def test_a_page_names_only_options_of_the_configuration_that_exist(path: Path) -> None:
    known = {group: {option.dest for option in found} for group, found in conf.list_opts()}

    named = re.findall(r'``\[([a-z]+)\](?: ([a-z_]+))?``', path.read_text())

    assert [(g, o) for g, o in named if o not in known.get(g, set()) | {''} or g not in known] == []


@pytest.mark.parametrize(
    ('line', 'why'),
    [
        ('ovca image-lst', 'there is no command image-lst'),
        ('ovca image-list --fomat json', 'there is no option --fomat of image-list'),
        ('ovca --st a.b=c image-list', 'there is no option --st'),
        ('ovca help no-such-id', 'there is no help on no-such-id'),
        ('ovca --set update.limit_rate=1 image-list -f json > images', None),
        ('ovca help <id>', None),
    ],
)
def test_a_wrong_line_would_be_found(line: str, why: str | None) -> None:
    assert mistake(line) == why
