"""How long the command line takes to start, as ratios against Python itself.

    python bench/startup.py [--runs 21]

Each pair of commands is run in turn, A B A B …, after a warm-up, and the medians of whole processes are compared, so
that the machine's speed and its moods cancel out. The heavy plugins are ten packages, each with a command whose module
sleeps for half a second when it is imported. Exit status 1 when a ratio is above its bound.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HEAVY = '''
import time
time.sleep(0.5)
from ovca.cli import base

class Heavy(base.Command):
    """Weigh something."""
'''
SCRIPT = 'import sys; from ovca.cli.main import main; sys.exit(main(sys.argv[1:]))'
PREPARE = (
    'import sys; from ovca.db import schema; from ovca.db.engine import Database; schema.prepare(Database(sys.argv[1]))'
)


@dataclass(frozen=True)
class Program:
    """A command line and its environment."""

    words: Sequence[str]
    path: str

    def seconds(self) -> float:
        """Run it once; return how long it took as a whole process."""
        environment = {**os.environ, 'PYTHONPATH': self.path}
        begin = time.perf_counter()
        subprocess.run(self.words, check=True, stdout=subprocess.DEVNULL, env=environment)
        return time.perf_counter() - begin


def compared(a: Program, b: Program, runs: int) -> tuple[float, float]:
    """Return the medians of both, run in turn."""
    for program in (a, b):
        program.seconds()
    pairs = [(a.seconds(), b.seconds()) for _ in range(runs)]
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)


def heavy_plugins(folder: Path, number: int = 10) -> None:
    """Write installed packages that are slow to import."""
    from ovca.testing import write_distribution

    for i in range(number):
        entries = {'ovca.cli': {f'heavy-{i}': f'heavy{i}:Heavy'}}
        write_distribution(folder, f'heavy-{i}', entries, **{f'heavy{i}': HEAVY})


def measure(runs: int, folder: Path) -> list[tuple[str, str, float, float, float]]:
    """Return what was compared with what, both medians in ms, and the bound of their ratio."""
    plugins = folder / 'plugins'
    plugins.mkdir()
    heavy_plugins(plugins)
    config = folder / 'ovca.conf'
    config.write_text(f'[database]\nconnection = sqlite:///{folder}/ovca.sqlite\n')
    subprocess.run([sys.executable, '-c', PREPARE, f'sqlite:///{folder}/ovca.sqlite'], check=True)
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH')]))
    commands: Mapping[str, Sequence[str]] = {
        '--version': ['--version'],
        '--help': ['--help'],
        'image-list': ['--config-file', str(config), 'image-list'],
    }

    def ovca(name: str, more: str = '') -> Program:
        return Program([sys.executable, '-c', SCRIPT, *commands[name]], f'{more}{os.pathsep}{path}' if more else path)

    def python(source: str) -> Program:
        return Program([sys.executable, '-c', source], path)

    plans = [
        ('ovca --version', ovca('--version'), 'python -c pass', python('pass'), 4.0),
        ('ovca --help', ovca('--help'), 'python -c pass', python('pass'), 4.0),
        (
            'ovca image-list',
            ovca('image-list'),
            "python -c 'import sqlalchemy.orm'",
            python('import sqlalchemy.orm'),
            1.4,
        ),
    ]
    for name in commands:
        # To read ten more descriptions takes time; what is forbidden is to import them.
        plans.append((f'ovca {name}, ten heavy plugins', ovca(name, str(plugins)), f'ovca {name}', ovca(name), 1.1))
    rows = []
    for what, program, than, other, bound in plans:
        first, second = compared(program, other, runs)
        rows.append((what, than, first * 1000, second * 1000, bound))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=21, metavar='<number>', help='counted runs of each (default: 21)')
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(runs, Path(folder))
    print(f'{"command":34} {"ms":>6}  {"against":36} {"ms":>6}  {"ratio":>6} {"bound":>6}')
    for what, than, first, second, bound in rows:
        print(f'{what:34} {first:6.1f}  {than:36} {second:6.1f}  {first / second:6.2f} {bound:6.2f}')
    return int(any(first / second > bound for _, _, first, second, bound in rows))


if __name__ == '__main__':
    sys.exit(main())
