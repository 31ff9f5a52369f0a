"""Judges a history of the lease. Pure: it reads operations and beliefs, and says what is wrong with them.

Linearizable: the operations have one order, in keeping with their times, in which each answer is right. It is looked
for as in Lowe's "Testing for linearizability" (2016): all rows that are possible after each return are kept, and an
operation whose outcome is unknown may take place at any later time, or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.histories.row import RAISING, READ_ONLY, Operation, Row, step

Possible = set[tuple[Row, frozenset[int]]]
"""Rows, each with the pending operations that have taken place in it already."""


@dataclass(frozen=True)
class Belief:
    """From when to when a run of a process looked at its clock and believed that it leads."""

    node: str
    incarnation: str
    epoch: int
    first: float
    last: float


@dataclass(frozen=True)
class History:
    """All that the processes of one run noted."""

    operations: Sequence[Operation]
    beliefs: Sequence[Belief] = ()
    ttl: float = 0.0
    """Seconds; 0 leaves the rule of the watch out."""
    rates: dict[str, float] = field(default_factory=dict)
    """How fast a node's own clock goes, against the real one."""


def problems(history: History) -> list[str]:
    """What is wrong with it, a sentence each; nothing is an empty list."""
    return [
        *not_linearizable(history.operations),
        *epochs_that_do_not_rise(history.operations),
        *beliefs_that_overlap(history.beliefs),
        *claims_without_a_watch(history),
    ]


def not_linearizable(operations: Sequence[Operation]) -> Iterator[str]:
    """Look for an order; tell the first operation that no order explains."""
    moments = []
    for number, op in enumerate(operations):
        if op.returned is None and op.kind in READ_ONLY:
            continue  # nobody heard an answer, and nothing was changed
        moments.append((op.invoked, 0, number))
        if op.returned is not None:
            moments.append((op.returned, 1, number))
    possible: Possible = {(Row(), frozenset())}
    pending: set[int] = set()
    for _, ending, number in sorted(moments):
        if not ending:
            pending.add(number)
            continue
        after = _explained(operations, possible, pending, number)
        if not after:
            rows = '; '.join(sorted(str(row) for row, _ in possible))
            yield f'not linearizable: {operations[number]}; the row could have been {rows}'
            return
        possible = after
        pending.discard(number)
        _forget(operations, possible, pending)


def _explained(operations: Sequence[Operation], possible: Possible, pending: set[int], number: int) -> Possible:
    """The rows that are possible when this operation has taken place, with any of the pending ones before it."""
    found: Possible = set()
    seen, todo = set(possible), list(possible)
    while todo:
        row, done = todo.pop()
        if number in done:
            found.add((row, done - {number}))
            continue
        for other in pending - done:
            after = step(operations[other], row)
            if after is None:
                continue
            if other == number:
                found.add((after, done))
            elif (more := (after, done | {other})) not in seen:
                seen.add(more)
                todo.append(more)
    return found


def _forget(operations: Sequence[Operation], possible: Possible, pending: set[int]) -> None:
    """Leave out the unknown operations that come too late in every possible row: their epoch is over."""
    oldest = min(row.epoch for row, _ in possible)
    for number in [n for n in pending if operations[n].returned is None]:
        op = operations[number]
        epoch = op.args['seen']['epoch'] if op.kind == 'claim' else op.args.get('epoch')
        if epoch is not None and epoch < oldest:
            pending.discard(number)


def epochs_that_do_not_rise(operations: Sequence[Operation]) -> Iterator[str]:
    """Each epoch is won once, and who asks after another has won gets a higher one."""
    won = sorted((op for op in operations if op.kind in RAISING and op.outcome == 'ok'), key=lambda op: op.invoked)
    highest: dict[int, Operation] = {}
    for op in won:
        epoch = int(op.result['epoch'])
        if epoch in highest:
            yield f'epoch {epoch} was won twice: {highest[epoch]}; {op}'
        highest[epoch] = op
    for later in won:
        for earlier in won:
            ended = earlier.returned is not None and earlier.returned < later.invoked
            if ended and later.result['epoch'] <= earlier.result['epoch']:
                yield f'the epoch did not rise: {earlier}; then {later}'


def beliefs_that_overlap(beliefs: Sequence[Belief]) -> Iterator[str]:
    """No two runs of processes believe at the same time that they lead."""
    latest: Belief | None = None
    for one in sorted(beliefs, key=lambda b: (b.first, b.last)):
        if latest is not None and one.incarnation != latest.incarnation and one.first <= latest.last:
            yield f'two led at the same time by their own belief: {latest}; {one}'
        if latest is None or one.last > latest.last:
            latest = one
    for before, after in pairwise(sorted(beliefs, key=lambda b: (b.epoch, b.first))):
        if before.incarnation != after.incarnation and before.epoch == after.epoch:
            yield f'two led under one epoch: {before}; {after}'


def claims_without_a_watch(history: History) -> Iterator[str]:
    """Who takes the lease from another has seen it unchanged, at every look, for one ttl of its own clock."""
    if not history.ttl:
        return
    runs: dict[str, list[Operation]] = {}
    for op in sorted(history.operations, key=lambda o: o.invoked):
        runs.setdefault(op.incarnation, []).append(op)
    for ops in runs.values():
        since: float | None = None
        last: object = None
        for op in ops:
            if op.kind == 'read':
                key = (
                    tuple(op.result[k] for k in ('holder', 'incarnation', 'epoch', 'renewed'))
                    if op.outcome == 'ok'
                    else None
                )
                if key is None or key != last:
                    last, since = key, op.invoked if key else None
            elif op.kind == 'claim' and op.args['seen']['holder'] is not None:
                needed = history.ttl / history.rates.get(op.node, 1.0)
                if since is None or op.invoked - since < needed:
                    yield f'claimed without a watch of {needed:.3f} s: {op}; unchanged since {since}'
