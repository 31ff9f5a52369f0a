"""``ovca`` without a command: a shell on a terminal, the lines of a script from a pipe or a file, or the overview.

Each line takes the same way as a command of its own. There is no way from here to another program: an appliance may
give this shell to somebody who is not to have a root shell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ovca
from ovca.cli import line as lines
from ovca.cli.editor import HELP, OWN_WORDS, Editor
from ovca.exceptions import Interrupted, OvcaError, UsageError

if TYPE_CHECKING:
    from ovca.cli.app import OvcaApp

PROMPT = 'ovca> '
HINT = 'Tab completes; `help` lists the commands; `exit` or Ctrl-D leaves.'


def start(app: OvcaApp) -> int:
    """Do what fits the streams; return the exit status."""
    if app.stdin is None or app.stdin.closed:
        return app.execute([])
    if app.stdin.isatty():
        return Shell(app).interact() if app.stdout.isatty() else app.execute([])
    return Shell(app).follow(keep_going=app.options.keep_going)


class Shell:
    """Runs lines, one after the other."""

    def __init__(self, app: OvcaApp) -> None:
        self.app = app
        self.status = 0
        """The exit status of the last line that ran something."""
        self.left = False

    def interact(self) -> int:
        """Ask for lines until the operator leaves; return the status of the last one."""
        editor = Editor(self.app)
        self._say(f'{self.app.NAME} {ovca.__version__}. {HINT}')
        while not self.left:
            try:
                self._run_all(editor.read(PROMPT).splitlines())
            except KeyboardInterrupt:
                self._say()
            except EOFError:
                self._say()
                break
            except UnicodeError:
                self._fail(UsageError('the line holds characters that are no text in this locale', id='not-text'))
        return self.status

    def follow(self, *, keep_going: bool) -> int:
        """Run the lines of a script to its end, or to the first that fails; return the first failing status.

        Ctrl-C ends it in any case. A script without a line, as with ``/dev/null``, gets the overview.
        """
        failed, number = 0, 0
        try:
            for number, line in enumerate(self._script(), 1):
                status = self.run(line)
                self.app.stdout.flush()
                if status:
                    failed = failed or status
                    going = keep_going and status != Interrupted.exit_code
                    self.app.complain(f'line {number}: exit status {status}; {"going on" if going else "stopped here"}')
                    if not going:
                        break
                if self.left:
                    break
        except KeyboardInterrupt:
            return self._fail(Interrupted('interrupted while waiting for the next line of the script'))
        except (OSError, UnicodeError) as exc:
            if isinstance(exc, BrokenPipeError):
                raise
            return self._fail(UsageError(f'line {number + 1} of the script cannot be read: {exc}', id='not-text'))
        return failed if number else self.app.execute([])

    def run(self, line: str) -> int:
        """Run one line; return its exit status, 0 for an empty one. Every error is reported.

        :raises BrokenPipeError: whoever read the output went away.
        """
        try:
            words = self._words(line)
        except OvcaError as exc:
            self.status = self._fail(exc)
            return self.status
        if not words:
            return 0
        if words[0] in OWN_WORDS:
            self.left = True
            return 0
        self.app.refresh()
        try:
            self.status = self.app.execute(words)
            if words == ['help'] and self.app.stdin.isatty():
                self._say(HINT)
        finally:
            self.app.refresh()  # a shell that waits holds no connection
        return self.status

    def _run_all(self, pasted: list[str]) -> None:
        for number, line in enumerate(pasted, 1):
            if self.run(line) and number < len(pasted):
                self.app.complain('what was pasted after this line was not run')
                return
            if self.left:
                return

    def _words(self, line: str) -> list[str]:
        """The command of a line. :raises UsageError: it cannot be one."""
        words = lines.split(line)
        if words[:1] == [self.app.NAME] and len(words) > 1:
            words = words[1:]  # as the documentation and the help write it
        if words[:1] == [HELP]:
            words[0] = 'help'
        if words and words[0].startswith('-'):
            raise UsageError(
                f'{words[0]} stands before all commands; leave, and start the shell with it: `ovca {words[0]}`',
                id='global-option',
            )
        if len(words) > 1 and words[0] in OWN_WORDS:
            raise UsageError(
                f'{words[0]} takes no arguments; the shell ends with the status of its last command',
                id='exit-arguments',
            )
        return words

    def _script(self) -> Iterator[str]:
        while line := self.app.stdin.readline():
            yield line

    def _say(self, text: str = '') -> None:
        self.app.stdout.write(f'{text}\n')
        self.app.stdout.flush()

    def _fail(self, exc: OvcaError) -> int:
        self.app.complain(f'{exc} [{exc.id}]')
        return exc.exit_code
