"""Helpers for tests of ovca and of its plugins. Public: authors may rely on them."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(argv: Sequence[str], *, config_file: str | None = None, stdin: str = '') -> Result:
    """Run ``ovca`` in this process, as a script would (no terminal), and return what it said."""
    from ovca.cli.app import OvcaApp

    out, err = io.StringIO(), io.StringIO()
    words = (['--config-file', config_file] if config_file else []) + list(argv)
    root = logging.getLogger('')
    handlers = list(root.handlers)
    try:
        code = OvcaApp(stdin=io.StringIO(stdin), stdout=out, stderr=err).run(words)
    finally:
        root.handlers[:] = handlers  # cliff adds one for each application
    return Result(code, out.getvalue(), err.getvalue())
