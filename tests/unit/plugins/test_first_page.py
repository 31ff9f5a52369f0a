"""The page "Write a plugin in 30 minutes" is enough to write the example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / 'doc/source/plugins/first.rst'
EXAMPLE = ROOT / 'examples/ovca-plugin-hello'
LISTING = re.compile(r'^\.\. literalinclude:: (\S+)\n((?:   :.*\n)*)', re.MULTILINE)


def listings() -> dict[Path, list[str]]:
    """What the page shows: each file with its listings' texts."""
    shown: dict[Path, list[str]] = {}
    for name, options in LISTING.findall(PAGE.read_text()):
        path = (PAGE.parent / name).resolve()
        lines = path.read_text().splitlines()
        chosen = dict(re.findall(r':([a-z-]+): (.*)', options))
        first = next(i for i, line in enumerate(lines) if chosen.get('start-at', '') in line)
        last = next((i for i in range(first, len(lines)) if chosen.get('end-before', '\0') in lines[i]), len(lines))
        part = lines[first:last]
        shown.setdefault(path, []).append('\n'.join(part[:2] if 'lines' in chosen else part))
    return shown


def test_every_file_of_the_example_is_shown_in_full() -> None:
    shown = listings()

    for path in EXAMPLE.rglob('*.py'):
        text = path.read_text()
        if path.name != '__init__.py' and 'build' not in path.parts:
            assert shown.get(path) == [text.rstrip('\n')], path


def test_the_parts_of_the_project_file_are_the_whole() -> None:
    parts = listings()[EXAMPLE / 'pyproject.toml']

    missing = [
        line
        for line in (EXAMPLE / 'pyproject.toml').read_text().splitlines()
        if line and not any(line in part.splitlines() for part in parts)
    ]

    assert missing == []


def test_what_helps_the_tests_of_plugins_needs_no_pytest() -> None:
    code = "import ovca.testing, sys; assert 'pytest' not in sys.modules"

    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr
