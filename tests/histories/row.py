"""What each operation does to the lease's row, as the documentation of the lease says it. Pure; no code of the product.

A history is judged against this: whatever the four processes saw and did must have an order, in keeping with the times
of the calls, in which each answer is the one that this row gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

NEVER = ''
"""A row that nobody has ever renewed."""
READ_ONLY = ('read', 'act')
RAISING = ('claim', 'reclaim', 'hand_over')
"""What makes a new epoch."""


@dataclass(frozen=True)
class Row:
    """The lease; ``renewed`` is the database's own time stamp, None while no read has told which one it is."""

    holder: str | None = None
    incarnation: str | None = None
    epoch: int = 0
    acting: bool = False
    proven: bool = False
    """Why the predecessor cannot act is written down."""
    demoted: int = 0
    """The newest epoch that its holder gave up."""
    renewed: str | None = NEVER


@dataclass(frozen=True)
class Operation:
    """One call of one run of a process. Times are CLOCK_MONOTONIC, which all processes of a machine share."""

    node: str
    incarnation: str
    kind: str
    invoked: float
    returned: float | None
    """None: nobody knows whether it took place, or when."""
    outcome: str
    """``ok``, ``unknown``, or why the lease refused: ``lost``, ``expired``, ``not-expired``."""
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    result: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        end = 'for ever' if self.returned is None else f'{self.returned:.4f}'
        words = ' '.join(f'{key}={value}' for key, value in self.args.items())
        return f'{self.node} {self.kind} {words} -> {self.outcome} {dict(self.result)} [{self.invoked:.4f}, {end}]'


def step(op: Operation, row: Row) -> Row | None:
    """The row after ``op`` ended as it did, had it taken place at ``row``; None if it could not have ended so."""
    if op.kind == 'read':
        return _read(op, row)
    if op.outcome in ('ok', 'unknown'):
        return _after(op, row) if _granted(op, row) else None
    if op.outcome == 'lost':
        return row if (op.kind == 'claim' and _may_differ(op, row)) or not _granted(op, row) else None
    # It was too early, or too late: only the database's clock knows, so the row must be the one that was meant.
    return row if _granted(op, row) else None


def _read(op: Operation, row: Row) -> Row | None:
    if op.outcome != 'ok':
        return row
    seen = Row(**op.result)
    known = seen.renewed if row.renewed is None else row.renewed
    return seen if replace(row, renewed=known) == seen else None


def _granted(op: Operation, row: Row) -> bool:
    """Whether the lease has to allow it, time set aside."""
    mine = row.incarnation == op.incarnation and row.holder == op.node
    epoch = op.args.get('epoch')
    match op.kind:
        case 'claim':
            seen = Row(**op.args['seen'])
            same = (row.holder, row.incarnation, row.epoch) == (seen.holder, seen.incarnation, seen.epoch)
            return same and row.renewed in (None, seen.renewed)
        case 'reclaim':
            return row.holder == op.node and (row.incarnation != op.incarnation or row.demoted == row.epoch)
        case 'renew':
            return mine and row.epoch == epoch
        case 'set_acting':
            return mine and row.epoch == epoch and row.demoted != epoch
        case 'act':
            return mine and row.epoch == epoch and row.demoted != epoch and row.acting
        case 'demote':
            return mine and row.epoch == epoch and (row.proven or row.demoted == epoch)
        case 'hand_over':
            return mine and row.epoch == epoch and row.demoted == epoch and not row.acting
    raise ValueError(f'a history knows no operation {op.kind}')


def _may_differ(op: Operation, row: Row) -> bool:
    return row.renewed is None and _granted(op, row)


def _after(op: Operation, row: Row) -> Row | None:
    raised = row.epoch + 1
    if op.kind in RAISING and op.outcome == 'ok' and op.result.get('epoch') != raised:
        return None
    match op.kind:
        case 'claim':
            return Row(op.node, op.incarnation, raised, False, False, row.demoted, None)
        case 'reclaim':
            gave_up = row.demoted == row.epoch and row.epoch > 0
            handed = row.demoted > 0 and row.demoted == row.epoch - 1
            return Row(
                op.node, op.incarnation, raised, row.acting and not gave_up, row.proven or handed, row.demoted, None
            )
        case 'renew':
            return replace(row, renewed=op.result.get('renewed'))
        case 'set_acting':
            return replace(row, acting=True, proven=True)
        case 'demote':
            return replace(row, acting=False, demoted=row.epoch)
        case 'hand_over':
            return Row(op.args['to'], op.args['to_incarnation'], raised, False, False, row.demoted, None)
    return row
