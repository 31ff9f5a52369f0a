"""Look for inputs that break the readers of images, or a server: python -m tests.fuzz [--seconds 600] [target ...]

What reaches new lines is kept in .fuzz/<target>, so that the next run goes on from there. An input that breaks a reader
is written there, too: put it into tests/corpus/<target>, named after what it is, mend the reader, and keep both.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.driver import TARGETS, unpack

ROOT = Path(__file__).parent.parent.parent


def search(target: str, seconds: int, found: Path) -> int:
    """Look for so long; return libFuzzer's exit status, 0 when nothing was found."""
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='ovca-fuzz-') as folder:
        kept = unpack(target, Path(folder, 'corpus'))
        words = [f'-max_total_time={seconds}', '-timeout=20', '-rss_limit_mb=1024', f'-artifact_prefix={found}/']
        command = [sys.executable, '-m', f'tests.fuzz.{target}', *words, str(found), str(kept)]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Run the targets one after the other; the status is 1 if one of them was broken."""
    parser = argparse.ArgumentParser(prog='python -m tests.fuzz')
    parser.add_argument('--seconds', type=int, default=600, help='for each target (600)')
    parser.add_argument('targets', nargs='*', metavar='target', help=', '.join(TARGETS))
    given = parser.parse_args()
    broken = [t for t in given.targets or TARGETS if search(t, given.seconds, ROOT / '.fuzz' / t)]
    if broken:
        print(f'broken: {", ".join(broken)}; the inputs are in {ROOT / ".fuzz"}', file=sys.stderr)
    return bool(broken)


if __name__ == '__main__':
    sys.exit(main())
