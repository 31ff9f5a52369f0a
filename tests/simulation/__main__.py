"""``python -m tests.simulation``: run schedules, and print the first that breaks something, with how to repeat it."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

from tests.simulation.faults import AT_POINTS, Schedule, Strike
from tests.simulation.runs import Outcome, Simulation


def main(argv: list[str] | None = None) -> int:
    """Return 1 if a schedule broke an invariant."""
    parser = argparse.ArgumentParser('python -m tests.simulation', description='Whole updates on a clock that is told.')
    parser.add_argument('--engine', choices=('sqlite', 'postgresql'), default='sqlite')
    parser.add_argument('--seed', type=int, help='run the random schedule of this seed')
    parser.add_argument('--seconds', type=float, help='run random schedules for so long')
    parser.add_argument('--start', type=int, default=0, help='the first seed of --seconds')
    parser.add_argument('--singles', action='store_true', help='one fault, at each point in turn')
    parser.add_argument('--pairs', action='store_true', help='two faults, at each two points in turn')
    parser.add_argument('--sample', type=int, help='only so many of the pairs, drawn by --start')
    parser.add_argument('--part', default='1/1', metavar='K/N', help='only each Nth schedule, from the Kth on')
    parser.add_argument('--strike', action='append', default=[], metavar='POINT:KIND', help='this fault at this point')
    parser.add_argument('--trace', action='store_true', help='print what happens')
    parser.add_argument('--go-on', action='store_true', help='do not stop at the first violation')
    args = parser.parse_args(argv)
    simulation = Simulation(args.engine)
    try:
        return _run(simulation, args)
    finally:
        simulation.close()


def _run(simulation: Simulation, args: argparse.Namespace) -> int:
    if args.seed is not None:
        return _one(simulation, simulation.drawn(args.seed), trace=args.trace)
    chosen = _chosen(simulation, args)
    if chosen is None:
        strikes = tuple(Strike.parsed(text) for text in args.strike)
        return _one(simulation, Schedule(strikes=strikes), trace=args.trace)
    part, parts = map(int, args.part.split('/'))
    schedules = itertools.islice(chosen, part - 1, None, parts)
    return _many(simulation, schedules, args.seconds, go_on=args.go_on)


def _chosen(simulation: Simulation, args: argparse.Namespace) -> Iterator[Schedule] | None:
    if args.singles:
        return singles(simulation.points)
    if args.pairs and args.sample is not None:
        return sampled(simulation.points, Random(args.start), args.sample)
    if args.pairs:
        return pairs(simulation)
    if args.seconds is not None:
        return map(simulation.drawn, itertools.count(args.start))
    return None


def singles(points: int) -> Iterator[Schedule]:
    """One fault at each point."""
    for point, kind in itertools.product(range(points), AT_POINTS):
        yield Schedule(strikes=(Strike(point, kind),))


def pairs(simulation: Simulation) -> Iterator[Schedule]:
    """A fault at each point, and a second one at each later point of the run that this makes."""
    for first in singles(simulation.points):
        begun = first.strikes[0].point + 1
        for point, kind in itertools.product(range(begun, simulation.run(first).points), AT_POINTS):
            yield Schedule(strikes=(*first.strikes, Strike(point, kind)))


def sampled(points: int, rng: Random, count: int) -> Iterator[Schedule]:
    """So many pairs; the second fault may come after the end that the run without faults has."""
    for _ in range(count):
        first = rng.randrange(points)
        second = rng.randrange(first + 1, points + 40)
        yield Schedule(strikes=(Strike(first, rng.choice(AT_POINTS)), Strike(second, rng.choice(AT_POINTS))))


def _one(simulation: Simulation, schedule: Schedule, *, trace: bool) -> int:
    outcome = simulation.run(schedule, trace=trace)
    for line in outcome.trace:
        print(line)
    print(outcome)
    return int(outcome.violation is not None)


def _many(simulation: Simulation, schedules: Iterable[Schedule], seconds: float | None, *, go_on: bool) -> int:
    begun, count, ends, wrong = time.monotonic(), 0, Counter[str](), 0
    for schedule in schedules:
        if seconds is not None and time.monotonic() - begun >= seconds:
            break
        outcome = simulation.run(schedule)
        count += 1
        ends[outcome.state] += 1
        if outcome.violation is not None:
            wrong += 1
            _told(outcome)
            if not go_on:
                break
    took = time.monotonic() - begun
    print(f'{count} schedules in {took:.1f} s, {count / max(took, 0.001):.1f} a second; {wrong} broke something')
    print(', '.join(f'{state} {number}' for state, number in ends.most_common()))
    return int(wrong > 0)


def _told(outcome: Outcome) -> None:
    print(outcome)
    schedule = outcome.schedule
    again = f'--seed {schedule.seed}' if schedule.seed is not None else ' '.join(
        f"--strike '{strike.point}:{strike.kind}'" for strike in schedule.strikes
    )  # fmt: skip
    print(f'again, with what happens: python -m tests.simulation {again} --trace', flush=True)


if __name__ == '__main__':
    sys.exit(main())
