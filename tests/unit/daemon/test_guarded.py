"""A thread of the service that ends by itself: what the service ends with, and what its log tells."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from ovca import conf
from ovca.daemon.service import Ovcad
from tests.operated import Operated


@pytest.fixture
def service(operated: Operated) -> Iterator[Ovcad]:
    service = Ovcad(conf.load(str(operated.config_file)))
    yield service
    service.keeper.close()
    service.health.stop()
    service.database.dispose()


def acting_begins(service: Ovcad) -> None:
    """The thread of the lease is about to start the roles."""
    service.keeper._serve_now(1)


def test_a_thread_that_meets_what_was_closed_as_the_service_stops_is_no_mistake(
    service: Ovcad, caplog: pytest.LogCaptureFixture
) -> None:
    service.stop()
    service.keeper.close()

    service._guarded('lease', lambda: acting_begins(service))

    assert service._fatal is None
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_the_first_mistake_is_what_the_service_ends_with(service: Ovcad, caplog: pytest.LogCaptureFixture) -> None:
    first = KeyError('the cause')

    def fails() -> None:
        raise first

    service._guarded('loop', fails)
    service.keeper.close()
    service._guarded('lease', lambda: acting_begins(service))

    assert service._fatal is first
    assert service._stop.is_set()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        'the thread loop ended; the service stops and is started again'
    ]
