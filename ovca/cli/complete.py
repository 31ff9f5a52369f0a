"""The command that teaches other shells what Tab means after ``ovca``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ovca.cli import base
from ovca.exceptions import UsageError

if TYPE_CHECKING:
    from ovca.cli.app import OvcaApp

FILES = '<file>'
"""Stands among the answers for "and every path": the asking shell completes those best itself."""

# The line travels in the environment: what is typed may hold a password, and arguments are seen by all users.
BASH = """\
# Completion of ovca in bash, made by `ovca complete bash`.
_ovca() {
    local IFS=$'\\n' word
    COMPREPLY=()
    while read -r word; do
        if [[ $word == '<file>' ]]; then
            compopt -o filenames 2>/dev/null
            COMPREPLY+=($(compgen -f -- "$2"))
        else
            COMPREPLY+=("$word")
        fi
    done < <(COMP_LINE=${COMP_LINE:0:COMP_POINT} COMP_WORDBREAKS=$COMP_WORDBREAKS "$1" complete --line 2>/dev/null)
}
complete -o nosort -F _ovca ovca 2>/dev/null || complete -F _ovca ovca
"""
ZSH = """\
#compdef ovca
# Completion of ovca in zsh, made by `ovca complete zsh`.
_ovca() {
    local -a answers
    local before=${(j: :)words[1,CURRENT-1]}
    answers=(${(f)"$(COMP_LINE="$before $PREFIX" COMP_WORDBREAKS= ${~${(Q)words[1]}} complete --line 2>/dev/null)"})
    local -a plain=(${answers:#<file>})
    (( $#plain )) && compadd -V ovca -- $plain
    if (( $#plain != $#answers )); then
        [[ $PREFIX == --*=* ]] && compset -P '*='
        _files
    fi
    (( $#answers ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _ovca "$@"; else compdef _ovca ovca; fi
"""
SCRIPTS = {'bash': BASH, 'zsh': ZSH}


class Complete(base.Command):
    """Print the script that lets Tab complete the command line of `ovca` in a shell.

    For this session: source <(ovca complete bash). For all users: write it into a file that the shell reads, for bash
    /etc/bash_completion.d/ovca, for zsh a file _ovca in a folder of its fpath.

    Example: ovca complete bash > /etc/bash_completion.d/ovca
    """

    app: OvcaApp

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('shell', nargs='?', choices=tuple(SCRIPTS), help='the shell that the script is for')
        parser.add_argument('--line', action='store_true', help=argparse.SUPPRESS)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        if parsed_args.line:
            found = answers(self.app, os.environ.get('COMP_LINE', ''), os.environ.get('COMP_WORDBREAKS', ''))
            self.app.stdout.writelines(f'{word}\n' for word in found)
        elif parsed_args.shell:
            self.app.stdout.write(SCRIPTS[parsed_args.shell])
        else:
            raise UsageError(f'no shell was named; known are {" and ".join(SCRIPTS)}', id='no-shell')


def answers(app: OvcaApp, typed: str, breaks: str = '') -> list[str]:
    """The answers for a line up to the cursor, the program's name included.

    ``breaks`` are the characters at which the asking shell splits words besides spaces; it replaces only what stands
    behind the last of them.
    """
    from ovca.cli import completion, line

    try:
        words, current = line.unfinished(typed)
    except ValueError:  # a comment, or quotes that no line can go on from
        return []
    found = completion.program(app, words[1:], current)
    gone = 1 + max((current.rfind(char) for char in breaks if char in '=:'), default=-1)
    return [*(word[gone:] for word in found.words), *([FILES] if found.files else [])]
