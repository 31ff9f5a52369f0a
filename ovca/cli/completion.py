"""What Tab offers: decided from a command's own parser and the words so far; the same in ovca's shell and in others."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.cli import base, places

if TYPE_CHECKING:
    from ovca.cli.app import OvcaApp

PATIENCE = 1.0
"""Seconds that a source of values gets: somebody is waiting with a finger on the key."""
_REPEATABLE = (argparse._AppendAction, argparse._AppendConstAction, argparse._ExtendAction, argparse._CountAction)
_FILES = ('<file>', '<folder>')
_REST = (argparse.REMAINDER, argparse.PARSER)


@dataclass(frozen=True)
class Offer:
    """What may stand at the end of a line."""

    words: tuple[str, ...] = ()
    files: bool = False
    """Whether a path may stand there too."""
    prefix: str = ''
    """What stands before the path within its word, as ``--output=``."""

    def starting(self, current: str) -> Offer:
        """What of it begins with what was typed."""
        return Offer(tuple(word for word in self.words if word.startswith(current)), self.files, self.prefix)


@dataclass
class Place:
    """Where the next word of a command line stands, as its parser will read it."""

    parser: argparse.ArgumentParser
    option: argparse.Action | None = None
    """The option whose value comes next."""
    positional: argparse.Action | None = None
    """The argument that comes next, unless it is an option."""
    used: set[argparse.Action] = field(default_factory=set)
    options: bool = True
    """Whether an option may still come."""


def candidates(app: OvcaApp, words: Sequence[str], current: str) -> list[str]:
    """The words that may stand after ``words`` (a command and what follows it) and begin with ``current``.

    Whatever goes wrong, nothing is printed or raised, and nothing is offered. Only the command itself is imported.
    """
    found = offer(app, words, current)
    return [*found.words, *_paths(found, current)]


def offer(app: OvcaApp, words: Sequence[str], current: str) -> Offer:
    """The same for callers that complete paths themselves."""
    with _quiet(app):
        try:
            if not words:
                return Offer(tuple(app.command_manager.names())).starting(current)
            return _next(app, place(app.command(list(words[:1]))[1], words[1:]), current)
        except (Exception, SystemExit):  # a plugin's parser may raise anything; who types has no use for it
            return Offer()


def program(app: OvcaApp, words: Sequence[str], current: str) -> Offer:
    """What may stand after the name of the program and ``words``, among which are the program's own options."""
    with _quiet(app):
        try:
            here = place(app.parser, words)
            if here.options:
                found = _next(app, here, current)
                return found if here.option or current.startswith('-') else offer(app, (), current)
            app.options = app.parser.parse_args(list(words))
            return offer(app, app.options.words, current)
        except (Exception, SystemExit):
            return Offer()


def place(parser: argparse.ArgumentParser, words: Sequence[str]) -> Place:
    """Walk over the words that are there, as the parser would, but without complaint."""
    here = Place(parser)
    positionals = [action for action in parser._actions if not action.option_strings]
    taken = held = 0
    for index, word in enumerate(words):
        if here.options and word == '--':
            here.options, here.option = False, None
        elif here.options and len(word) > 1 and word.startswith('-'):
            action, complete = _option(parser, word)
            here.used |= {action} if action else set()
            here.option, taken = (action if action and not complete and _most(action) else None), 0
        elif here.option is not None:
            taken += 1
            here.option = here.option if taken < _most(here.option) else None
        elif positionals:
            first = positionals[0]
            if isinstance(first, argparse._SubParsersAction) and word in first.choices:
                return place(first.choices[word], words[index + 1 :])
            here.options = here.options and first.nargs not in _REST
            held += 1
            if held >= _most(first):
                positionals, held = positionals[1:], 0
    here.positional = positionals[0] if positionals else None
    return here


