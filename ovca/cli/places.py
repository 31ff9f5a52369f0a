"""Files and folders that operators name: looked at before anything is begun with them."""

from __future__ import annotations

import argparse
import contextlib
import stat
from collections.abc import Callable
from pathlib import Path

from ovca.exceptions import UsageError


def path(text: str) -> Path:
    """A path, as the ``type`` of an argument. An empty one, as of a variable that is not set, would be this folder."""
    if not text:
        raise argparse.ArgumentTypeError('the path is empty')
    return Path(text)


def need_file(path: Path) -> None:
    """Let a file pass that can be read. :raises UsageError: it is none, or cannot be."""

    def opens() -> None:
        with path.open('rb'):
            return

    _need(path, stat.S_ISREG, 'is not a file', opens)


def need_folder(path: Path) -> None:
    """Let a folder pass that can be read. :raises UsageError: it is none, or cannot be."""
    _need(path, stat.S_ISDIR, 'is not a folder', lambda: list(path.iterdir()))


def refuse_folder(path: Path) -> None:
    """Let the path of a file pass that is to be written. :raises UsageError: a folder is there."""
    with contextlib.suppress(PermissionError):  # then whoever writes it says so
        if path.is_dir():
            raise UsageError(f'{path} is a folder, and a file is to be written; name one', id='no-such-path')


def text(path: Path) -> str:
    """What is in a file of text. :raises UsageError: it is not UTF-8, or cannot be read."""
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeError:
        problem = 'is not UTF-8 text'
    except OSError as exc:
        problem = f'cannot be read: {exc.strerror}'
    raise UsageError(f'{path} {problem}; name another file', id='no-such-path')


def _need(path: Path, kind: Callable[[int], bool], problem: str, look: Callable[[], object]) -> None:
    try:
        if kind(path.stat().st_mode):
            look()
            return
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as exc:
        raise UsageError(
            f'{path} cannot be read: {exc.strerror}; see to its permissions, or name another one', id='no-such-path'
        ) from exc
    raise UsageError(f'{path} {problem}; name the right one', id='no-such-path')
