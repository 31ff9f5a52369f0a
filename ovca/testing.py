"""Helpers for tests of ovca and of its plugins. Public: authors may rely on them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def run(argv: Sequence[str], *, config_file: str | Path | None = None, stdin: str = '') -> Result:
    """Run ``ovca`` in this process, as a script would (no terminal), and return what it said."""
    from ovca.cli.app import OvcaApp

    out, err = io.StringIO(), io.StringIO()
    words = ['--config-file', str(config_file)] if config_file else []
    # argparse writes to the process's streams, not to the application's.
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = OvcaApp(stdin=io.StringIO(stdin), stdout=out, stderr=err).run([*words, *argv])
    return Result(code, out.getvalue(), err.getvalue())


def write_distribution(
    folder: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], *, version: str = '1.0', **modules: str
) -> None:
    """Write an installed distribution into a folder that is (or will be) on ``sys.path``.

    ``entry_points`` are names and objects by group, ``modules`` are sources by module name. Call
    ``importlib.invalidate_caches()`` when the folder was on the path already.
    """
    info = folder / f'{name}-{version}.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    lines = []
    for group, entries in entry_points.items():
        lines += [f'[{group}]', *(f'{key} = {value}' for key, value in entries.items())]
    (info / 'entry_points.txt').write_text('\n'.join(lines) + '\n')
    for module, source in modules.items():
        (folder / f'{module}.py').write_text(source)
