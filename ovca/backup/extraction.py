"""Files out of a backup onto a disk, for their owner's eyes only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ovca.backup.archive import Reader
from ovca.backup.record import Content
from ovca.files import sync_filesystem


def extract(reader: Reader, contents: Iterable[Content], folder: Path) -> list[Path]:
    """Write these files below ``folder``, under their names in the backup; return the paths.

    :raises BackupError: one is damaged. :raises OSError: one is there already, or cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for content in contents:
        path = folder / content.name  # which stays below the folder: the record has seen to that
        _make(folder, path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, 'wb') as stream:
            for chunk in reader.chunks(content):
                stream.write(chunk)
        written.append(path)
    sync_filesystem(folder)
    return written


def _make(folder: Path, parent: Path) -> None:
    if parent != folder and not parent.is_dir():
        _make(folder, parent.parent)
        parent.mkdir(mode=0o700)
