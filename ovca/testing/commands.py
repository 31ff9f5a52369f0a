"""Running a command in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ['Result', 'run']


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What a command that was run with ``-f json`` printed."""
        return json.loads(self.out)


def run(argv: Sequence[str], *, config_file: str | os.PathLike[str] | None = None, stdin: str = '') -> Result:
    """Run ``ovca`` in this process, as a script would (no terminal), and return what it said."""
    from ovca.cli.app import OvcaApp

    out, err = io.StringIO(), io.StringIO()
    words = ['--config-file', os.fspath(config_file)] if config_file else []
    # argparse writes to the process's streams, not to the application's.
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = OvcaApp(stdin=io.StringIO(stdin), stdout=out, stderr=err).run([*words, *argv])
    return Result(code, out.getvalue(), err.getvalue())
