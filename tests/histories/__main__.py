"""Let processes contend for a lease, and judge what they noted: python -m tests.histories [--seconds 60] [--seed N]

Real processes are not deterministic: a seed repeats the instants of the pauses and kills, and mostly what comes of
them. A history that is refused is kept, and named.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.databases import ENGINES, fresh_database
from tests.histories.checker import problems
from tests.histories.contest import Contest

EACH = 8.0
"""Seconds of one contest."""


def main() -> int:
    """Run contests, the engines in turn; the status is 1 if a history was refused."""
    parser = argparse.ArgumentParser(prog='python -m tests.histories', description=(__doc__ or '').split('\n\n')[0])
    parser.add_argument('--seconds', type=float, default=60, help='how long in all (60); at least one contest is held')
    parser.add_argument('--seed', type=int, help='of the first contest; the next ones have the next numbers')
    parser.add_argument('--engine', choices=ENGINES, help='one engine only')
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    engines = [given.engine] if given.engine else ENGINES
    end, held, refused = time.monotonic() + given.seconds, 0, 0
    while not held or time.monotonic() + EACH < end:
        engine = engines[held % len(engines)]
        wrong = contest(engine, seed + held)
        refused += bool(wrong)
        held += 1
    print(f'{held} contests, {refused} histories refused')
    return int(refused > 0)


def contest(engine: str, seed: int) -> list[str]:
    """Hold one, print a line, and return what is wrong with its history."""
    folder = Path(tempfile.mkdtemp(prefix='ovca-history-'))
    with fresh_database(engine, folder) as url:
        one = Contest(url, folder, seed)
        history = one.run(lambda _: False, EACH)
    wrong = problems(history)
    epochs = len({belief.epoch for belief in history.beliefs})
    done = ', '.join(f'{count} {what}' for what, count in one.done.items())
    print(f'{engine} seed {seed}: {len(history.operations)} operations, {epochs} epochs led, {done}', flush=True)
    for line in wrong:
        print(f'  REFUSED: {line}')
    if wrong:
        print(f'  kept in {folder}; again: python -m tests.histories --seconds 1 --seed {seed} --engine {engine}')
    else:
        shutil.rmtree(folder)
    return wrong


if __name__ == '__main__':
    sys.exit(main())
