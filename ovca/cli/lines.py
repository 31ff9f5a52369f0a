"""What a program sees while the appliance works: JSON objects, one a line.

Each has a ``kind``: ``progress`` of a download, ``update`` when one changes its state or a node its step, ``event`` of
the journal, ``notice`` for a sentence, and ``end``. With ``--progress json`` they are on the standard error, as the
standard output is for results; ``update-watch -f json`` has no other result.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from ovca.cli.output import plain

if TYPE_CHECKING:
    from ovca.remaster.outlook import Expectation
    from ovca.remaster.views import Snapshot


class _Lines:
    """Writes objects as lines."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def say(self, text: str) -> None:
        """Write a sentence."""
        self.write('notice', text=text)

    def write(self, kind: str, **facts: Any) -> None:
        """Write one object."""
        self.stream.write(json.dumps({'kind': kind, **plain(facts)}) + '\n')
        self.stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to do."""


class RequestLines(_Lines):
    """The progress of a request."""

    def __call__(self, progress: dict[str, Any]) -> None:
        """Write ``{'stage', 'done', 'total', 'text', ...}``, as the master's service reports it."""
        self.write(
            'progress',
            stage=progress.get('stage'),
            done_bytes=progress.get('done'),
            total_bytes=progress.get('total'),
            bytes_per_second=progress.get('bytes_per_second'),
            seconds_left=progress.get('seconds_left'),
            text=progress.get('text'),
            notice=progress.get('notice'),
        )


class UpdateLines(_Lines):
    """An update on both nodes."""

    def __init__(self, stream: IO[str], *, expected: Expectation | None = None) -> None:
        super().__init__(stream)
        # Imported now: the node under this command may be wiped while it runs.
        from ovca.remaster import outlook

        self._outlook, self._expected = outlook, expected

    def __call__(self, snapshot: Snapshot) -> None:
        """Write what is new, then how the update stands."""
        for event in snapshot.events:
            facts = asdict(event)
            self.write('event', event=facts.pop('kind'), **facts)
        update, expected = snapshot.update, self._expected
        self.write(
            'update',
            id=update.id,
            version=update.version,
            state=update.state,
            seconds=round(((update.finished_at or snapshot.now) - update.created_at).total_seconds(), 1),
            expected_seconds=None if expected is None else expected.total,
            left_seconds=None if expected is None else expected.left(update, snapshot.now),
            paused=self._outlook.halted(snapshot),
            next_step=self._outlook.next_step(snapshot),
            told_by=snapshot.told_by,
            nodes=[
                {'node': n.name, 'role': n.role, 'version': n.version, 'health': n.health, 'ready': n.ready}
                for n in snapshot.nodes
            ],
            entries=[
                {'node': e.node, 'step': e.step, 'percent': e.percent, 'attempt': e.attempt} for e in snapshot.entries
            ],
        )

    def end(self, snapshot: Snapshot) -> None:
        """Write how the update ended."""
        update = snapshot.update
        self.write(
            'end',
            id=update.id,
            version=update.version,
            state=update.state,
            reason=update.reason,
            next_step=self._outlook.next_step(snapshot),
        )
