"""Downloads whose ISO is kept, and how they end before their end."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ovca.image import Store
from ovca.image.errors import Cancelled

from .conftest import SIZE, Get
from .fetch.peers import Origin

MEGABYTE = 1024 * 1024

CHILD = """
    import os, resource, signal, sys, types
    sys.path[:0] = {path!r}
    from ovca.exceptions import DatabaseUnavailable, ImageError
    from ovca.image import Store, receive
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    conf = types.SimpleNamespace(update=types.SimpleNamespace(**{update!r}), image=types.SimpleNamespace(**{image!r}))
    def die(stage):
        if stage == {stage!r}:
            os.kill(os.getpid(), signal.SIGKILL)
    try:
        receive({uri!r}, store=Store.from_conf(conf), conf=conf, progress=lambda p: die(p.stage),
                cancelled=lambda: False, accept=lambda m: None, commit=lambda i: die('commit'))
    except ImageError as exc:
        print(exc)
"""


def left(store: Store) -> int:
    """How much of the ISO an interrupted download has left."""
    return sum(path.stat().st_size for path in store.staging.glob('*.iso'))


def parts(store: Store) -> list[Path]:
    return list(store.staging.glob('*.part'))


def stopped(get: Get, store: Store, origin: Origin) -> None:
    """Stop a download when a fourth of the ISO is there; the next one is not held up."""
    origin.rate = 4 * MEGABYTE
    with pytest.raises(Cancelled):
        get(origin.uri, cancelled=lambda: left(store) >= SIZE * MEGABYTE / 4)
    assert left(store) < SIZE * MEGABYTE
    origin.rate = None


def child(conf: Any, origin: Origin, *, stage: str = '', limit: int = -1) -> list[str]:
    """What runs in a process of its own: it dies in a stage, or files cannot be longer than a limit."""
    code = textwrap.dedent(CHILD).format(
        path=sys.path, update=vars(conf.update), image=vars(conf.image), uri=origin.uri, stage=stage, limit=limit
    )
    return [sys.executable, '-c', code]
