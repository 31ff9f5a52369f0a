"""How a result is written: a table for people, and four formats for programs.

A format gets values that are plain already (:func:`plain`), makes the whole text, and writes it at once: what a program
reads is never broken half-way.
"""

from __future__ import annotations

import abc
import argparse
import datetime as dt
import enum
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from cliff.formatters import base

COLUMNS = 80
"""The width of a table that is not written to a terminal."""
NARROWEST = 4
"""No column of a table gets narrower than this."""
GAP = '  '
"""What stands between two columns of a table."""
UNITS = ('bytes', 'kB', 'MB', 'GB', 'TB')
SIZES = ('size', '_size', '_bytes')
"""How the names of columns end that hold a number of bytes."""


def plain(value: Any) -> Any:
    """Return a value that every format can carry: times as ISO-8601 in UTC, enums as words."""
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return moment.astimezone(dt.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no word for it
    if value is None or type(value) in (str, int, float, bool):
        return value
    return str(value)


def readable(name: str, value: Any) -> Any:
    """Return a value as people read it in a table: sizes with a unit, times without letters between."""
    if isinstance(value, dt.datetime):
        return plain(value).replace('T', ' ')
    if isinstance(value, int) and not isinstance(value, bool) and (name == SIZES[0] or name.endswith(SIZES[1:])):
        return size(value)
    return shown(plain(value))


def shown(value: Any) -> Any:
    """Return a plain value as people read it; what could steer a terminal is made visible."""
    if value is None:
        return ''
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, dict):
        return '\n'.join(f'{shown(k)}: {shown(v)}' for k, v in value.items())
    if isinstance(value, list):
        return ', '.join(str(shown(v)) for v in value)
    if isinstance(value, str):
        return ''.join(c if c.isprintable() or c == '\n' else ascii(c)[1:-1] for c in value)
    return value


def size(number: int) -> str:
    """A number of bytes with three digits and a decimal unit: ``4.29 GB``."""
    power = 0
    while abs(number) >= 999.5 * 1000**power and power < len(UNITS) - 1:
        power += 1
    scaled = number / 1000**power
    digits = max(0, 2 - len(str(int(abs(scaled)))) + 1) if power else 0
    return f'{scaled:.{digits}f} {UNITS[power]}'


def width_of(stream: IO[str]) -> int:
    """The columns that fit: the terminal's, or else ``COLUMNS`` of the environment, or 80."""
    if _is_terminal(stream):
        try:
            found = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            found = 0
        return found or COLUMNS
    return shutil.get_terminal_size((COLUMNS, 24)).columns if os.environ.get('COLUMNS', '').isdigit() else COLUMNS


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def fit(natural: Sequence[int], room: int, floors: Sequence[int] | None = None) -> list[int]:
    """Return the widths of columns that together take ``room``: the widest give up first.

    None gets narrower than its floor (the longest word in it) while others can give; none ever below the narrowest.
    """
    lowest = [min(width, NARROWEST) for width in natural]
    widths = list(natural)
    for floor in ([*map(max, floors or lowest, lowest)], lowest):
        while sum(widths) > room and (able := [i for i, width in enumerate(widths) if width > floor[i]]):
            widths[max(able, key=lambda i: widths[i])] -= 1
    return widths


class Format(base.ListFormatter, base.SingleFormatter):
    """One way to write a result. A subclass makes the text of a list, and of one record."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """No options, unless a format has some."""

    def emit_list(
        self,
        column_names: Sequence[str],
        data: Iterable[Sequence[Any]],
        stdout: Any,
        parsed_args: argparse.Namespace,
    ) -> None:
        stdout.write(self.many(column_names, [list(row) for row in data], stdout, parsed_args))

    def emit_one(
        self, column_names: Sequence[str], data: Sequence[Any], stdout: Any, parsed_args: argparse.Namespace
    ) -> None:
        stdout.write(self.one(column_names, list(data), stdout, parsed_args))

    @abc.abstractmethod
    def many(self, names: Sequence[str], rows: list[list[Any]], stdout: IO[str], options: argparse.Namespace) -> str:
        """The text of a list."""

    @abc.abstractmethod
    def one(self, names: Sequence[str], row: list[Any], stdout: IO[str], options: argparse.Namespace) -> str:
        """The text of one record."""


class TableFormat(Format):
    """A table that fits its reader's width."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument_group('table').add_argument(
            '--max-width',
            metavar='<columns>',
            type=_width,
            default=None,
            help="the width of a table; 0 is without limit (default: the terminal's, or 80)",
        )

    def many(self, names: Sequence[str], rows: list[list[Any]], stdout: IO[str], options: argparse.Namespace) -> str:
        return table(names, rows, _room(stdout, options))

    def one(self, names: Sequence[str], row: list[Any], stdout: IO[str], options: argparse.Namespace) -> str:
        return table(('field', 'value'), list(zip(names, row, strict=True)), _room(stdout, options))


