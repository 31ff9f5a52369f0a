"""Bringing an image's components into force, once both nodes run the image."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from ovca.cluster.lease import Lease, LeaseExpired
from ovca.db import events
from ovca.db.models import Event, Image, Update
from ovca.exceptions import LeaseLost, OvcaError
from ovca.image import Store
from ovca.remaster.components import Component, ComponentError
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import State

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
KIND: Final = 'component'
SKIPPED = 'was in force already, so nothing was done'
ATTEMPTS = 4
PAUSE = 60.0
"""Seconds before the second attempt; the pause grows fourfold with each."""


@dataclass
class Progress:
    """How far one component has come with one image."""

    failures: int = 0
    due: float = 0.0
    settled: bool = False


@dataclass(frozen=True)
class Note:
    """A line for the journal."""

    kind: events.Kind
    detail: str
    update_id: int
    epoch: int
    """Under which it happened."""


class ComponentCare:
    """The acting master's care for what the image brings besides the nodes' own software.

    One thread calls :meth:`step`, and nothing waits for it: a component may take hours. What was settled is remembered
    until ovcad ends; another ovcad asks each component again, and finds it done.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        components: Mapping[str, Component],
        *,
        epoch: Callable[[], int | None],
        running_digest: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lease, self.components, self.running_digest = lease, components, running_digest
        self.store = Store.from_conf(conf)
        self._epoch, self._clock = epoch, clock
        self._progress: dict[tuple[str, str], Progress] = {}
        self._notes: list[Note] = []

    def step(self) -> float | None:
        """Apply the components that are due now; it may take as long as they do.

        Returns the seconds until one is tried again; None: none is.

        :raises DatabaseError: what is to be done cannot be read, or what was done cannot be noted yet.
        """
        epoch = self._epoch()
        if not self.components or epoch is None:
            return None
        self._write_down()
        done = self._done()
        if done is None:
            return None
        update, brought = done
        for name, component in self.components.items():
            progress = self._progress.setdefault((name, update.digest), Progress())
            if progress.settled or self._clock() < progress.due or self._epoch() is None:
                continue
            try:
                told = self._bring(name, component, update.version) if name in brought else ''
            except Exception as exc:  # a vendor's code; whatever it raises, the protocol goes on
                self._failed(name, update, progress, exc, epoch)
            else:
                progress.settled = True
                if told and not (told.endswith(SKIPPED) and self._told(update, name)):
                    LOG.info('%s', told)
                    self._notes.append(Note(KIND, told, update.id, epoch))
            self._write_down()
        waits = [
            each.due - self._clock()
            for (_, digest), each in self._progress.items()
            if not each.settled and digest == update.digest
        ]
        return max(0.0, min(waits)) if waits else None

    def _done(self) -> tuple[Update, set[str]] | None:
        """The newest update, if it is DONE and this node runs its image, and the components that the image brings."""
        with self.lease.database.read() as session:
            update = newest_update(session)
            if update is None or State(update.state) is not State.DONE or update.digest != self.running_digest:
                return None
            image = session.get(Image, update.version)
            if image is None or image.digest != update.digest:
                return None
            return update, set(image.manifest.get('components') or ())

    def _bring(self, name: str, component: Component, version: str) -> str:
        """Bring one component into force; return what was done."""
        before = component.applied()
        if before == version:
            return f'{name}: {version} {SKIPPED}'
        tree = self.store.folder(name, version)
        if not tree.is_dir():
            raise ComponentError(f'{tree} is not there; see to the shared storage, then `ovca image-verify {version}`')
        LOG.info('%s: applies %s, in force is %s', name, version, before or 'nothing')
        component.apply(version, tree)
        after = component.applied()
        if after != version:
            raise ComponentError(f'it was applied without an error, but {after or "nothing"} is in force')
        return f'{name}: {version} is in force (before: {before or "nothing"})'

    def _told(self, update: Update, name: str) -> bool:
        """Whether the journal tells of a component in this update: then it was brought into force by a run before."""
        query = select(Event.id).where(
            Event.update_id == update.id, Event.kind == KIND, Event.detail.startswith(f'{name}: ', autoescape=True)
        )
        with self.lease.database.read() as session:
            return session.scalars(query.limit(1)).first() is not None

    def _failed(self, name: str, update: Update, progress: Progress, exc: Exception, epoch: int) -> None:
        progress.failures += 1
        cause = str(exc) if isinstance(exc, OvcaError) else f'{type(exc).__name__}: {exc}'
        last = progress.failures >= ATTEMPTS
        if last:
            progress.settled = True
            detail = (
                f'{name}: {update.version} is not in force, tried {ATTEMPTS} times: {cause}; mend the cause, then '
                f'restart ovca.service on {self.lease.node}, which tries again'
            )
        else:
            pause = PAUSE * 4 ** (progress.failures - 1)
            progress.due = self._clock() + pause
            detail = (
                f'{name}: {update.version} could not be applied, attempt {progress.failures} of {ATTEMPTS}: {cause}; '
                f'tried again in {pause:g} s'
            )
        if isinstance(exc, OvcaError):
            detail += f' [{exc.id}]'
        LOG.error('%s', detail, exc_info=not isinstance(exc, OvcaError))
        self._notes.append(Note('alarm' if last else KIND, detail, update.id, epoch))

    def _write_down(self) -> None:
        """Put what happened into the journal; while the database is away it is kept, and while this node does not act.

        Another master may have led in between: it sees for itself what is in force, and so does this node once more.
        """
        while self._notes:
            note, epoch = self._notes[0], self._epoch()
            if epoch is None:
                return
            try:
                if epoch != note.epoch:
                    raise LeaseLost(f'{self.lease.node} leads under epoch {epoch} by now')
                with self.lease.fenced(epoch) as session:
                    events.append(
                        session,
                        kind=note.kind,
                        update_id=note.update_id,
                        node=self.lease.node,
                        epoch=epoch,
                        detail=note.detail,
                    )
            except LeaseExpired:
                raise  # it is still this node's
            except LeaseLost as exc:
                LOG.info('not in the journal, because %s: %s', exc, note.detail)
                self._progress.clear()
            del self._notes[0]
