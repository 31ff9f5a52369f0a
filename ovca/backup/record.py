"""``backup.json``: what a backup is, beside the file that holds it."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ovca.exceptions import BackupError

FILE = 'backup.json'
DATA = 'backup.zip'
FORMAT = 1
LARGEST = 64 * 2**20
"""Bytes of a record; a larger one is something else."""
ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9._+~-]{0,199}')
_DIGEST = re.compile(r'[0-9a-f]{64}')

DATABASE, CONFIGURATION, SITE, SOURCES = 'database', 'configuration', 'site', 'sources'
"""The folders in a backup: tables, files of the configuration, saved site files of both nodes, what sources bring."""


@dataclass(frozen=True)
class Content:
    """One file in a backup."""

    name: str
    size: int
    sha256: str
    rows: int | None = None
    """Of a table."""

    @property
    def part(self) -> str:
        """The folder that it is in."""
        return self.name.partition('/')[0]

    @property
    def path(self) -> PurePosixPath:
        """Its path below that folder."""
        return PurePosixPath(self.name.partition('/')[2])


@dataclass(frozen=True)
class Record:
    """What is known of a backup without opening it."""

    id: str
    created_at: dt.datetime
    node: str
    """Where it was made; the configuration in it is this node's."""
    by: str
    why: str
    update_id: int | None
    """The update before whose first step it was made."""
    version: str
    """What the node ran."""
    revision: str
    """The schema's."""
    engine: str
    size: int
    sha256: str
    """Of the file that holds it."""
    contents: tuple[Content, ...]
    foreign: tuple[str, ...] = ()
    """Tables in it that the software did not know: of a newer schema, or of somebody else."""

    def in_part(self, part: str) -> list[Content]:
        """The files of one folder."""
        return [each for each in self.contents if each.part == part]

    def content(self, name: str) -> Content | None:
        """The file of this name."""
        return next((each for each in self.contents if each.name == name), None)

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(each.rows or 0 for each in self.contents)

    def encode(self) -> dict[str, Any]:
        """The record as JSON."""
        told = {'format': FORMAT, **asdict(self)}
        told['created_at'] = self.created_at.astimezone(dt.UTC).isoformat().replace('+00:00', 'Z')
        return told


def read(path: Path) -> Record:
    """Read a ``backup.json``. :raises BackupError: it cannot be read, or is none that this software knows."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError('it is too large')
        told = json.loads(path.read_bytes())
        if told['format'] != FORMAT:
            raise BackupError(
                f'{path} is of format {told["format"]!r}, and this ovca knows {FORMAT} only; use the ovca that made it',
                id='backup-format',
            )
        return _decode(told)
    except OSError as exc:
        raise BackupError(f'{path} cannot be read: {exc.strerror}; see to the storage', id='backup-unreadable') from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BackupError(
            f'{path} is damaged: {type(exc).__name__}: {exc}; use another backup, see `ovca backup-list`',
            id='backup-damaged',
        ) from exc


def _decode(told: dict[str, Any]) -> Record:
    at = dt.datetime.fromisoformat(told['created_at'])
    if at.tzinfo is None:
        raise ValueError('created_at has no zone')
    contents = tuple(
        Content(_name(c['name']), int(c['size']), _digest(c['sha256']), None if c['rows'] is None else int(c['rows']))
        for c in told['contents']
    )
    if len({c.name for c in contents}) != len(contents):
        raise ValueError('a file is listed twice')
    if not ID.fullmatch(told['id']):
        raise ValueError('id is none')
    number = told['update_id']
    return Record(
        id=told['id'],
        created_at=at.astimezone(dt.UTC),
        node=str(told['node']),
        by=str(told['by']),
        why=str(told['why']),
        update_id=None if number is None else int(number),
        version=str(told['version']),
        revision=str(told['revision']),
        engine=str(told['engine']),
        size=int(told['size']),
        sha256=_digest(told['sha256']),
        contents=contents,
        foreign=tuple(map(str, told['foreign'])),
    )


def _digest(text: Any) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError('a digest is none')
    return str(text)


def _name(text: Any) -> str:
    """A path that stays below the folder into which it is put."""
    parts = str(text).split('/')
    if len(parts) < 2 or any(part in ('', '.', '..') or '\0' in part for part in parts):
        raise ValueError(f'{text!r} is no name of a file in a backup')
    return str(text)
