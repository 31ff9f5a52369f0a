"""``python -m tests.simulation``: run schedules, and print the first that breaks something, with how to repeat it."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

from tests.databases import ENGINES, postgresql_server
from tests.simulation.branches import families, named
from tests.simulation.database import Server
from tests.simulation.faults import AT_POINTS, Schedule, Strike
from tests.simulation.runs import Outcome, Simulation
from tests.simulation.spread import spread


def main(argv: list[str] | None = None) -> int:
    """Return 1 if a schedule broke an invariant."""
    parser = argparse.ArgumentParser('python -m tests.simulation', description='Whole updates on a clock that is told.')
    parser.add_argument('--engine', choices=ENGINES, default='sqlite', help='the database of both nodes (%(default)s)')
    parser.add_argument(
        '--seed', metavar='SEED[.BRANCH...]', help='run the random schedule of this seed, or branch of it'
    )
    parser.add_argument('--seconds', type=float, help='run random schedules for so long, each with its branches')
    parser.add_argument('--no-branches', action='store_true', help='run each of them from its start')
    parser.add_argument('--start', type=int, default=0, help='the first seed of --seconds')
    parser.add_argument('--singles', action='store_true', help='one fault, at each point in turn')
    parser.add_argument('--pairs', action='store_true', help='two faults, at each two points in turn')
    parser.add_argument('--sample', type=int, help='only so many of the pairs, drawn by --start')
    parser.add_argument(
        '--part', default='1/1', metavar='K/N', help='only each Nth first point, or seed, from the Kth on'
    )
    parser.add_argument('--strike', action='append', default=[], metavar='POINT:KIND', help='this fault at this point')
    parser.add_argument('--trace', action='store_true', help='print what happens')
    parser.add_argument('--go-on', action='store_true', help='do not stop at the first violation')
    args = parser.parse_args(argv)
    if args.engine != 'sqlite':
        args.no_branches = True
    if args.engine != 'sqlite' and (args.singles or (args.pairs and args.sample is None)):
        parser.error(
            f'--singles and --pairs fork the process at each point, and processes cannot share a connection to '
            f'{args.engine}; leave out --engine, or try --pairs --sample N, which forks nothing'
        )
    with contextlib.ExitStack() as stack:
        server = _postgresql(stack) if args.engine == 'postgresql' else None
        simulation = Simulation(server)
        stack.callback(simulation.close)
        return _run(simulation, args)


def _postgresql(stack: contextlib.ExitStack) -> Server:
    from tests.simulation.postgresql import PostgresqlServer

    server = stack.enter_context(postgresql_server())
    server.create('simulation')
    return PostgresqlServer(server.url('simulation'))


def _run(simulation: Simulation, args: argparse.Namespace) -> int:
    if args.seed is not None:
        try:
            return _one(named(simulation, args.seed, trace=args.trace))
        except ValueError as exc:
            print(f'--seed {args.seed}: {exc}', file=sys.stderr)
            return 2
    part, parts = map(int, args.part.split('/'))
    if args.singles or (args.pairs and args.sample is None):
        points, outcomes = spread(simulation, depth=2 if args.pairs else 1, part=(part - 1, parts))
        print(f'{simulation.points} points without faults; at {points} of them a fault makes a difference of its own')
        return _told(outcomes, None, go_on=True)
    if args.pairs:
        schedules = sampled(simulation.points, Random(args.start), args.sample)
    elif args.seconds is not None:
        seeds = itertools.count(args.start + part - 1, parts)
        if not args.no_branches:
            return _told(families(simulation, seeds), args.seconds, go_on=args.go_on)
        schedules = map(simulation.drawn, seeds)
    else:
        strikes = tuple(Strike.parsed(text) for text in args.strike)
        return _one(simulation.run(Schedule(strikes=strikes), trace=args.trace))
    return _told(map(simulation.run, schedules), args.seconds, go_on=args.go_on)


def sampled(points: int, rng: Random, count: int) -> Iterator[Schedule]:
    """So many pairs; the second fault may come after the end that the run without faults has."""
    for _ in range(count):
        first = rng.randrange(points)
        second = rng.randrange(first + 1, points + 40)
        yield Schedule(strikes=(Strike(first, rng.choice(AT_POINTS)), Strike(second, rng.choice(AT_POINTS))))


def _one(outcome: Outcome) -> int:
    for line in outcome.trace:
        print(line)
    print(outcome)
    return int(outcome.violation is not None)


def _told(outcomes: Iterable[Outcome], seconds: float | None, *, go_on: bool) -> int:
    begun, count, ends, wrong, branches = time.monotonic(), 0, Counter[str](), 0, 0
    for outcome in outcomes:
        count += 1
        branches += bool(outcome.schedule.branch)
        ends[outcome.state] += 1
        if outcome.violation is not None:
            wrong += 1
            print(outcome)
            print(
                f'again, with what happens: python -m tests.simulation {_again(outcome.schedule)} --trace', flush=True
            )
        late = seconds is not None and time.monotonic() - begun >= seconds
        if late or (outcome.violation is not None and not go_on):
            break
    took = time.monotonic() - begun
    fast = f' in {took:.1f} s, {count / took:.1f} a second' if seconds is not None else ''
    of = f' ({branches} of them branches of another)' if branches else ''
    print(f'{count} schedules{of}{fast}; {wrong} broke something')
    print(', '.join(f'{state} {number}' for state, number in ends.most_common()))
    return int(wrong > 0)


def _again(schedule: Schedule) -> str:
    if schedule.seed is not None:
        return f'--seed {schedule.name}'
    return ' '.join(f"--strike '{strike.point}:{strike.kind}'" for strike in schedule.strikes)


if __name__ == '__main__':
    sys.exit(main())
