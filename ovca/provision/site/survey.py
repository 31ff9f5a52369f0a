"""What a wipe would lose: files of the node that its image does not have so, and that no site item carries over."""

from __future__ import annotations

import enum
import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovca.exceptions import ImageError

MOST = 500
"""So many lost files are named; the rest is counted."""
PREFIX = 'mgmt_image/'


class Why(enum.StrEnum):
    """How a file differs from the image."""

    ADDED = 'added'
    CHANGED = 'changed'
    REMOVED = 'removed'


@dataclass(frozen=True)
class Loss:
    """A file that an operator, or a program, made other than the image has it."""

    path: str
    why: Why


@dataclass(frozen=True)
class Listed:
    """One file or link of the image."""

    sha256: str
    mode: int
    link: str | None


class Vouched:
    """What the image of the running system holds in the watched folders."""

    def __init__(self, files: dict[str, Listed]) -> None:
        self.files = files
        self._same: dict[str, tuple[tuple[int, ...], bool]] = {}

    @classmethod
    def read(cls, shared_storage: Path, version: str, digest: str | None, folders: Sequence[str]) -> Vouched:
        """Read the list of an image that was published. :raises ImageError: it is not there, or not the right one."""
        path = shared_storage / 'mgmt_image' / version / 'files.json'
        try:
            data = path.read_bytes()
            if digest is not None and hashlib.sha256(data).hexdigest() != digest:
                raise ImageError(f'{path} is not the list that this system was installed from', id='image-differs')
            rows: list[dict[str, Any]] = json.loads(data)['files']
            files = {
                row['path'][len(PREFIX) :]: Listed(
                    row.get('sha256', ''), row.get('mode', 0o644) & 0o777, row.get('link')
                )
                for row in rows
                if row['path'].startswith(PREFIX) and below(row['path'][len(PREFIX) :], folders)
            }
        except OSError as exc:
            raise ImageError(f'{path} cannot be read: {exc.strerror}', id='image-unreadable') from exc
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ImageError(f'{path} is no list of files ({type(exc).__name__})', id='image-unreadable') from exc
        return cls(files)

    def holds(self, root: Path, path: str) -> bool:
        """Whether a file is as the image brought it; what was read is read again only when it was touched."""
        listed = self.files.get(path)
        if listed is None:
            return False
        place = root / path
        try:
            state = place.lstat()
            if listed.link is not None or stat.S_ISLNK(state.st_mode):
                return stat.S_ISLNK(state.st_mode) and os.readlink(place) == listed.link  # noqa: PTH115
            if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o777 != listed.mode:
                return False
            mark = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            known = self._same.get(path)
            if known is None or known[0] != mark:
                with place.open('rb') as stream:
                    known = (mark, hashlib.file_digest(stream, 'sha256').hexdigest() == listed.sha256)
                self._same[path] = known
            return known[1]
        except OSError:
            return False


def below(path: str, folders: Sequence[str]) -> bool:
    """Whether a path lies in one of the folders."""
    return any(path.startswith(folder.strip('/') + '/') for folder in folders)


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path matches one of the patterns, of which ``*`` stands for any part of a path."""
    wanted = [pattern.strip('/').replace('**/', '*') for pattern in patterns]
    return lambda path: any(fnmatch.fnmatchcase(path, pattern) for pattern in wanted)


def losses(root: Path, vouched: Vouched, folders: Sequence[str], *, kept: Callable[[str], bool]) -> list[Loss]:
    """The files in the watched ``folders`` that are not as the image has them, and are not ``kept``; by path."""
    found = []
    present = set()
    for folder in folders:
        for path in _walk(root, folder.strip('/')):
            present.add(path)
            if not kept(path) and not vouched.holds(root, path):
                found.append(Loss(path, Why.CHANGED if path in vouched.files else Why.ADDED))
    gone = (path for path in vouched.files if path not in present and not kept(path))
    found += [Loss(path, Why.REMOVED) for path in gone if not os.path.lexists(root / path)]
    return sorted(set(found), key=lambda loss: loss.path)


def _walk(root: Path, folder: str) -> Iterator[str]:
    """The files and links below a folder, however deep."""
    left = [folder]
    while left:
        folder = left.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError:
            continue
        for entry in entries:
            path = f'{folder}/{entry.name}'
            if entry.is_dir(follow_symlinks=False):
                left.append(path)
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                yield path
