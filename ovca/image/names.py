"""Which names an image may use: the same in the zip, the ISO and ``files.json``. Standard library only."""

from __future__ import annotations

import re

MAX_PATH = 3072
"""The longest path in bytes: Linux takes 4095, and the folders of the storage come before it."""
MAX_LINK = 4095
CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
"""Characters that would change a line of a terminal or of a log, and halves of characters, which no file has."""
# systemd escapes with it, and such units are in every Linux tree: system-systemd\x2dcryptsetup.slice
BACKSLASH = re.compile(r'\\(?!x[0-9a-f]{2})')


def shown(text: str) -> str:
    """The text in characters that can be printed; the others, as those that turn the direction of a line, escaped."""
    return text if text.isprintable() else ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def flaw(name: str) -> str | None:
    """Why no file may have this name (words that follow it), or None: it is harmless in any folder."""
    if not name:
        return 'is no name'
    if name in ('.', '..') or '/' in name:
        return 'would leave its folder and is not a name that a file may have'
    if CONTROL.search(name):
        return 'holds a control character and is not a name that a file may have'
    if BACKSLASH.search(name):
        return 'holds a backslash and is not a name that a file may have'
    return None


def link_flaw(target: str) -> str | None:
    """Why no link may point there (words that follow it), or None."""
    if not target:
        return 'points nowhere'
    if CONTROL.search(target):
        return 'points to a path with a control character'
    if len(target.encode()) > MAX_LINK:
        return f'points to a path longer than {MAX_LINK} bytes'
    return None
