"""A line of the shell as words: quotes and comments as in ``sh``, and nothing else of it.

Nothing is expanded, and what a shell would act on (a pipe, a redirection, a substitution) is refused and not passed
over: whoever types it expects an effect.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from ovca.exceptions import UsageError

SPACE = ' \t\r\n'
_ANYWHERE = '|<>`'
_AT_AN_EDGE = ';&'
"""Between other characters these are parts of a URI."""
_PLAIN = re.compile(r'([^\w@%+=:,./~^{}\[\]-])')


@dataclass(frozen=True)
class Scan:
    """What one look over a line finds."""

    end: int
    """Where a comment begins, or the end of the line."""
    start: int
    """Where the last word begins; the end of the line if it stands before a new one."""
    quote: str = ''
    """The quote that is open at the end."""
    operator: str = ''
    """The first thing, outside of quotes, that a shell would act on."""


def scan(line: str) -> Scan:
    """Look over a line once; it may be unfinished."""
    start, quote, operator, i = -1, '', '', 0
    while i < len(line):
        char = line[i]
        if quote:
            if char == '\\' and quote == '"':
                i += 1
            elif char == quote:
                quote = ''
        elif char in SPACE:
            start = -1
        elif char == '#' and start < 0:
            return Scan(i, i, '', operator)
        else:
            at_edge = start < 0 or line[i + 1 : i + 2] in ('', *SPACE)
            start = i if start < 0 else start
            if char == '\\':
                i += 1
            elif char in '\'"':
                quote = char
            elif char in _ANYWHERE or (char in _AT_AN_EDGE and at_edge) or line.startswith('$(', i):
                operator = operator or (line[i : i + 2] if line[i : i + 2] in ('&&', '||', '>>', '$(') else char)
        i += 1
    return Scan(len(line), len(line) if start < 0 else start, quote, operator)


def split(line: str) -> list[str]:
    """The words of a line; none when it is empty or a comment.

    :raises UsageError: a quote is not closed, or there is something for a shell in it.
    """
    seen = scan(line)
    if seen.operator:
        raise UsageError(
            f'{seen.operator} has no meaning here: there are no pipes, no redirection and no other programs in this '
            f"shell; leave it and run `ovca <command>` from your system's shell for that, or put quotes around what "
            f'is text',
            id='no-redirection',
        )
    try:
        return shlex.split(line[: seen.end])
    except ValueError:
        what = f'the quote {seen.quote} is not closed' if seen.quote else 'there is nothing after the last backslash'
        raise UsageError(f'{what}; write it again with the missing character', id='open-quote') from None


def unfinished(line: str) -> tuple[list[str], str]:
    """The finished words of a line that is being typed, and the one at its end as far as it goes.

    :raises ValueError: the line is a comment.
    """
    seen = scan(line)
    if seen.end < len(line):
        raise ValueError('a comment')
    raw = line[seen.start :]
    if seen.quote != "'" and (len(raw) - len(raw.rstrip('\\'))) % 2:
        raw = raw[:-1]  # what it protects is not typed yet
    return shlex.split(line[: seen.start]), ''.join(shlex.split(raw + seen.quote))


def quoted(word: str, quote: str = '') -> str:
    """A word as it is typed: within the quote that was opened, or with backslashes where they are needed."""
    if quote == "'":
        return "'" + word.replace("'", "'\\''") + "'"
    if quote:
        return '"' + re.sub(r'(["\\])', r'\\\1', word) + '"'
    return _PLAIN.sub(r'\\\1', word)