def _option(parser: argparse.ArgumentParser, word: str) -> tuple[argparse.Action | None, bool]:
    """The option that a word is, and whether its value stands in the word too."""
    known = parser._option_string_actions
    name, equals, _ = word.partition('=')
    if name in known:
        return known[name], bool(equals)
    return (None, False) if word.startswith('--') else (known.get(word[:2]), True)


def _most(action: argparse.Action) -> float:
    """How many words an argument takes at most."""
    if isinstance(action.nargs, int):
        return action.nargs
    return 1 if action.nargs in (None, '?') else float('inf')


def _next(app: OvcaApp, here: Place, current: str) -> Offer:
    name, equals, value = current.partition('=')
    if here.options and equals and (action := here.parser._option_string_actions.get(name)):
        found = _values(app, action).starting(value)
        return Offer(tuple(f'{name}={word}' for word in found.words), found.files, f'{name}=')
    if here.options and current.startswith('-'):
        return _options(here, current)
    action = here.option or here.positional
    found = _values(app, action).starting(current) if action else Offer()
    may_stay_out = action is None or (here.option is None and action.nargs in ('?', '*'))
    if not current and here.options and may_stay_out and found == Offer():
        return _options(here, current)
    return found


def _options(here: Place, current: str) -> Offer:
    """The options that may still be given: the long names, unless a short one was begun."""
    barred = {action for action in here.used if not isinstance(action, _REPEATABLE)}
    for group in here.parser._mutually_exclusive_groups:
        if here.used & set(group._group_actions):
            barred |= set(group._group_actions)
    words: list[str] = []
    for action in here.parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS and action not in barred:
            long = [name for name in action.option_strings if name.startswith('--')]
            short = current[1:2] not in ('', '-')
            words += action.option_strings if short or not long else long
    return Offer(tuple(words)).starting(current)


def _values(app: OvcaApp, action: argparse.Action) -> Offer:
    """What an argument may be."""
    source = getattr(action, 'complete', None)
    if action.choices is not None:
        return Offer(tuple(str(choice) for choice in action.choices))
    if source is base.files or action.type in (Path, places.path) or (source is None and action.metavar in _FILES):
        return Offer(files=True)
    return Offer(tuple(_ask(app, source))) if source else Offer()


class _Service:
    """The remaster service, made when something is asked of it: not every source needs a configuration."""

    def __init__(self, app: OvcaApp) -> None:
        self._app = app
        self.making = False

    def __getattr__(self, name: str) -> Any:
        self.making = True
        try:
            service = self._app.service
        finally:
            self.making = False
        return getattr(service, name)


def _ask(app: OvcaApp, source: base.Source) -> list[str]:
    """The values of a source that is quick and works; in a thread, because a database may not answer at all."""
    answers: list[list[str]] = []
    service, left, step = _Service(app), PATIENCE, 0.05

    def ask() -> None:
        with contextlib.suppress(Exception):
            answers.append([str(value) for value in source(service)])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    while thread.is_alive() and left > 0:
        thread.join(step)
        left -= 0 if service.making else step  # imports end by themselves, however busy the machine is
    return answers[0] if answers else []


def _paths(found: Offer, current: str) -> Iterable[str]:
    """The files that begin like this; a folder ends with a slash."""
    if not found.files:
        return []
    folder, slash, stem = current.removeprefix(found.prefix).rpartition('/')
    try:
        with os.scandir(folder + slash or '.') as entries:
            return sorted(
                f'{found.prefix}{folder}{slash}{entry.name}{"/" * entry.is_dir()}'
                for entry in entries
                if entry.name.startswith(stem) and (stem.startswith('.') or not entry.name.startswith('.'))
            )
    except OSError:
        return []


@contextlib.contextmanager
def _quiet(app: OvcaApp) -> Iterator[None]:
    """Nothing may be written into the line that is being typed."""
    nowhere = io.StringIO()
    streams, level = (app.stdout, app.stderr), logging.root.manager.disable
    app.stdout = app.stderr = nowhere
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        app.stdout, app.stderr = streams
        logging.disable(level)
