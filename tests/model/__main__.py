"""``python -m tests.model``: explore the worlds, print the figures and, for what breaks, the shortest way to it."""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tests.model.explore import Result, explore
from tests.model.invariants import NAMES
from tests.model.mutations import DEFENCES, MUTATIONS, STAY
from tests.model.worlds import CORE, DEEP

WORLDS = CORE | DEEP
T = TypeVar('T')
R = TypeVar('R')


def _world(job: tuple[str, float]) -> tuple[str, Result]:
    name, until = job
    return name, explore(WORLDS[name], until=until)


def _mutation(job: tuple[int, int]) -> tuple[int, int, Result]:
    n, number = job
    return n, number, explore(MUTATIONS[n].config, only={number})


def _carried_out(what: Callable[[T], R], jobs: Iterable[T], workers: int) -> Iterator[R]:
    """Results in the order of the jobs."""
    if workers == 1:
        yield from map(what, jobs)
        return
    with multiprocessing.get_context('fork').Pool(workers, maxtasksperchild=1) as pool:
        yield from pool.imap(what, jobs)


def worlds(names: Iterable[str], workers: int, until: float) -> int:
    """Explore them; return how many break something."""
    wrong = states = moves = cut = 0
    print(f'{"world":<44}{"states":>11}{"moves":>12}{"seconds":>9}  result')
    for name, result in _carried_out(_world, ((name, until) for name in names), workers):
        text = str(result) if result.broken is not None else 'cut off' if result.cut else 'no violation'
        print(f'{name:<44}{result.states:>11}{result.moves:>12}{result.seconds:>9.1f}  {text}', flush=True)
        wrong += result.broken is not None
        states, moves = states + result.states, moves + result.moves
        cut += result.cut
    if cut:
        print(f'{cut} worlds were cut off, as the time was over: they broke nothing until then')
    print(f'{"all":<44}{states:>11}{moves:>12}')
    return wrong


def mutations(workers: int, traces: bool, until: float) -> int:
    """Take each rule out; return how often that breaks nothing."""
    wrong = 0
    jobs = [(n, number) for n, mutation in enumerate(MUTATIONS) for number in mutation.breaks]
    for n, number, result in _carried_out(_mutation, jobs, workers):
        text = 'breaks nothing: MISSED' if result.broken is None else f'breaks {number}, {NAMES[number]}'
        steps = '' if result.broken is None else f' ({result.states} states, {len(result.trace)} steps)'
        print(f'without {MUTATIONS[n].taken_out}: {text}{steps}', flush=True)
        if traces and result.broken is not None:
            print('\n'.join(f'  {step}. {what}' for step, what in enumerate(result.trace, 1)))
        wrong += result.broken is None
        if time.monotonic() > until:
            print('the time is over; the rules after this one were not taken out')
            break
    for what, why in (STAY | DEFENCES).items():
        print(f'stays: {what}: {why}')
    return wrong


def main() -> int:
    """Return 1 if a property is broken, or if taking a rule out breaks nothing."""
    parser = argparse.ArgumentParser('python -m tests.model', description=__doc__)
    parser.add_argument('worlds', nargs='*', metavar='<world>', help='explore only worlds whose names hold this text')
    parser.add_argument('--core', action='store_true', help='only the worlds that CI explores')
    parser.add_argument('--list', action='store_true', help='name the worlds and properties, and explore nothing')
    parser.add_argument('--mutations', action='store_true', help='take each rule out, and say what that breaks')
    parser.add_argument('--traces', action='store_true', help='with --mutations: the shortest way to what breaks')
    parser.add_argument('--jobs', type=int, default=1, metavar='<n>', help='worlds that are explored at once (1)')
    parser.add_argument('--seconds', type=float, default=float('inf'), metavar='<n>',
                        help='give up after so many seconds (no limit)')  # fmt: skip
    args = parser.parse_args()
    names = [name for name in (CORE if args.core else WORLDS) if not args.worlds or any(t in name for t in args.worlds)]
    if not names:
        parser.error('no world has such a name; --list names them')
    if args.list:
        print('\n'.join([*names, '', *(f'{number}. {text}' for number, text in NAMES.items())]))
        return 0
    print(f'{platform.python_implementation()} {platform.python_version()}')
    until = time.monotonic() + args.seconds
    wrong = mutations(args.jobs, args.traces, until) if args.mutations else worlds(names, args.jobs, until)
    return int(wrong > 0)


if __name__ == '__main__':
    sys.exit(main())
