"""Fixtures of ovca for authors, and a power strip."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from ovca_hello.toy import ToyStrip

pytest_plugins = ['ovca.testing.fixtures']


@pytest.fixture
def strip() -> Iterator[ToyStrip]:
    """A strip of eight outlets, all off."""
    server = ToyStrip()
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
