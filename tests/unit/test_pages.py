"""Each error that ovca raises has an id, and each id a page that tells the truth about it."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import ovca
from ovca import exceptions, pages, plugins
from ovca.cli.app import OvcaApp
from ovca.conf import groups
from ovca.exceptions import OvcaError
from ovca.remaster.plan import error_id
from ovca.remaster.protocol import ENDED, State

ROOT = Path(ovca.__file__).parent
GENERAL = {
    cls.id: cls
    for cls in (
        exceptions.OvcaError,
        exceptions.UsageError,
        exceptions.ConfigError,
        exceptions.ImageError,
        exceptions.FetchError,
        exceptions.Refused,
        exceptions.ServiceUnavailable,
        exceptions.UpdateFailed,
        exceptions.DatabaseError,
        exceptions.SchemaError,
        exceptions.PowerError,
        exceptions.ProvisionError,
        exceptions.PluginError,
        exceptions.BackupError,
    )
}
"""The classes that say how a command ends, but not why: whoever raises one gives the id of the situation."""


CHOSEN = {
    'bmc-': exceptions.PowerError,
    'config-': exceptions.ConfigError,
    'database-': exceptions.DatabaseError,
    'iso-': exceptions.ImageError,
    'proxy-': exceptions.FetchError,
    'schema-': exceptions.SchemaError,
}
"""How the ids begin that functions choose, and the class that is raised with them."""
NAME = re.compile(r'[a-z0-9]+(-[a-z0-9]+)+')
LINE = 80
WORDS = re.compile(r'``(.+?)``', re.DOTALL)
OPTION = re.compile(r'\[(\w+)\]\s+(\w+)\b')


@dataclass(frozen=True)
class Raised:
    """A place in the code where an error is made."""

    place: str
    kind: type[OvcaError]
    id: str | None
    """None: an expression passes on an id that was chosen elsewhere."""


@cache
def raised() -> tuple[Raised, ...]:
    found: list[Raised] = []
    for path in sorted(ROOT.rglob('*.py')):
        relative = path.relative_to(ROOT.parent)
        if relative.parts[1] in ('lab', 'testing') or 'migrations' in relative.parts or path.name == '__main__.py':
            continue
        module = importlib.import_module('.'.join(relative.with_suffix('').parts).removesuffix('.__init__'))
        found += _in(module, ast.parse(path.read_text()), str(relative))
    return tuple(found)


def _in(module: ModuleType, tree: ast.Module, path: str) -> Iterator[Raised]:
    names = _imported(tree) | vars(module)
    for call in ast.walk(tree):
        if isinstance(call, ast.Raise) and isinstance(call.exc, ast.Name):  # a class, raised without arguments
            call = ast.copy_location(ast.Call(call.exc, [], []), call)
        if not isinstance(call, ast.Call):
            continue
        kind = _resolved(call.func, names)
        if isinstance(kind, type) and issubclass(kind, OvcaError):
            place = f'{path}:{call.lineno}'
            given = next((word.value for word in call.keywords if word.arg == 'id'), None)
            if given is None or kind.id not in GENERAL:  # an id that is passed on may be None
                yield Raised(place, kind, kind.id)
            for choice in _choices(given) if given is not None else ():
                yield Raised(place, kind, choice)


def _imported(tree: ast.Module) -> dict[str, object]:
    """What is imported inside functions too."""
    found: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith('ovca'):
            module = importlib.import_module(node.module)
            found |= {alias.asname or alias.name: getattr(module, alias.name, None) for alias in node.names}
    return found


def _resolved(node: ast.expr, names: dict[str, object]) -> object:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_resolved(node.value, names), node.attr, None)
    return None


def _choices(given: ast.expr) -> Iterator[str | None]:
    if isinstance(given, ast.Constant):
        yield str(given.value)
    elif isinstance(given, ast.IfExp):
        yield from _choices(given.body)
        yield from _choices(given.orelse)
    elif isinstance(given, ast.BoolOp):
        for value in given.values:
            yield from _choices(value)
    else:
        yield None


@cache
def chosen() -> frozenset[str]:
    """The ids that tables and functions choose: every text in the code that looks like one of ``CHOSEN``."""
    found = set()
    for path in ROOT.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                found |= {node.value for start in CHOSEN if node.value.startswith(start)}
    return frozenset(found - set(plugins.names('ovca.cli')))


def statuses() -> dict[str, set[int]]:
    """The exit statuses with which each id ends a command."""
    found: dict[str, set[int]] = {id: {cls.exit_code} for id, cls in GENERAL.items()}
    for each in raised():
        if each.id is not None:
            found.setdefault(each.id, set()).add(each.kind.exit_code)
    for state in ENDED - {State.DONE}:
        kind = exceptions.UpdateAborted if state is State.ABORTED else exceptions.UpdateFailed
        found[error_id(state)] = {kind.exit_code}
    for start, kind in CHOSEN.items():
        for id in chosen() - set(found):
            if id.startswith(start):
                found[id] = {kind.exit_code}
    return found


def test_every_error_is_raised_with_an_id_that_has_a_page() -> None:
    without = [f'{each.place}: {each.id}' for each in raised() if each.id is not None and pages.page(each.id) is None]

    assert without == []
    assert chosen() - set(pages.ids()) == set()


def test_an_error_of_a_general_class_names_its_situation() -> None:
    vague = [f'{each.place}: {each.kind.__name__}' for each in raised() if each.id in GENERAL]

    assert vague == []


def test_an_id_always_ends_with_the_same_exit_status() -> None:
    assert {id: found for id, found in statuses().items() if len(found) > 1} == {}


def test_every_page_explains_an_error_that_can_come_up() -> None:
    assert set(pages.ids()) - set(statuses()) == set()


@pytest.mark.parametrize('id', pages.ids())
def test_a_page_is_in_the_form_that_an_operator_knows(id: str) -> None:
    text = pages.page(id) or ''
    title, line, empty, *rest = text.splitlines()
    first, heading, second = '\n'.join(rest).partition('\nWhat to do\n----------\n')

    assert line == '=' * len(title)
    assert empty == ''
    assert re.search(r'\n\nExit status: (\d+)\n$', first), 'the first section ends with the exit status'
    assert heading
    assert second.strip()
    assert [each for each in text.splitlines() if len(each) > LINE] == []
    assert [each for each in text.splitlines() if each.startswith('..')] == [], 'a terminal knows no directives'


@pytest.mark.parametrize('id', pages.ids())
def test_a_page_tells_the_exit_status_of_its_error(id: str) -> None:
    told = {int(number) for number in re.findall(r'^Exit status: (\d+)$', pages.page(id) or '', re.MULTILINE)}

    assert told == statuses()[id]


def test_the_commands_in_the_pages_exist_and_take_what_is_written_there() -> None:
    app = OvcaApp()
    app.options = app.parser.parse_args([])
    wrong = []
    for id in pages.ids():
        for words in commands(id):
            problem = wrong_words(app, words)
            if problem:
                wrong.append(f'{id}: {" ".join(words)}: {problem}')

    assert wrong == []


def commands(id: str) -> Iterator[list[str]]:
    """Every command of ovca that a page writes, without ``ovca`` and its global options."""
    text = pages.page(id) or ''
    lines = [line.strip().removeprefix('# ') for line in text.splitlines() if line.startswith('    ')]
    for written in [*WORDS.findall(text), *lines]:
        words = shlex.split(written, comments=True) if written.startswith('ovca ') else []
        while len(words) > 1 and words[1].startswith('--'):
            words = [words[0], *words[3 if words[1] in ('--set', '--config-file') else 2 :]]
        if len(words) > 1 and not words[1].startswith('<'):
            yield words[1:]


def wrong_words(app: OvcaApp, words: list[str]) -> str | None:
    name, *rest = words
    if name not in app.command_manager.names():
        return 'no such command'
    options = app.command([name])[1]._option_string_actions
    for word in rest:
        if word.startswith('-') and word.partition('=')[0] not in options:
            return f'no option {word}'
    named = [word for word in rest if not word.startswith(('-', '<'))]
    if name == 'help' and named and named[0] not in [*pages.ids(), *app.command_manager.names()]:
        return 'explains nothing'
    if name == 'config-show' and named and named[0] not in groups.core():
        return 'no such group'
    if '--group' in rest and named and named[0] not in plugins.GROUPS:
        return 'no such group of extensions'
    return None


def test_the_options_in_the_pages_exist() -> None:
    known = {group: {option.dest for option in options} for group, options in groups.core().items()}

    wrong = [
        f'{id}: [{group}] {option}'
        for id in pages.ids()
        for group, option in OPTION.findall(re.sub(r'^    .*$', '', pages.page(id) or '', flags=re.MULTILINE))
        if option not in known.get(group, ())
    ]

    assert wrong == []
