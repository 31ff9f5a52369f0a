"""The command line: loads commands by entry point, reports errors in one sentence, and sets the exit status.

It stands on cliff's application and mends what an operator would stumble over: a command is imported only when it
runs; a core command cannot be replaced; a broken plugin is named; nothing is abbreviated; what stands behind the
command's name belongs to the command alone.
"""

from __future__ import annotations

import argparse
import errno
import inspect
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from cliff.app import App

import ovca
from ovca import plugins
from ovca.cli import base, options, overview
from ovca.cli.commands import GROUP, Commands, Help
from ovca.exceptions import READER_GONE, Interrupted, OvcaError, UsageError

if TYPE_CHECKING:
    from oslo_config import cfg

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a full disk. What comes without a file's name is of the output: of their files the commands
tell by themselves."""


class OvcaApp(App):
    """The application ``ovca``. Every run is independent: nothing is left in the process's logging."""

    NAME = options.NAME
    LOG = logging.getLogger('ovca')

    command_manager: Commands
    reports_errors = True
    """Commands leave their errors to this application."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            description=options.DESCRIPTION,
            version=ovca.__version__,
            command_manager=Commands(),
            deferred_help=True,
            **kwargs,
        )
        self.command_manager.commands.clear()
        self.command_manager.add_command('help', Help)
        self._conf: cfg.ConfigOpts | None = None
        self._service: Any = None

    def build_option_parser(
        self, description: str | None, version: str | None, argparse_kwargs: dict[str, Any] | None = None
    ) -> argparse.ArgumentParser:
        """The options that stand before the command; everything from the command's name on is left alone."""
        return options.parser()

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

    def complain(self, text: str) -> None:
        """Tell the operator something that belongs to no output."""
        print(f'{self.NAME}: {base.shown(text)}', file=self.stderr)

    def run(self, argv: list[str]) -> int:
        """Run one command; return its exit status. Every error becomes one sentence."""
        console = logging.StreamHandler(self.stderr)
        console.setFormatter(logging.Formatter(self.CONSOLE_MESSAGE_FORMAT))
        root = logging.getLogger()
        level = root.level
        try:
            try:
                self.options = self.parser.parse_args(argv)
                if self.options.words and self.options.keep_going:
                    self.parser.error('--keep-going is for the lines of a script, and a single command has none')
            except UsageError as exc:
                self.options = argparse.Namespace(debug=False)
                return self._fail(exc)
            console.setLevel(logging.DEBUG if self.options.debug else logging.WARNING)
            root.setLevel(console.level)
            root.addHandler(console)
            code = self._start(self.options.words)
            self.stdout.flush()
            return code
        except SystemExit as exc:  # argparse ends the program by itself: 0 for --help, 2 for a wrong argument
            return exc.code if isinstance(exc.code, int) else 2
        except BrokenPipeError:
            self._reader_is_gone()
            return READER_GONE
        except OSError as exc:  # the end of the output, which was still held back
            self._reader_is_gone()
            return self._fail(_not_written(exc))
        finally:
            self.refresh()
            root.removeHandler(console)
            root.setLevel(level)

    def _start(self, words: list[str]) -> int:
        if words or self.options.help:
            return self.execute(words)
        from ovca.cli import shell

        return shell.start(self)

    def refresh(self) -> None:
        """Forget the configuration and what was opened by it; both are read again when they are needed."""
        service, self._service, self._conf = self._service, None, None
        if service is not None:
            service.close()

    def execute(self, words: list[str]) -> int:
        """Run one command by its words; every error becomes one sentence, and its class the status that is returned.

        :raises BrokenPipeError: whoever read the output went away.
        """
        name = words[0] if words else ''
        try:
            for loser, winner in plugins.clashes(GROUP):
                self.complain(f'{loser} is ignored; the name belongs to {winner.package}')
            if self.options.help or not words:
                overview.write(self.stdout, self.stderr)
                return 0
            return self.run_subcommand(words)
        except SystemExit as exc:  # argparse ends the program by itself: 0 for --help, 2 for a wrong argument
            return exc.code if isinstance(exc.code, int) else 2
        except KeyboardInterrupt:
            return self._fail(Interrupted('interrupted; `ovca update-watch` shows an update that is under way'))
        except OvcaError as exc:
            return self._fail(exc)
        except BrokenPipeError:
            raise
        except Exception as exc:
            if isinstance(exc, OSError) and exc.errno in FULL and exc.filename is None:
                self._reader_is_gone()
                return self._fail(_not_written(exc))
            if isinstance(exc, UnicodeEncodeError) and (word := next(filter(_no_text, words), None)) is not None:
                return self._fail(
                    UsageError(f'{word!a} holds bytes that are no text; write it in UTF-8', id='not-text')
                )
            if self.options.debug:
                traceback.print_exc(file=self.stderr)
            extension = self.command_manager.known.get(name)
            culprit = f'{extension.package} {extension.version}' if extension else self.NAME
            self.complain(
                f'{type(exc).__name__}: {exc}; this is a mistake in {culprit}: run it again with `ovca --debug {name}` '
                f'and report what it shows [{OvcaError.id}]'
            )
            return OvcaError.exit_code

    def run_subcommand(self, argv: list[str]) -> int:
        """Run a command by its words; errors are the caller's.

        :raises UsageError: there is no such command.
        """
        command, parser, rest = self.command(argv)
        parsed, wrong = parser.parse_known_args(rest)
        if wrong:
            raise UsageError(options.wrong_option(parser, wrong[0]), id='bad-option')
        return int(command.run(parsed) or 0)

    def command(self, argv: list[str]) -> tuple[Any, argparse.ArgumentParser, list[str]]:
        """A command of this application, its parser, and the words that are left for it.

        :raises UsageError: there is no such command.
        """
        factory, name, rest = self.command_manager.find_command(argv)
        takes_name = 'cmd_name' in inspect.signature(factory).parameters
        command = factory(self, self.options, **({'cmd_name': name} if takes_name else {}))
        parser = command.get_parser(f'{self.NAME} {name}')
        parser.allow_abbrev = False

        def error(message: str) -> NoReturn:
            raise UsageError(f'{name}: {options.plainly(message)}; see `{self.NAME} help {name}`', id='bad-option')

        parser.error = error  # the parser is cliff's
        base.unpaged(parser)
        return command, parser, rest

    def _fail(self, exc: OvcaError) -> int:
        if self.options.debug and not isinstance(exc, Interrupted):
            traceback.print_exc(file=self.stderr)
        self.complain(exc.with_id)
        return exc.exit_code

    def _reader_is_gone(self) -> None:
        """Keep Python from complaining about it once more, when it flushes at the end."""
        if sys.__stdout__ is not None and self.stdout is sys.__stdout__:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.__stdout__.fileno())
            os.close(null)


def _no_text(word: str) -> bool:
    """Whether a word of the command line has bytes that are none in this locale (PEP 383)."""
    return any('\udc80' <= char <= '\udcff' for char in word)


def _not_written(exc: OSError) -> OvcaError:
    return OvcaError(
        f'the output cannot be written: {exc.strerror}; make room for it, and repeat the command', id='not-written'
    )
