"""A note in the folder of a published image: that it was published, for a database that does not know it (any more).

It is written once the row of the image is committed, and removed before the row is deleted. So a crash at any moment
leaves a folder without row and without note, which nobody needs; and what has a note but no row was published, and the
database is another one, or an older one. Nothing in it is trusted: it keeps a folder from being removed, and is shown.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import shutil
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ovca.files import fsync_dir, read_regular, write_atomic
from ovca.image.strictjson import UNREADABLE, harmless, loads, typed

NAME = 'published.json'
FORMAT = 1
LIMIT = 64 * 1024
"""Bytes."""
FEW = 10
"""How many images are named in a sentence."""
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note:
    """What the row of an image says as well; times are texts of ISO 8601."""

    version: str
    digest: str | None = None
    source: str | None = None
    """Without user, password and query."""
    signed_by: str | None = None
    published_at: str | None = None


def unknown(versions: Sequence[str]) -> tuple[str, str]:
    """What is said of published images that the database does not know, and the remedy; of many the last few."""
    few, more = versions[-FEW:], len(versions) - FEW
    many, names = len(versions) > 1, ' '.join(few)
    others = f' and {more} more' if more > 0 else ''
    return (
        f'image{"s" if many else ""} {", ".join(few)}{others} {"lie" if many else "lies"} on the shared storage, and '
        f'the database does not know {"them" if many else "it"}',
        f'`ovca image-adopt {names}` takes {"them" if many else "it"} up, `ovca image-delete {names}` removes '
        f'{"them" if many else "it"}',
    )


def stamp(moment: dt.datetime | None = None) -> str:
    """A time as a note holds it; without one, by this machine's clock, now."""
    return f'{(moment or dt.datetime.now(dt.UTC)).astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}'


def is_there(folder: Path) -> bool:
    """Whether a folder has a note. Whatever lies in its place counts: what was published is not to be lost for it.

    :raises OSError: it cannot be looked at.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return False
        (folder / NAME).lstat()
    except FileNotFoundError:
        return False
    return True


def read(folder: Path) -> Note | None:
    """What the note in a folder says; None where there is none, or none that can be read."""
    try:
        raw = loads(read_regular(folder / NAME, LIMIT))
        harmless(raw)
        return Note(
            typed(raw, 'version', str),
            *(typed(raw, key, str, None) for key in ('digest', 'source', 'signed_by', 'published_at')),
        )
    except (OSError, *UNREADABLE) as exc:
        LOG.debug('%s: %s', folder / NAME, exc)
        return None


def write(folder: Path, note: Note) -> bool:
    """Write a note, so that it survives a power loss; return whether that could be done.

    An image counts without, so that it cannot is only told; the next cleaning tries again.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return False  # a link leads elsewhere
        for left in folder.glob(f'.{NAME}.*'):  # of one that died while it wrote
            left.unlink()
        if (folder / NAME).is_dir() and not (folder / NAME).is_symlink():  # which nothing replaces
            shutil.rmtree(folder / NAME)
        data = json.dumps({'format': FORMAT, **asdict(note)}, indent=1, sort_keys=True)
        write_atomic(folder / NAME, data.encode() + b'\n')
    except OSError as exc:
        LOG.warning(
            'that image %s was published cannot be noted in %s: %s; the next download tries again',
            note.version,
            folder,
            exc.strerror or exc,
        )
        return False
    return True


def remove(folder: Path) -> None:
    """Remove the note of a folder, or whatever lies in its place; afterwards no power loss brings it back.

    :raises OSError: it cannot be removed.
    """
    if not is_there(folder):
        return
    path = folder / NAME
    if stat.S_ISDIR(path.lstat().st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()
    fsync_dir(folder)