def _width(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of columns')
    return int(text)


def _room(stdout: IO[str], options: argparse.Namespace) -> int:
    return width_of(stdout) if options.max_width is None else options.max_width or 1_000_000


def table(names: Sequence[str], rows: Sequence[Sequence[Any]], room: int) -> str:
    """Return a table no wider than ``room`` columns, unless its columns would be too narrow to read."""
    from prettytable import PrettyTable

    cells = [[str('' if cell is None else cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True)) if cells else [()] * len(names)
    natural = [max(map(_longest_line, (name, *column))) for name, column in zip(names, columns, strict=True)]
    floors = [
        max(map(_longest_word, (name.replace('_', '_ '), *column))) for name, column in zip(names, columns, strict=True)
    ]
    widths = fit(natural, room - len(GAP) * (len(names) - 1), floors)
    drawn = PrettyTable(header=False, border=False, break_on_hyphens=False)
    drawn.field_names = [str(i) for i in range(len(names))]
    for i, width in enumerate(widths):
        number = bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
        drawn.align[str(i)], drawn.max_width[str(i)] = 'r' if number else 'l', width
    # The headings are a row, because prettytable cuts headings where it wraps rows.
    drawn.add_row([_heading(name, width) for name, width in zip(names, widths, strict=True)])
    drawn.add_row(['-' * width for width in widths])
    drawn.add_rows(cells)
    # Each cell has a space before and behind it.
    return '\n'.join(line[1:].rstrip() for line in drawn.get_string().split('\n')) + '\n'


def _heading(name: str, width: int) -> str:
    """The name of a column, in lines that end behind an underscore where it is too long."""
    lines = ['']
    for part in name.replace('_', '_ ').split(' '):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append('')
        lines[-1] += part
    return '\n'.join(lines)


def _longest_line(text: str) -> int:
    return max(map(_columns_of, text.split('\n')))


def _longest_word(text: str) -> int:
    return max(map(_columns_of, text.split()), default=0)


def _columns_of(text: str) -> int:
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return wcswidth(text) if wcswidth(text) >= 0 else len(text)


class JsonFormat(Format):
    """JSON: a list of objects, or one object; the keys are the columns."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument_group('json').add_argument(
            '--noindent', action='store_true', help='write JSON in one line, without spaces for people'
        )

    def many(self, names: Sequence[str], rows: list[list[Any]], stdout: IO[str], options: argparse.Namespace) -> str:
        return _json([dict(zip(names, row, strict=True)) for row in rows], indent=not options.noindent)

    def one(self, names: Sequence[str], row: list[Any], stdout: IO[str], options: argparse.Namespace) -> str:
        return _json(dict(zip(names, row, strict=True)), indent=not options.noindent)


def _json(value: Any, *, indent: bool) -> str:
    import json

    return json.dumps(value, indent=2 if indent else None, allow_nan=False) + '\n'


class YamlFormat(Format):
    """YAML, with the same keys as JSON."""

    def many(self, names: Sequence[str], rows: list[list[Any]], stdout: IO[str], options: argparse.Namespace) -> str:
        return _yaml([dict(zip(names, row, strict=True)) for row in rows])

    def one(self, names: Sequence[str], row: list[Any], stdout: IO[str], options: argparse.Namespace) -> str:
        return _yaml(dict(zip(names, row, strict=True)))


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, default_flow_style=False, sort_keys=False, allow_unicode=True))


class CsvFormat(Format):
    """CSV (RFC 4180, with the line ends of this system); the first line holds the columns."""

    def many(self, names: Sequence[str], rows: list[list[Any]], stdout: IO[str], options: argparse.Namespace) -> str:
        import csv
        import io

        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(names)
        writer.writerows([_word(cell) for cell in row] for row in rows)
        return text.getvalue()

    def one(self, names: Sequence[str], row: list[Any], stdout: IO[str], options: argparse.Namespace) -> str:
        return self.many(names, [row], stdout, options)


class ValueFormat(Format):
    """The values alone: a row in a line, or a record's values in a line each."""

    def many(self, names: Sequence[str], rows: list[list[Any]], stdout: IO[str], options: argparse.Namespace) -> str:
        return ''.join(' '.join(_word(cell) for cell in row) + '\n' for row in rows)

    def one(self, names: Sequence[str], row: list[Any], stdout: IO[str], options: argparse.Namespace) -> str:
        return ''.join(f'{_word(cell)}\n' for cell in row)


def _word(value: Any) -> str:
    """A plain value where there is nothing but text: words as they are, lists with commas, the rest as JSON has it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ''
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ','.join(_word(item) for item in value)
    import json

    return json.dumps(value)


FORMATS: dict[str, type[Format]] = {
    'csv': CsvFormat,
    'json': JsonFormat,
    'table': TableFormat,
    'value': ValueFormat,
    'yaml': YamlFormat,
}


class _Slot:
    """A format as cliff expects an extension to look."""

    def __init__(self, name: str) -> None:
        self.name, self.obj = name, FORMATS[name]()


class Formats:
    """All formats, in the shape of the extension manager that cliff would fill by importing every installed one."""

    def __init__(self) -> None:
        self._slots = {name: _Slot(name) for name in FORMATS}

    def names(self) -> list[str]:
        return list(self._slots)

    def __getitem__(self, name: str) -> _Slot:
        return self._slots[name]

    def __iter__(self) -> Iterator[_Slot]:
        return iter(self._slots.values())
