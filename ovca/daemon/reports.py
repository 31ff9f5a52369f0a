"""The report of an update: a file beside the images, with its digest, written once when the update has ended."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca import files
from ovca.cluster.lease import Lease
from ovca.db import events
from ovca.db.models import Event, Update
from ovca.exceptions import LeaseLost
from ovca.remaster import story

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
FOLDER = 'report'
"""Below the shared storage."""
RECENT = 3600.0
"""Seconds. Where no update has a report yet, one that ended longer ago was carried out before there were reports."""
LOOK_BACK = 10
"""Updates that are looked at: several can end before a shared storage that is full takes their reports."""
PAUSE = 60.0
"""Seconds between two attempts when the file cannot be written."""


class Reports:
    """The acting master's care for the reports. One thread calls :meth:`step`, and nothing waits for it.

    The journal says which updates have theirs, so a take-over or a restart neither forgets one nor writes it twice; and
    the text is always the same, so that it does no harm when it is written again after a crash before the event.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        *,
        epoch: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lease, self._epoch, self._clock = lease, epoch, clock
        self.storage = Path(conf.image.shared_storage)
        self._settled: int | None = None
        """No update up to this number needs a report any more; None before the first look."""
        self._again = 0.0
        self._said = ''

    def step(self) -> None:
        """Write the reports that are due now.

        :raises DatabaseError: what is due cannot be read, or what was done cannot be noted; it is done later.
        """
        if self._epoch() is None or self._clock() < self._again:
            return
        for id in self.due():
            try:
                path, digest = self._write(id)
            except OSError as exc:
                self._again = self._clock() + PAUSE
                text = f'the report of update {id} cannot be written: {exc}; see to the shared storage'
                if text != self._said:
                    LOG.error('%s', text)
                self._said = text
                return
            self._note(id, path, digest)

    def due(self) -> list[int]:
        """The updates that have ended and have no report, the oldest first."""
        with self.lease.database.read() as session:
            return self._due(session)

    def _due(self, session: Session) -> list[int]:
        settled = self._settled or 0
        query = select(Update.id, Update.finished_at).where(Update.id > settled)
        newest = session.execute(query.order_by(Update.id.desc()).limit(LOOK_BACK)).all()
        ended = {id: at for id, at in reversed(newest) if at is not None}
        if not ended:
            return []
        told = select(Event.update_id).where(Event.update_id.in_(ended), Event.kind == story.REPORT)
        reported = {id for id in session.scalars(told) if id is not None}
        if reported or self._settled is not None:
            due = [id for id in ended if id > max(reported, default=settled)]
        else:
            long_ago = self.lease.database.now(session) - timedelta(seconds=RECENT)
            due = [id for id, at in ended.items() if at > long_ago]
        self._settled = max(settled, min(due) - 1 if due else max(ended))
        return due

    def _write(self, id: int) -> tuple[Path, str]:
        """Write the file, then the one with its digest; return where it is, below the shared storage."""
        with self.lease.database.read() as session:
            told = story.upto_end(story.read(session, id))
        data = text(told)
        digest = hashlib.sha256(data).hexdigest()
        path = Path(FOLDER) / f'update-{id}.json'
        files.write_atomic(self.storage / path, data)
        files.write_atomic(self.storage / f'{path}.sha256', f'{digest}  {path.name}\n'.encode())
        return path, digest

    def _note(self, id: int, path: Path, digest: str) -> None:
        epoch = self._epoch()
        if epoch is None:
            return  # the next master finds the file, and writes the same again
        try:
            with self.lease.fenced(epoch) as session:
                events.append(
                    session,
                    kind=story.REPORT,
                    update_id=id,
                    node=self.lease.node,
                    epoch=epoch,
                    detail=f'the report of update {id} is {path} on the shared storage, SHA-256 {digest}',
                )
        except LeaseLost as exc:
            LOG.info('the report of update %s is not in the journal: %s', id, exc)
            return
        self._settled = max(self._settled or 0, id)


def text(told: story.Story) -> bytes:
    """The file's content: the same as ``update-show -f json`` says of the time up to the end."""
    return json.dumps(told.as_dict(), indent=1, sort_keys=True, allow_nan=False, default=_moment).encode() + b'\n'


def _moment(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f'{type(value).__name__} has no place in a report')
    return value.strftime('%Y-%m-%dT%H:%M:%SZ')
