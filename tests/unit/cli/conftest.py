from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operated import Operated


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    """An appliance as its rows, with the node mn1 as this one."""
    appliance = Operated(tmp_path)
    yield appliance
    appliance.close()
