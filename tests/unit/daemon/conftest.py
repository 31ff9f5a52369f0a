from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca import conf
from ovca.cluster.lease import Lease
from ovca.daemon.requests import Requests
from ovca.db import models
from ovca.exceptions import DatabaseUnavailable, Refused
from tests.operated import OLD, Operated

Clerk = Callable[..., Requests]


@pytest.fixture
def operated(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    """An appliance whose master is mn1, on each engine."""
    appliance = Operated(tmp_path, url=database_url).started()
    with appliance.database.write() as session:
        session.scalars(select(models.Lease)).one().incarnation = 'this run'
    yield appliance
    appliance.close()


def nobody_to_take_over(epoch: int, who: str, done: object, reason: str | None) -> str:
    """The loop of an appliance whose standby is not ready."""
    raise Refused('mn2 cannot take over: it is not heard of', id='peer-not-ready')


@pytest.fixture
def clerk(operated: Operated) -> Clerk:
    """Make the acting master's clerk, with the configuration as it is now."""

    def make(running: tuple[str, str] = ('1.0.0', OLD), **more: Any) -> Requests:
        return Requests(
            conf.load(str(operated.config_file)),
            Lease(operated.database, 'mn1', 'this run', ttl=30),
            epoch=lambda: 3,
            changed=lambda: None,
            running=running,
            fail_over=nobody_to_take_over,
            **more,
        )

    return make


def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, 'it does not come'
        time.sleep(0.02)


def breaks(lease: Lease, call: int) -> None:
    """The connection to the database breaks once: in this one of the next transactions that hold the lease."""
    whole, left = lease.fenced, [call]

    @contextmanager
    def fenced(epoch: int, *, acting: bool = True) -> Iterator[Session]:
        left[0] -= 1
        with whole(epoch, acting=acting) as session:
            yield session
            if left[0] == 0:
                raise DatabaseUnavailable('the connection was lost; check that the database runs')

    lease.fenced = fenced  # type: ignore[method-assign]
