"""The roles of the acting master, which start and stop together: never two threads at it at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol

from ovca.cluster.roles import Role, RoleError
from ovca.exceptions import OvcaError

LOG = logging.getLogger(__name__)


class Turn(Protocol):
    """What one thread at a time has, as a lock of :mod:`threading`."""

    def __enter__(self) -> bool: ...

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

    def locked(self) -> bool:
        """Whether a thread has it."""


class Serving:
    """Starts ``roles`` in their order, and stops them the other way round; who does so has the ``turn``."""

    def __init__(self, roles: Sequence[Role], turn: Turn) -> None:
        self.roles = roles
        self.problem: str | None = None
        """Why a role did not start."""
        self.stops = 0
        """How often it was stopped."""
        self._turn = turn

    @property
    def busy(self) -> bool:
        """Whether a thread starts or stops roles at this moment."""
        return self._turn.locked()

    def start(self, still: Callable[[], bool]) -> bool:
        """Start all roles, if it is ``still`` wanted when it is this thread's turn; return whether it was.

        One that does not start leaves the others alone: a master without a role is better than none.
        """
        with self._turn:
            if not still():
                return False
            self.problem = None
            for role in self.roles:
                try:
                    role.start()
                except OvcaError as exc:
                    self.problem = exc.with_id
                    LOG.error('ALARM: %s', exc)
            return True

    def stop(self, still: Callable[[], bool] = lambda: True) -> None:
        """Stop all roles, if it is ``still`` wanted when it is this thread's turn.

        Who waited while another thread started them may come too late: the node leads again by then.
        """
        with self._turn:
            if not still():
                return
            self.stops += 1
            for role in reversed(self.roles):
                try:
                    role.stop()
                except OvcaError as exc:
                    LOG.error('ALARM: %s', exc)

    def stop_surely(self) -> None:
        """Stop all roles. :raises RoleError: one of them still runs."""
        self.stop()
        left = [type(role).__name__ for role in self.roles if role.running()]
        if left:
            raise RoleError(f'{", ".join(left)} still run; the hand-over is given up', id='role-still-runs')
