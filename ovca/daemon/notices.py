"""Telling the notifiers what needs people: each alarm in the journal, and how each update ended.

Every node follows the journal, and the one that acts as master tells. How far a node has come is in a file of its own,
so that a restart misses nothing. What the master has told is not known to the standby; so a standby passes over an
event only when it is old and somebody else acts as master, who has told it by then. After a take-over the new master
tells what is younger, whoever told it before: a message comes at least once. A node that holds the lease and cannot
take over tells as well: nobody else would, and that is what it has to tell.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session

from ovca.db.engine import Database, clock, rows
from ovca.db.models import Event, Lease, Update
from ovca.exceptions import OvcaError
from ovca.files import write_json
from ovca.notify import Message, Notifier
from ovca.remaster import plan, reading
from ovca.remaster.protocol import ENDED, State
from ovca.remaster.views import UpdateView

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
FILE = 'notices.json'
HELD = 900.0
"""Seconds after which another master has told an event, or has given it up; it needs longer than all attempts take."""
ATTEMPTS = 8
PAUSE = 2.0
"""Seconds before the second attempt; the pause doubles with each, so the last comes after some five minutes."""

# Made once: they are asked for as often as the journal is looked at.
_TOLD = (
    select(Event, Update)
    .outerjoin(Update, Update.id == Event.update_id)
    .where(
        Event.id > bindparam('settled'),
        or_(Event.kind == 'alarm', Event.to_state.in_([state.value for state in ENDED])),
    )
    .order_by(Event.id)
)
_AGED = select(func.max(Event.id)).where(Event.id > bindparam('settled'), Event.at <= bindparam('long_ago'))


@functools.cache
def _look(now: ColumnElement[dt.datetime]) -> Select[Any]:
    """The time, the newest event, who holds the lease, and whether that node acts."""
    newest = select(func.max(Event.id)).scalar_subquery()
    return select(now, newest, *(select(each).limit(1).scalar_subquery() for each in (Lease.holder, Lease.acting)))


@dataclass
class Try:
    """The attempts to tell one message through one notifier."""

    failures: int = 0
    due: float = 0.0


@dataclass(frozen=True)
class Journal:
    """What is not settled yet, at one moment."""

    messages: Mapping[int, Message]
    """By event number, in their order."""
    aged: int
    """The newest event that is older than :data:`HELD`."""
    elsewhere: bool
    """Whether the other node acts as master."""


class Notices:
    """Follows the journal; one thread calls :meth:`step`, and the protocol does not wait for it."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: Database,
        notifiers: Sequence[Notifier],
        *,
        epoch: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node: str = conf.cluster.node_name
        self.database, self.notifiers = database, notifiers
        self._epoch, self._clock = epoch, clock
        self._path = Path(conf.provision.state_path) / FILE
        self._settled, self._told = _saved(self._path)
        self._tries: dict[tuple[str, int], Try] = {}
        self._said: dict[str, str] = {}
        """The error that was logged last, by notifier or file: an outage is one line in the log."""

    def step(self) -> float | None:
        """Tell what is to be told now, and note how far this node has come; return the seconds to the next attempt.

        None says that there is nothing to be tried again.

        :raises DatabaseError: the journal cannot be read; nothing is lost by that.
        """
        with self.database.read() as session:
            journal = self._read(session)
        for notifier in self.notifiers:
            self._tell(notifier, journal.messages)
        acting = self._epoch() is not None
        self._settle(journal, acting=acting)
        waits = [
            attempt.due - self._clock()
            for (name, id), attempt in self._tries.items()
            if id in journal.messages and not _was_told(self._told[name], id, journal.messages[id])
        ]
        return max(0.0, min(waits)) if acting and waits else None

    def _read(self, session: Session) -> Journal:
        now, last, holder, acting = rows(session, _look(clock(session))).one()
        long_ago, newest = now - dt.timedelta(seconds=HELD), last or 0
        if self._settled is None or self._settled > newest:
            # Nothing is known on a fresh node, and nothing of a database that was put back: what is old is not told.
            self._settled = session.scalar(select(func.max(Event.id)).where(Event.at <= long_ago)) or 0
        # The whole tail is read each time: a number may become visible after a higher one.
        told = session.execute(_TOLD, {'settled': self._settled})
        aged = rows(session, _AGED, {'settled': self._settled, 'long_ago': long_ago}).scalar()
        return Journal(
            messages={event.id: message(event, _view(update)) for event, update in told},
            aged=aged or self._settled,
            elsewhere=bool(acting) and holder != self.node,
        )

    def _tell(self, notifier: Notifier, messages: Mapping[int, Message]) -> None:
        """Tell one notifier, in order, as long as this node acts: a message waits for the one before it."""
        told = self._told.setdefault(notifier.name, {})
        for id, each in messages.items():
            if _was_told(told, id, each):
                continue
            attempt = self._tries.setdefault((notifier.name, id), Try())
            if self._epoch() is None or self._clock() < attempt.due:
                return
            try:
                notifier.send(each)
            except OvcaError as exc:
                attempt.failures += 1
                self._complain(notifier.name, exc.with_id)
                if attempt.failures < ATTEMPTS:
                    attempt.due = self._clock() + PAUSE * 2 ** (attempt.failures - 1)
                    return
                LOG.error('ALARM: %s did not take event %s in %s attempts: %s', notifier.name, id, ATTEMPTS, each.text)
            else:
                self._said.pop(notifier.name, None)
            told[id] = each.at
            self._save()

    def _settle(self, journal: Journal, *, acting: bool) -> None:
        """Pass over what is old and told, so that the tail of the journal stays short."""
        if acting:
            waiting = (
                id
                for id, each in journal.messages.items()
                if not all(_was_told(self._told[n.name], id, each) for n in self.notifiers)
            )
            settled = min(journal.aged, next(waiting, journal.aged + 1) - 1)
        else:
            settled = journal.aged if journal.elsewhere else self._settled or 0
        if settled == self._settled and self._path.exists():
            return
        self._settled = settled
        for name, told in self._told.items():
            self._told[name] = {id: at for id, at in told.items() if id > settled}
        for key in [key for key in self._tries if key[1] <= settled]:
            del self._tries[key]
        self._save()

    def _save(self) -> None:
        told = {name: {id: at.isoformat() for id, at in ids.items()} for name, ids in self._told.items() if ids}
        try:
            write_json(self._path, {'settled': self._settled, 'told': told})
        except OSError as exc:
            self._complain(FILE, f'{self._path} cannot be written, a restart may repeat messages: {exc}')

    def _complain(self, who: str, text: str) -> None:
        if self._said.get(who) != text:
            self._said[who] = text
            LOG.error('%s', text)


