"""Whole updates with faults at random instants: python -m tests.faults --runs 200 | --seconds 3600

Kinds and instants follow from the seed of a run. Real processes are not deterministic: the same seed meets the same
steps with the same faults, and mostly, not always, what comes of them.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.faults.plan import ENGINES, plan
from tests.faults.run import Report, make_stock, run


def main() -> int:
    """Run, print a summary; the status is 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog='python -m tests.faults', description=(__doc__ or '').split(':')[0] + '.')
    parser.add_argument('--runs', type=int, help='how many (10, unless --seconds says how long)')
    parser.add_argument('--seconds', type=float, help='no run begins after so long')
    parser.add_argument('--seed', type=int, help='of the first run; the next ones have the next numbers')
    parser.add_argument('--engine', choices=ENGINES, help='one engine only; else the seed chooses')
    parser.add_argument('--jobs', type=int, default=2, help='runs at the same time (2)')
    parser.add_argument('--keep', type=Path, help='where the labs of wrong runs are kept; default: a temporary folder')
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    folder = given.keep or Path(tempfile.mkdtemp(prefix='ovca-faults-'))
    folder.mkdir(parents=True, exist_ok=True)
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix='ovca-stock-') as name:
        stock = make_stock(Path(name))
        turn = _turns(_seeds(seed, given.runs or (None if given.seconds else 10), given.seconds))
        with ThreadPoolExecutor(given.jobs) as pool:
            work = [pool.submit(_work, turn, given.engine, folder, stock) for _ in range(given.jobs)]
            for done in as_completed(work):
                reports += done.result()
    print(summary(reports))
    wrong = any(report.problems for report in reports)
    if not wrong and given.keep is None:
        shutil.rmtree(folder)
    return int(wrong)


def _seeds(first: int, runs: int | None, seconds: float | None) -> Iterator[int]:
    end = None if seconds is None else time.monotonic() + seconds
    for seed in itertools.islice(itertools.count(first), runs):
        if end is not None and time.monotonic() > end:
            return
        yield seed


def _turns(seeds: Iterator[int]) -> Callable[[], int | None]:
    """What gives each thread that asks the next seed, and None when there is none left."""
    lock = threading.Lock()

    def turn() -> int | None:
        with lock:
            return next(seeds, None)

    return turn


def _work(turn: Callable[[], int | None], engine: str | None, folder: Path, stock: Path) -> list[Report]:
    reports = []
    while (seed := turn()) is not None:
        one = plan(seed, engine)
        place = folder / f'{seed}-{one.engine}'
        try:
            report = run(one, place, stock)
        except Exception as exc:  # a run that cannot be judged is one that failed, and the others go on
            report = Report(one, 'the run itself failed', problems=[f'{type(exc).__name__}: {exc}'])
        if report.problems:
            print(f'  kept in {place}', flush=True)
        else:
            shutil.rmtree(place)
        print(report, flush=True)
        reports.append(report)
    return reports


def summary(reports: list[Report]) -> str:
    """Runs, faults by kind, ends, and the seeds that failed."""
    faults = Counter(fault.kind for report in reports for fault in report.met)
    ends = Counter('no update' if report.end.startswith('no update') else report.end for report in reports)
    engines = Counter(report.plan.engine for report in reports)
    wrong = [report for report in reports if report.problems]
    planned = sum(len(report.plan.faults) for report in reports)
    return '\n'.join(
        [
            f'{len(reports)} runs: {_counted(engines)}',
            f'{faults.total()} faults of {planned} planned: {_counted(faults)}',
            f'ends: {_counted(ends)}',
            f'{len(wrong)} wrong' + ''.join(f'\n  {report.plan.again}' for report in wrong),
        ]
    )


def _counted(counter: Counter[str]) -> str:
    return ', '.join(f'{count} {what}' for what, count in sorted(counter.items()))


if __name__ == '__main__':
    sys.exit(main())
