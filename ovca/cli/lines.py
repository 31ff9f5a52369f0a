"""What a program sees while the appliance works: JSON objects, one a line, on the error stream.

Each has a ``kind``: ``progress`` of a download, ``update`` when one changes its state or a node its step, ``event`` of
the journal, ``notice`` for a sentence. The commands' results are on the standard output, as ever.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from ovca.cli.output import plain

if TYPE_CHECKING:
    from ovca.remaster.reading import Snapshot


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
        )


class UpdateLines(_Lines):
    """An update on both nodes."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Write what is new, then how the update stands."""
        for event in snapshot.events:
            facts = asdict(event)
            self.write('event', event=facts.pop('kind'), **facts)
        update = snapshot.update
        entries = [
            {'node': e.node, 'step': e.step, 'percent': e.percent, 'attempt': e.attempt} for e in snapshot.entries
        ]
        self.write('update', id=update.id, version=update.version, state=update.state, entries=entries)
