"""One simulation for the tests of a module."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REQUIRE_PEERS

if TYPE_CHECKING:
    from tests.simulation.runs import Simulation


@pytest.fixture(scope='module')
def simulation() -> Iterator[Simulation]:
    if importlib.util.find_spec('greenlet') is None and not REQUIRE_PEERS:
        pytest.skip("greenlet is not installed: pip install -e '.[test]'")
    from tests.simulation.runs import Simulation

    made = Simulation()
    yield made
    made.close()
