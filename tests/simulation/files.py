"""Changes of files, noticed where Python itself makes them: by an audit hook, before each."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

_watched: list[tuple[str, int, Callable[[str], None]]] = []


def watch_files(base: str, told: Callable[[str], None] | None) -> None:
    """Tell of each change of a file below ``base`` in this thread, before it is made; None: no more."""
    _watched.clear()
    if told is not None:
        if not watch_files.__dict__.get('hooked'):
            sys.addaudithook(_audit)
            watch_files.__dict__['hooked'] = True
        _watched.append((base, threading.get_ident(), told))


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watched or event not in ('open', 'os.rename', 'os.remove'):
        return
    if event == 'open' and not (isinstance(args[1], str) and args[1][0] in 'wxa'):
        return
    path = args[1] if event == 'os.rename' else args[0]
    base, thread, told = _watched[0]
    if not isinstance(path, (str, os.PathLike)):
        return
    text = os.fspath(path)
    if not isinstance(text, str) or not text.startswith(base) or threading.get_ident() != thread:
        return
    name = text.rpartition('/')[2]
    if not name.startswith('.'):
        told(f'{event.rpartition(".")[2]} {text[len(base) + 1 :]}')
