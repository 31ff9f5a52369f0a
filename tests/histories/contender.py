"""One of the processes that contend for a lease: the production's keeper on a clock of its own, noting all it does.

Nobody is fenced here: without power switches, only the lease and the clocks keep two from leading at once, and that is
what is judged.

Run as ``python -m tests.histories.contender``: for each line of JSON on its standard input it forks a contender, which
goes on until it is killed, and writes its number. So one starts in no time. All of them end with the input.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy.orm import Session

from ovca.cluster.clock import boottime
from ovca.cluster.keeper import Keeper
from ovca.cluster.lease import Lease, LeaseExpired, LeaseView
from ovca.db import events
from ovca.db.engine import Database
from ovca.exceptions import DatabaseError, LeaseLost


class Notes:
    """Writes down what is asked and answered; a line is whole or not there."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._number = 0
        self._lock = threading.Lock()
        self.write(about)

    def write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b'\n')

    @contextlib.contextmanager
    def operation(self, kind: str, **args: Any) -> Iterator[dict[str, Any]]:
        """Note an operation; the block fills in its result."""
        with self._lock:
            self._number += 1
            number = self._number
        result: dict[str, Any] = {}
        self.write({'call': number, 'kind': kind, 'args': args, 'at': time.monotonic()})
        try:
            yield result
        except LeaseExpired:
            self._end(number, 'expired', {})
            raise
        except LeaseLost as exc:
            self._end(number, 'not-expired' if 'has not expired' in str(exc) else 'lost', {})
            raise
        except DatabaseError:
            self._end(number, 'unknown', {})
            raise
        self._end(number, 'ok', result)

    def _end(self, number: int, outcome: str, result: dict[str, Any]) -> None:
        at = time.monotonic()
        self.write({'return': number, 'outcome': outcome, 'result': result, 'at': at})


class NotedLease(Lease):
    """The lease, with each call and answer written down."""

    notes: Notes

    def read(self, session: Session | None = None) -> LeaseView:
        with self.notes.operation('read') as result:
            view = super().read(session)
            result.update(seen(view))
            return view

    def claim(self, seen_before: LeaseView) -> int:
        with self.notes.operation('claim', seen=seen(seen_before)) as result:
            result['epoch'] = super().claim(seen_before)
            return int(result['epoch'])

    def reclaim(self) -> int:
        with self.notes.operation('reclaim') as result:
            result['epoch'] = super().reclaim()
            return int(result['epoch'])

    def renew(self, epoch: int) -> LeaseView:
        with self.notes.operation('renew', epoch=epoch) as result:
            view = super().renew(epoch)
            result['renewed'] = seen(view)['renewed']
            return view

    def set_acting(self, epoch: int, proof: str, *, off: str | None = None) -> None:
        with self.notes.operation('set_acting', epoch=epoch):
            super().set_acting(epoch, proof, off=off)

    def demote(self, epoch: int) -> None:
        with self.notes.operation('demote', epoch=epoch):
            super().demote(epoch)

    def act(self, epoch: int) -> None:
        """Do something as the master does it: in a transaction that holds the row."""
        with self.notes.operation('act', epoch=epoch), self.fenced(epoch) as session:
            events.append(session, kind='act', detail='', node=self.node, epoch=epoch)

    def give(self, epoch: int, to: str, to_incarnation: str) -> None:
        """Hand the lease over."""
        noted = self.notes.operation('hand_over', epoch=epoch, to=to, to_incarnation=to_incarnation)
        with noted as result, self.handing_over(epoch) as session:
            result['epoch'] = self.hand_over(session, epoch, to, to_incarnation)


def seen(view: LeaseView) -> dict[str, Any]:
    """What a view says of the row."""
    return {
        'holder': view.holder,
        'incarnation': view.incarnation,
        'epoch': view.epoch,
        'acting': view.acting,
        'proven': view.fence_proof is not None,
        'demoted': view.demoted_epoch,
        'renewed': view.renewed_at.isoformat() if view.renewed_at else '',
    }


class Contender:
    """Keeps the lease as ovcad does: one thread ticks, another looks whether this node still leads, a third acts."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.folder, self.node, self.others = Path(order['folder']), order['node'], order['others']
        self.incarnation, self.random = uuid.uuid4().hex, random.Random(f'{order["seed"]} {uuid.uuid4()}')
        notes = Notes(
            self.folder / f'{self.node}-{self.incarnation}.jsonl',
            {'node': self.node, 'incarnation': self.incarnation, 'rate': order['rate']},
        )
        ttl = float(order['ttl'])
        database = Database(order['url'], connect_timeout=2, lock_timeout=ttl, statement_timeout=ttl, idle_timeout=ttl)
        self.lease = NotedLease(database, self.node, self.incarnation, ttl=ttl)
        self.lease.notes = self.notes = notes
        conf: Any = SimpleNamespace(
            cluster=SimpleNamespace(
                peer='any other',
                ttl=ttl,
                renew_interval=ttl / 5,
                self_demote=float(order['self_demote']),
                poll_interval=ttl / 20,
            )
        )
        self.keeper = Keeper(
            conf,
            self.lease,
            eligible=lambda session: True,
            fence=lambda: 'nobody is fenced here',
            serve=lambda epoch: None,
            stop_serving=lambda: None,
            clock=lambda: float(order['offset']) + float(order['rate']) * boottime(),
        )

    def run(self) -> None:
        (self.folder / f'{self.node}.run').write_text(self.incarnation)
        for work in (self._believe, self._act):
            threading.Thread(target=work, daemon=True).start()
        while True:
            self.keeper.tick()
            if self.keeper.epoch is not None and self.random.random() < 0.02:
                self._hand_over(self.keeper.epoch)
            time.sleep(self.keeper.pause(busy=True))

    def _believe(self) -> None:
        """Note every few milliseconds whether this process, by its own clock, leads; as ovcad's main thread looks."""
        while True:
            epoch, before = self.keeper.epoch, time.monotonic()
            self.keeper.demote_if_stale()
            after = time.monotonic()
            if epoch is not None and epoch == self.keeper.epoch:
                # It looked at its clock between the two: so a belief is noted shorter, and never longer, than it was.
                self.notes.write({'belief': epoch, 'first': after, 'last': before})
            time.sleep(0.005)

    def _act(self) -> None:
        while True:
            epoch = self.keeper.epoch
            if epoch is not None:
                with contextlib.suppress(LeaseLost, DatabaseError):
                    self.lease.act(epoch)
            time.sleep(self.random.uniform(0.005, 0.05))

    def _hand_over(self, epoch: int) -> None:
        to = self.random.choice(self.others)
        try:
            incarnation = (self.folder / f'{to}.run').read_text()
        except OSError:
            return
        self.keeper.demoting(epoch)
        try:
            self.lease.demote(epoch)
            self.lease.give(epoch, to, incarnation)
            self.keeper.gave_away()
        except (LeaseLost, DatabaseError):
            self.keeper.give_up()


def main() -> None:
    """Fork a contender for each order."""
    children: list[int] = []
    for line in sys.stdin:
        child = os.fork()
        if not child:
            Contender(json.loads(line)).run()
        children.append(child)
        print(child, flush=True)
        children = [pid for pid in children if not os.waitpid(pid, os.WNOHANG)[0]]
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == '__main__':
    main()