def message(event: Event, update: UpdateView | None) -> Message:
    """What people are told of an event."""
    ended = event.to_state in {state.value for state in ENDED}
    text = event.detail
    if update is not None and ended:
        text = f'{plan.ending(update)}; {plan.next_step(update)}'
    elif event.update_id is not None:
        text = f'{text}; see `ovca update-show {event.update_id}`'
    # In each FAILED state one node is left: that needs somebody, also where the step itself was no alarm.
    calm = event.to_state in (State.DONE.value, State.ABORTED.value)
    return Message(
        kind='ended' if ended and calm and event.kind != 'alarm' else 'alarm',
        at=event.at,
        node=event.node or event.actor,
        text=text,
        update_id=event.update_id,
        state=event.to_state,
    )


def _view(row: Update | None) -> UpdateView | None:
    # That an update is in a state of newer software is itself what has to be told.
    return reading.update(row) if row is not None and row.state in set(State) else None


def _was_told(told: Mapping[int, dt.datetime], id: int, message: Message) -> bool:
    """Whether an event was told: a younger one of its number is another, since the database was put back."""
    at = told.get(id)
    return at is not None and message.at <= at


def _saved(path: Path) -> tuple[int | None, dict[str, dict[int, dt.datetime]]]:
    """What the file says; nothing, when there is none or a crash of the disk has left it unreadable."""
    try:
        saved = json.loads(path.read_bytes())
        return int(saved['settled']), {
            name: {int(id): dt.datetime.fromisoformat(at).astimezone(dt.UTC) for id, at in ids.items()}
            for name, ids in saved['told'].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, {}
