"""How fast work goes, and how long it will take: over the last seconds, so that a change shows soon."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW = 10.0
"""Seconds that are looked back."""


class Meter:
    """Measures one stage after another."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage: str | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def read(self, stage: str, done: int, total: int | None) -> tuple[int | None, int | None]:
        """Note how far the stage is; return bytes a second and the seconds that are left, None while not known."""
        now = self._clock()
        if stage != self._stage or (self._seen and done < self._seen[-1][1]):
            self._stage = stage
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()
        began, before = self._seen[0]
        if now <= began:
            return None, None
        speed = (done - before) / (now - began)
        left = round((total - done) / speed) if total is not None and speed > 0 else None
        return round(speed), left if left is None else max(0, left)
