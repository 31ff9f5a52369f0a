"""Helpers for tests of ovca and of its plugins. Public: authors may rely on them.

:func:`run` runs a command, :func:`write_distribution` installs a throw-away plugin. :mod:`ovca.testing.contracts` has
the tests that a driver inherits, and :mod:`ovca.testing.fixtures` has fixtures for pytest. Only these two need pytest.
"""

from __future__ import annotations

from ovca.testing.commands import Result, run
from ovca.testing.distributions import write_distribution

__all__ = ['Result', 'run', 'write_distribution']
