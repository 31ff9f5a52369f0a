"""The line that is typed into the shell: editing, Tab and history, by the library readline where Python has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovca.cli import completion
from ovca.cli import line as lines
from ovca.cli.history import History

if TYPE_CHECKING:
    from ovca.cli.app import OvcaApp

HELP = '?'
OWN_WORDS = ('exit', 'quit')
"""What the shell understands besides the commands."""
_GNU = (
    'tab: complete',
    'set show-all-if-ambiguous on',
    # An editor is a way out to a root shell. Where a library offers one, this is its key.
    r'"\C-x\C-e": ""',
)
_LIBEDIT = (
    'bind -e',  # the keys of vi have one that starts an editor
    'bind ^I rl_complete',
)


class Editor:
    """Reads lines from the terminal."""

    def __init__(self, app: OvcaApp, history: History | None = None) -> None:
        self.app, self.history = app, history or History()
        self._readline: Any = None
        self._found: list[str] = []
        try:
            import readline
        except ImportError:  # some Pythons come without it; then there is no Tab and no history
            return
        self._readline = readline
        readline.set_auto_history(False)
        readline.set_completer_delims(' \t\n')
        readline.set_completer(self.complete)
        for command in _LIBEDIT if 'libedit' in (readline.__doc__ or '') else _GNU:
            readline.parse_and_bind(command)
        readline.clear_history()
        for entry in self.history.lines():
            readline.add_history(entry)

    def read(self, prompt: str) -> str:
        """The next line. Pasted text may hold several; they come as one.

        :raises EOFError: there will be none. :raises KeyboardInterrupt: it was thrown away.
        """
        text = input(prompt)
        for entry in text.splitlines():
            if self._readline is not None and self.history.keep(entry):
                self._readline.add_history(entry)
        return text

    def complete(self, text: str, state: int) -> str | None:
        """readline's question: the answer number ``state`` for the piece of a word before the cursor."""
        if state == 0:
            begin, end = self._readline.get_begidx(), self._readline.get_endidx()
            self._found = endings(self.app, self._readline.get_line_buffer()[:end], begin)
        return self._found[state] if state < len(self._found) else None


def endings(app: OvcaApp, typed: str, begin: int) -> list[str]:
    """How a line may go on: what to put in place of the piece that begins at ``begin``, quoted as it has to be."""
    try:
        words, current = lines.unfinished(typed)
    except ValueError:
        return []
    if words[:1] == [app.NAME]:
        words = words[1:]
    if words[:1] == [HELP]:
        words = ['help', *words[1:]]
    found = completion.candidates(app, words, current)
    if not words:
        found = sorted([*found, *(word for word in OWN_WORDS if word.startswith(current))])
    seen = lines.scan(typed)
    before = typed[seen.start : begin]
    result = []
    for word in found:
        whole = lines.quoted(word, typed[seen.start : seen.start + 1] if seen.quote else '')
        if not word.endswith('/'):
            whole += ' '
        elif seen.quote:
            whole = whole[:-1]  # the path goes on within the quote
        if whole.startswith(before):
            result.append(whole[len(before) :])
    return result
