"""Whether a download goes on: it stops when the lease is lost, and when an operator aborts it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from ovca.db.engine import Database
from ovca.db.models import Request
from ovca.exceptions import DatabaseError, ImageError

LOOK = 0.5
"""Seconds between two looks at whether an operator has aborted a download: each is a query."""


class DownloadAborted(ImageError):
    """An operator aborted the download."""

    def __init__(self, who: str) -> None:
        super().__init__(
            f'the download was aborted by {who}; what was received is kept, and the same command resumes it'
        )


class Orders:
    """Whether a download has to stop: since the lease is lost, or since an operator aborts it."""

    def __init__(
        self, database: Database, id: int, leads: Callable[[], bool], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database, self._id, self._leads, self._clock = database, id, leads, clock
        self._looked = float('-inf')
        self._aborted = False

    def __call__(self) -> bool:
        """Whether to stop now."""
        if not self._leads():
            return True
        if not self._aborted and self._clock() - self._looked >= LOOK:
            self._looked = self._clock()
            with contextlib.suppress(DatabaseError):  # while it is away nobody can have asked for anything
                self._aborted = self._row().cancel_requested
        return self._aborted

    def heed(self) -> None:
        """Go on if nobody has aborted it. :raises DownloadAborted: somebody has."""
        row = self._row()
        if row.cancel_requested:
            raise DownloadAborted(str(row.args.get('aborted_by') or 'an operator'))

    def _row(self) -> Request:
        with self._database.read() as session:
            return session.get_one(Request, self._id)
