"""Waiting for what may hang, as a look at storage whose server is gone: for a while, and never twice at a time.

Nothing in a process can end a call that hangs in the kernel. So it gets a thread of its own, and is left there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar('T')


SLOWEST = 10e6
"""Bytes a second that storage must give which is only slow."""


class NoAnswer(Exception):
    """What was called has not returned in time."""

    def __init__(self, timeout: float) -> None:
        super().__init__(f'it did not answer within {timeout:g} s')


class Patience:
    """Makes calls that may hang; threads may share it.

    A call that has hung is not made again under its name before it has returned, so no threads pile up.
    """

    def __init__(self) -> None:
        self._hanging: dict[str, threading.Thread] = {}

    def call(self, name: str, work: Callable[[], T], timeout: float) -> T:
        """What ``work`` returns, or raises.

        :raises NoAnswer: it takes longer than ``timeout`` seconds, or an earlier call still hangs.
        """
        earlier = self._hanging.get(name)
        if earlier is not None and earlier.is_alive():
            raise NoAnswer(timeout)
        outcome: Future[T] = Future()
        thread = threading.Thread(target=_run, args=(work, outcome), name=f'call-{name}', daemon=True)
        thread.start()
        try:
            return outcome.result(timeout)
        except TimeoutError:
            if outcome.done():  # it was raised by the work itself
                raise
        self._hanging[name] = thread
        raise NoAnswer(timeout)


def _run(work: Callable[[], T], outcome: Future[T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as exc:
        outcome.set_exception(exc)
