"""What a node of ``test_lease_processes.py`` does: a program of its own, to be stopped and killed."""

from __future__ import annotations

import random
import sys
import time

from sqlalchemy import func, select

from ovca.cluster.lease import Lease
from ovca.db import events
from ovca.db.engine import Database
from ovca.db.models import Event
from ovca.exceptions import LeaseLost, OvcaError

AROUND = 4
"""Epochs in which somebody acted, after which the lease has gone around."""
PATIENCE = 45
"""Seconds more, at most, until it has."""


def contend(lease: Lease, seconds: float) -> None:
    """Lead whenever the lease lets it, fall silent now and then, and go on as if nothing had happened.

    On a machine that does much else it goes on until the lease has gone around.
    """
    end = time.monotonic() + seconds
    seen, since = lease.read(), time.monotonic()
    while (now := time.monotonic()) < end or (now < end + PATIENCE and epochs(lease) < AROUND):
        view = lease.read()
        if (view.epoch, view.renewed_at) != (seen.epoch, seen.renewed_at):
            seen, since = view, time.monotonic()
        try:
            if view.expired and time.monotonic() - since >= lease.ttl:
                lead(lease, lease.claim(view))
        except LeaseLost:
            pass
        time.sleep(0.01)


def epochs(lease: Lease) -> int:
    """In how many of them somebody has acted until now."""
    with lease.database.read() as session:
        return session.scalar(select(func.count(Event.epoch.distinct())).where(Event.kind == 'act')) or 0


def lead(lease: Lease, epoch: int) -> None:
    lease.set_acting(epoch, 'in this test nobody serves')
    for _ in range(random.randint(1, 8)):
        act(lease, epoch)
        lease.renew(epoch)
    time.sleep(lease.ttl * random.choice((0.5, 1.5, 3)))
    while True:  # paused, and not aware of it
        act(lease, epoch)


def act(lease: Lease, epoch: int) -> None:
    with lease.fenced(epoch) as session:
        events.append(session, kind='act', detail='', node=lease.node, epoch=epoch)


def hold(lease: Lease) -> None:
    """Become master, open a fenced transaction, and stay in it until told to commit."""
    epoch = lease.claim(lease.read())
    lease.set_acting(epoch, 'in this test nobody serves')
    with lease.fenced(epoch) as session:
        events.append(session, kind='act', detail='', node=lease.node, epoch=epoch)
        session.flush()
        print('inside', flush=True)
        sys.stdin.readline()


def main(what: str, url: str, node: str, ttl: str, idle_timeout: str) -> None:
    database = Database(url, lock_timeout=10, idle_timeout=float(idle_timeout))
    lease = Lease(database, node, f'{node}-run', ttl=float(ttl))
    try:
        contend(lease, 4) if what == 'contend' else hold(lease)
    except OvcaError as exc:
        print(type(exc).__name__, flush=True)
    else:
        print('done', flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
