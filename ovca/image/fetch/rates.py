"""Rates: the one that a download must not exceed, and the one that it must reach. No input or output."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST = 0.25
"""Seconds of the rate that may be made up for at once, after a time in which less came."""


class Pace:
    """A token bucket: over time exactly ``rate`` bytes a second, whoever spends them; 0 means without a limit."""

    def __init__(self, rate: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock = rate, clock
        self._lock = threading.Lock()
        self._free_at: float | None = None

    def spend(self, size: int) -> float:
        """Take ``size`` bytes; return the seconds to wait before the next are taken."""
        if not self.rate:
            return 0.0
        with self._lock:
            now = self._clock()
            begin = now if self._free_at is None else max(self._free_at, now - BURST)
            self._free_at = begin + size / self.rate
            return max(0.0, self._free_at - now)

    def piece(self, most: int) -> int:
        """How much to take at a time, so that the waits between are short."""
        return min(most, max(1024, self.rate // 8)) if self.rate else most


class LowSpeed:
    """Finds a source that gives something, but too little: less than ``limit`` bytes a second over ``period`` seconds.

    Only the time in which the source was waited for counts, so that a slow disk is not taken for a slow source.
    """

    def __init__(self, limit: int, period: float) -> None:
        self.limit, self.period = limit, period
        self._bytes, self._waited = 0, 0.0

    def saw(self, size: int, waited: float) -> None:
        """Note what came and how long it was waited for. :raises TimeoutError: it is too little."""
        self._bytes += size
        self._waited += waited
        if not self.limit or self._waited < self.period:
            return
        slow = self._bytes < self.limit * self._waited
        self._bytes, self._waited = 0, 0.0
        if slow:
            raise TimeoutError(f'less than {self.limit} bytes a second came for {self.period:g} s')
