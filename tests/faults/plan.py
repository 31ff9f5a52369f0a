"""Which faults a run suffers, and when: from its seed alone. Pure.

An instant is a milestone of the update and a delay after it, so that a slow machine meets the same steps as a fast one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

ENGINES = ('sqlite', 'postgresql')
NODES = ('mn1', 'mn2')
"""mn1 is the master when an update begins, mn2 the standby, which is installed first."""

MILESTONES = (
    'asked',
    'published',
    'INSTALL_1',
    'wiped-1',
    'written-1',
    'VERIFY_1',
    'PROVING',
    'INSTALL_2',
    'wiped-2',
    'written-2',
    'VERIFY_2',
)
DELAY = 1.5
"""Seconds, at most, from a milestone to a fault: about as long as each step takes."""

KINDS = {
    'kill': 0.0,
    'pause': 7.0,
    'freeze': 7.0,
    'power-cut': 5.0,
    'cut': 6.0,
    'silence': 6.0,
    'bmc-dead': 6.0,
    'bmc-stuck': 6.0,
    'bmc-slow': 4.0,
    'full-disk': 5.0,
    'database-restart': 3.0,
}
"""The kinds of faults, and for how many seconds each may last; the ttl of the lease is 3 s."""
ONLY_POSTGRESQL = ('database-restart',)
BESIEGED = 7
"""Each so many-th seed has a siege: an odd number, for both engines, and none that the kinds of faults go by."""
CABLES = ('bmc-mn1', 'bmc-mn2', 'boot', 'boot-tls', 'peer')


@dataclass(frozen=True)
class Fault:
    """One fault; ``what`` is a cable, where the kind needs one."""

    kind: str
    node: str
    after: str
    delay: float
    seconds: float
    what: str = ''

    def __str__(self) -> str:
        where = ' '.join(part for part in (self.node, self.what) if part)
        lasts = f' for {self.seconds:.1f} s' if self.seconds else ''
        return f'{self.kind} {where}{lasts}, {self.delay:.2f} s after {self.after}'


@dataclass(frozen=True)
class Plan:
    """What happens in one run."""

    seed: int
    engine: str
    faults: tuple[Fault, ...]
    besieged: bool = False
    """Strangers trouble all servers of the appliance for the whole update."""

    @property
    def again(self) -> str:
        """The command that repeats it, as far as real processes can be repeated."""
        return f'python -m tests.faults --runs 1 --seed {self.seed} --engine {self.engine}'


def plan(seed: int, engine: str | None = None) -> Plan:
    """The plan of a seed; the seed chooses the engine, too, where none is given."""
    chance = random.Random(seed)
    chosen = ENGINES[seed % len(ENGINES)]
    kinds = [kind for kind in KINDS if (engine or chosen) == 'postgresql' or kind not in ONLY_POSTGRESQL]
    # Each kind comes first in its turn, so that so many runs with seeds in a row have them all.
    turn = kinds[seed // len(ENGINES) % len(kinds)]
    more = [chance.choice(kinds) for _ in range(chance.choice((0, 1, 1, 2)))]
    faults = [_fault(chance, kind, engine or chosen) for kind in (turn, *more)]
    return Plan(seed, engine or chosen, tuple(faults), seed % BESIEGED == 0)


def _fault(chance: random.Random, kind: str, engine: str) -> Fault:
    node, after = chance.choice(NODES), chance.choice(MILESTONES)
    what = ''
    if kind in ('cut', 'silence'):
        what = chance.choice((*CABLES, 'database') if engine == 'postgresql' else CABLES)
    longest = KINDS[kind]
    seconds = chance.uniform(0.2 * longest, longest)
    return Fault(kind, '' if kind in ONLY_POSTGRESQL else node, after, chance.uniform(0, DELAY), seconds, what)
