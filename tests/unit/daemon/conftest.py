from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from ovca import conf
from ovca.cluster.lease import Lease
from ovca.daemon.requests import Requests
from ovca.db import models
from ovca.exceptions import Refused
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

    def make(running: tuple[str, str] = ('1.0.0', OLD)) -> Requests:
        return Requests(
            conf.load(str(operated.config_file)),
            Lease(operated.database, 'mn1', 'this run', ttl=30),
            epoch=lambda: 3,
            changed=lambda: None,
            running=running,
            fail_over=nobody_to_take_over,
        )

    return make
