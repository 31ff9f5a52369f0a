"""What goes wrong in a run, and when: at a numbered point, or at a time."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from random import Random


class Kind(enum.StrEnum):
    """What breaks."""

    KILL = 'kill'
    """The service (or the installer) at the point dies; a service is started again."""
    POWER = 'power loss'
    """The node at the point loses its power."""
    POWER_PEER = 'power loss of the other'
    PAUSE = 'pause'
    """The whole node stands still for so many seconds, and then goes on where it was."""
    LOST = 'lost reply'
    """What was done was done; whoever asked for it hears of an error."""
    NETWORK_BOOT = 'stray network boot'
    OUTAGE = 'database outage'
    """Nobody reaches the database for so many seconds."""
    CUT = 'database cut'
    """One node does not reach it."""
    CLOCK = 'clock jump'
    """The database's clock is set forward (or back) by so many seconds."""
    ILL = 'ill'
    """A health check of a node fails for so many seconds."""
    BMC_DEAD = 'BMC unreachable'
    BMC_STUCK = 'BMC accepts, machine stays on'
    BMC_REPEATS = 'BMC repeats the network boot'
    BLOCKED = 'checks fail'
    """The checks before the next stage fail for so many seconds."""
    ABORT = 'abort'
    PAUSED = 'operator pauses'
    """For so many seconds, then lets it go on."""


AT_POINTS = (Kind.KILL, Kind.POWER)
"""What is enumerated at each point."""


@dataclass(frozen=True)
class Strike:
    """Something breaks at the point with this number."""

    point: int
    kind: Kind
    seconds: float = 0.0

    @classmethod
    def parsed(cls, text: str) -> Strike:
        """From ``point:kind`` or ``point:kind:seconds``. :raises ValueError: it is neither."""
        point, kind, *seconds = text.split(':')
        return cls(int(point), Kind(kind), float(seconds[0]) if seconds else 0.0)

    def __str__(self) -> str:
        return f'at point {self.point}: {self.kind}' + (f' for {self.seconds:g} s' if self.seconds else '')


@dataclass(frozen=True)
class Mishap:
    """Something breaks at a time."""

    at: float
    kind: Kind
    node: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f'at {self.at:g} s: {self.node}: {self.kind}' + (f', {self.seconds:g} s' if self.seconds else '')


@dataclass(frozen=True)
class Schedule:
    """All that makes a run what it is; the same schedule gives the same run."""

    seed: int | None = None
    """Of the order of threads; None: as they come."""
    branch: tuple[int, ...] = ()
    """It went its own way from this moment of the seed's run, and from such moments of that one."""
    strikes: tuple[Strike, ...] = ()
    mishaps: tuple[Mishap, ...] = ()
    image: str = 'good'
    """As the model's: ``good``, ``bad`` as standby, ``bad-as-master``."""
    lost: float = 0.0
    """How likely an answer over the network is lost."""
    doubled: float = 0.0
    """How likely a question over the network arrives twice."""
    preempted: float = 0.0
    """How likely a thread is interrupted before a transaction or an effect."""
    held: float | None = None
    """The update was asked for with a stop before its commit point, and this is when an operator lets it go on."""

    def __str__(self) -> str:
        lines = [f'seed {self.name}, image {self.image}, lost {self.lost:g}, doubled {self.doubled:g}, '
                 f'interrupted {self.preempted:g}']  # fmt: skip
        if self.held is not None:
            lines.append(f'held before its commit point until {self.held:g} s')
        return '\n'.join([*lines, *map(str, self.strikes), *map(str, self.mishaps)])

    @property
    def name(self) -> str:
        """What it is drawn from again."""
        return '.'.join(map(str, (self.seed, *self.branch)))

    @property
    def calm_after(self) -> float:
        """When the last fault that has a time is over."""
        ends = (m.at + (m.seconds if m.kind is not Kind.CLOCK else 0.0) for m in self.mishaps)
        return max([self.held or 0.0, *ends])


