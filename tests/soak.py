"""All proofs one after the other, each with its share of the time: python -m tests.soak --seconds 28800

The model may end before its share is over; what it leaves goes to the others.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
GRACE = 120.0
"""Seconds that a part may need to end what it has begun."""


@dataclass(frozen=True)
class Part:
    """One proof; its share is relative to the shares of the others."""

    name: str
    words: tuple[str, ...]
    share: float
    timed: bool = True
    """It takes ``--seconds``."""

    @property
    def here(self) -> bool:
        return importlib.util.find_spec(self.words[0]) is not None


PARTS = (
    Part('the large spaces of the model', ('tests.model', '--jobs', '2'), 3),
    Part('simulation', ('tests.simulation',), 3),
    Part('simulation on PostgreSQL', ('tests.simulation', '--engine', 'postgresql'), 1),
    Part('fault runs', ('tests.faults',), 3),
    Part('lease histories', ('tests.histories',), 1),
)


@dataclass(frozen=True)
class Outcome:
    """How a part ended; ``status`` is None when it was cut off."""

    part: Part
    status: int | None
    seconds: float

    @property
    def bad(self) -> bool:
        return self.status not in (0, None)

    def __str__(self) -> str:
        how = {0: 'found nothing', None: 'was cut off; what it had found until then is above'}.get(
            self.status, 'FAILED, see above'
        )
        return f'{self.part.name}: {how}, after {self.seconds:.0f} s'


def share(left: float, part: Part, rest: Sequence[Part]) -> float:
    """The seconds of a part, when so many are left for it and for ``rest``."""
    return left * part.share / (part.share + sum(other.share for other in rest))


def run(part: Part, seconds: float) -> Outcome:
    """Run a part for so long."""
    print(f'--- {part.name}, {seconds:.0f} s', flush=True)
    begun = time.monotonic()
    timed = ('--seconds', f'{seconds:.0f}') if part.timed else ()
    command = [sys.executable, '-m', *part.words, *timed]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            status: int | None = process.wait(seconds + (GRACE if part.timed else 0))
        except subprocess.TimeoutExpired:
            process.terminate()
            # What knows its time and does not end is broken.
            status = 1 if part.timed else None
    return Outcome(part, status, time.monotonic() - begun)


def main() -> int:
    """Return 1 if a part failed."""
    parser = argparse.ArgumentParser(prog='python -m tests.soak', description=(__doc__ or '').split(':')[0] + '.')
    parser.add_argument('--seconds', type=float, default=3600, help='for all of them (3600)')
    given = parser.parse_args()
    end = time.monotonic() + given.seconds
    parts = [part for part in PARTS if part.here]
    outcomes = []
    for number, part in enumerate(parts):
        left = max(1.0, end - time.monotonic())
        outcomes.append(run(part, share(left, part, parts[number + 1 :])))
    print('--- in all')
    for outcome in outcomes:
        print(outcome)
    for part in PARTS:
        if not part.here:
            print(f'{part.name}: not built yet')
    return int(any(outcome.bad for outcome in outcomes))


if __name__ == '__main__':
    sys.exit(main())
