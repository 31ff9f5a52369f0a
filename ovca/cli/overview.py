"""All commands, a line each. What a command promises is read from its source, and no command is imported for it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import IO

import ovca
from ovca import plugins
from ovca.cli import options
from ovca.exceptions import PluginError

GROUP = 'ovca.cli'
WIDTH = 16
COLUMNS = 80


def write(stdout: IO[str], stderr: IO[str]) -> None:
    """Write the global options and a line for each command; commands that cannot be used are named on ``stderr``."""
    options.parser().print_help(stdout)
    stdout.write('\ncommands:\n')
    lines = {'help': 'Explain a command or an error, or list all commands'}
    for extension in plugins.chosen(GROUP).values():
        try:
            promise = summary(extension)
        except PluginError as exc:
            stderr.write(f'{options.NAME}: {exc}\n')
            continue
        lines[extension.name] = promise + ('' if extension.core else f' ({extension.package})')
    for name, text in sorted(lines.items()):
        indent = ' ' * (WIDTH + 3)
        stdout.write(
            textwrap.fill(text, COLUMNS, initial_indent=f'  {name:<{WIDTH}} ', subsequent_indent=indent) + '\n'
        )
    stdout.write('\n`ovca help <command>` explains one of them, `ovca help <id>` an error.\n')


def summary(extension: plugins.Extension) -> str:
    """The first line of a command's docstring, without its full stop.

    It is looked up in the source. Only a command that is defined in another way than by ``class Name...`` with a
    docstring in the module of its entry point is imported.

    :raises PluginError: the command cannot be found, or not be imported.
    """
    module, _, name = extension.value.partition(':')
    path = _source(module)
    promise = _promise(path, name) if path is not None else None
    if promise is None:
        factory = plugins.load(extension)
        promise = (factory.__doc__ or '').strip().split('\n')[0]
    return promise.rstrip('.')


def _promise(path: Path, name: str) -> str | None:
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeError):
        return None
    found = re.search(rf'^class {re.escape(name)}\b[^:]*:\s*r?(?:"""|\'\'\')\s*(.+)', text, re.MULTILINE)
    return re.split(r'"""|\'\'\'', found[1])[0].strip() if found else None


def _source(module: str) -> Path | None:
    """The file of a module, which is not imported, nor are the packages above it."""
    first, *rest = module.split('.')
    if first == 'ovca':
        path = Path(ovca.__file__).parent.joinpath(*rest).with_suffix('.py')
        return path if path.is_file() else None
    spec = plugins.find(module)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