LASTS = 45.0
"""Seconds in which faults begin."""
BRANCHES = 25.0
"""Seconds of a run in which others may begin to go their own way."""
SOON, AHEAD = 10.0, 60
"""The seconds, and the points, within which such a run has faults of its own."""
LOST, DOUBLED, PREEMPTED = (0.0, 0.0, 0.05, 0.2), (0.0, 0.0, 0.2), (0.0, 0.02, 0.1)
HELD = 0.15
"""How many updates are held before their commit point."""
_TIMED = {
    Kind.KILL: (0.0, 0.0),
    Kind.POWER: (2.0, 20.0),
    Kind.PAUSE: (0.5, 15.0),
    Kind.NETWORK_BOOT: (0.0, 0.0),
    Kind.OUTAGE: (0.5, 12.0),
    Kind.CUT: (0.5, 12.0),
    Kind.CLOCK: (-20.0, 20.0),
    Kind.ILL: (0.5, 9.0),
    Kind.BMC_DEAD: (1.0, 15.0),
    Kind.BMC_STUCK: (1.0, 15.0),
    Kind.BMC_REPEATS: (5.0, 30.0),
    Kind.BLOCKED: (1.0, 15.0),
    Kind.ABORT: (0.0, 0.0),
    Kind.PAUSED: (1.0, 15.0),
}
_STRUCK = {
    Kind.KILL: (0.0, 0.0),
    Kind.POWER: (0.0, 0.0),
    Kind.POWER_PEER: (0.0, 0.0),
    Kind.PAUSE: (0.5, 15.0),
    Kind.LOST: (0.0, 0.0),
}
_COMMON = (Kind.KILL, Kind.POWER, Kind.PAUSE, Kind.CUT, Kind.OUTAGE)


def drawn(seed: int, points: int, nodes: tuple[str, str]) -> Schedule:
    """The random schedule of this seed; ``points`` is how many a run without faults has."""
    rng = Random(seed)
    strikes = _strikes(rng, rng.choice((0, 1, 1, 2, 3)), 0, points)
    mishaps = _mishaps(rng, rng.choice((0, 1, 2, 3, 5)), (0.0, LASTS), nodes)
    return Schedule(
        seed=seed,
        strikes=strikes,
        mishaps=mishaps,
        image=rng.choice(('good',) * 8 + ('bad', 'bad-as-master')),
        lost=rng.choice(LOST),
        doubled=rng.choice(DOUBLED),
        preempted=rng.choice(PREEMPTED),
        held=_between(rng, (0.0, LASTS)) if rng.random() < HELD else None,
    )


def moments(schedule: Schedule, now: float, count: int) -> list[float]:
    """When other runs may go on from this one, with faults of their own."""
    rng = Random(f'moments of {schedule.name}')
    return sorted(round(now + rng.uniform(0.0, BRANCHES), 2) for _ in range(count))


def redrawn(schedule: Schedule, number: int, now: float, point: int, nodes: tuple[str, str]) -> Schedule:
    """The schedule with other faults from now on: the branch of this number.

    What has happened stays, and so does the image. At least one fault is new.
    """
    branch = dataclasses.replace(schedule, branch=(*schedule.branch, number))
    rng = Random(f'branch {branch.name}')
    struck, timed = rng.choice(((0, 1), (1, 0), (1, 0), (1, 1), (0, 2), (2, 0), (2, 1), (1, 2), (3, 2)))
    strikes = _strikes(rng, struck, point, AHEAD)
    mishaps = _mishaps(rng, timed, (now + 0.01, now + SOON), nodes)
    return dataclasses.replace(
        branch,
        strikes=(*(s for s in schedule.strikes if s.point < point), *strikes),
        mishaps=(*(m for m in schedule.mishaps if m.at <= now), *mishaps),
        lost=rng.choice(LOST),
        doubled=rng.choice(DOUBLED),
        preempted=rng.choice(PREEMPTED),
    )


def _strikes(rng: Random, count: int, first: int, points: int) -> tuple[Strike, ...]:
    found = []
    for _ in range(count):
        kind = rng.choice(tuple(_STRUCK))
        found.append(Strike(first + rng.randrange(points), kind, _between(rng, _STRUCK[kind])))
    return tuple(sorted(found, key=lambda s: s.point))


def _mishaps(rng: Random, count: int, when: tuple[float, float], nodes: tuple[str, str]) -> tuple[Mishap, ...]:
    found = []
    for _ in range(count):
        kind = rng.choice(_COMMON) if rng.random() < 0.4 else rng.choice(tuple(_TIMED))
        found.append(Mishap(_between(rng, when), kind, rng.choice(nodes), _between(rng, _TIMED[kind])))
    return tuple(sorted(found, key=lambda m: m.at))


def _between(rng: Random, bounds: tuple[float, float]) -> float:
    return round(rng.uniform(*bounds), 2)


@dataclass
class Now:
    """What is broken at this moment."""

    outage: int = 0
    cut: dict[str, int] = field(default_factory=dict)
    ill: dict[str, int] = field(default_factory=dict)
    bmc_dead: dict[str, int] = field(default_factory=dict)
    blocked: int = 0
