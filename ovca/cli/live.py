"""What a person sees while the appliance works: bars and tables on a terminal, plain lines elsewhere.

All of it goes to the error stream, so that the output stays clean for results. What is needed later is imported at the
start: the node under this command may be wiped while it runs.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from ovca.cli import base, output

if TYPE_CHECKING:
    from rich.console import Console, Group

    from ovca.remaster.outlook import Expectation
    from ovca.remaster.views import EntryView, EventView, Snapshot

QUIET = 30.0
"""Seconds after which a line is due although little has changed."""
STEP = 10
"""Per cent of a download between two lines."""


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person looks at the stream, on a terminal that can draw."""
    try:
        return bool(stream.isatty()) and os.environ.get('TERM') != 'dumb'
    except (AttributeError, ValueError):
        return False


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A small table as aligned lines."""
    table = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(headings))]
    return ['  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def event_line(event: EventView) -> str:
    """An event of the journal in one line."""
    where = ''
    if not event.to_state and event.node and not event.detail.startswith((f'{event.node} ', f'{event.node}:')):
        where = f'{event.node}: '
    mark = 'ALARM ' if event.kind == 'alarm' else ''
    return f'{event.at:%H:%M:%SZ} {mark}{where}{event_text(event)}'


def event_text(event: EventView) -> str:
    """What happened, with the change of state."""
    if not event.to_state:
        return event.detail
    change = f'{event.from_state} -> {event.to_state}' if event.from_state else event.to_state
    return f'{change}: {event.detail}'


def step_text(entry: EntryView | None) -> str:
    """How far a node's installation is."""
    if entry is None:
        return '-'
    percent = f' {entry.percent:.0f} %' if entry.percent is not None and entry.step == 'installing' else ''
    attempt = f', attempt {entry.attempt}' if entry.attempt > 1 else ''
    detail = f' ({entry.detail})' if entry.detail and entry.step in ('installing', 'failed') else ''
    return f'{entry.step}{percent}{attempt}{detail}'


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    whole = max(0, int(seconds))
    if whole >= 3600:
        return f'{whole // 3600} h {whole % 3600 // 60:02} min'
    return f'{whole // 60}:{whole % 60:02}'


class View(ABC):
    """What both views share: a stream, a clock, and lines of text."""

    def __init__(self, stream: IO[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock
        self.live = is_terminal(stream)
        self._console: Console | None = None

    def say(self, text: str) -> None:
        """Write one line, above what moves."""
        text = base.shown(text)
        if self._console is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self.stream.write(f'{text}\n')
            self.stream.flush()

    def __enter__(self) -> Self:
        if self.live:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            if kind is None:
                self._complete()
            self._stop()
            self._console = None

    @abstractmethod
    def _start(self) -> None:
        """Show what moves."""

    @abstractmethod
    def _complete(self) -> None:
        """What moves has come to its end."""

    @abstractmethod
    def _stop(self) -> None:
        """Show it no more."""


class RequestView(View):
    """The progress of a request: one bar for each of its stages."""

    def __init__(self, stream: IO[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock=clock)
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._told: dict[str, tuple[int, float]] = {}
        self._notice: str | None = None

    def __call__(self, progress: dict[str, Any]) -> None:
        """Show ``{'stage', 'done', 'total', 'text'}``, as the master's service reports it.

        A ``notice`` among it is why it does not go on for a while.
        """
        notice = progress.get('notice')
        if notice and notice != self._notice:
            self.say(str(notice))
        self._notice = notice
        if not progress.get('stage'):
            return
        stage, done, total = str(progress.get('stage', '')), int(progress.get('done') or 0), progress.get('total')
        if total is not None and total <= 1:
            # No amount of work, but a moment: worth one line.
            if stage not in self._told:
                self._told[stage] = (100, self.clock())
                if self._bars is not None:
                    self._complete()
                self.say(f'{stage} {progress.get("text") or ""}'.rstrip())
            return
        if self._bars is not None:
            if stage not in self._tasks:
                self._complete()  # the last report of a stage is seldom its end
                self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._bars.update(self._tasks[stage], completed=done, total=total)
            return
        percent = int(100 * done / total) if total else 0
        before = self._told.get(stage)
        if before is not None and percent - before[0] < STEP and self.clock() - before[1] < QUIET:
            return
        self._told[stage] = (percent - percent % STEP, self.clock())
        far = f'{percent} % of {amount(total)}' if total else amount(done)
        speed, left = progress.get('bytes_per_second'), progress.get('seconds_left')
        far += f', {amount(speed)}/s' if speed else ''
        far += f', {duration(left)} left' if speed and left and done < (total or 0) else ''
        self.say(f'{stage}: {far}')

    def _start(self) -> None:
        from rich import progress
        from rich.console import Console

        self._console = Console(file=self.stream)
        self._bars = progress.Progress(
            progress.TextColumn('{task.description:<8}'),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=self._console,
        )
        self._bars.start()

    def _complete(self) -> None:
        for task in self._bars.tasks:
            if task.total is not None:
                self._bars.update(task.id, completed=task.total)

    def _stop(self) -> None:
        self._bars.stop()
        self._bars = None


class UpdateView(View):
    """An update on both nodes, side by side."""

    def __init__(
        self,
        stream: IO[str],
        *,
        expected: Expectation | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream, clock=clock)
        # Imported now: the node under this command may be wiped while it runs.
        from ovca.cli import picture

        self._picture, self._expected = picture, expected
        self._live: Any = None
        self._snapshot: Snapshot | None = None
        self._last: EventView | None = None
        self._halted: str | None = None
        self._taken = self._spoke = clock()

    def __call__(self, snapshot: Snapshot) -> None:
        """Show what is new."""
        self._snapshot, self._taken = snapshot, self.clock()
        for event in snapshot.events:
            self._last = event
            self.say(event_line(event))
            self._spoke = self.clock()
        halted = self._picture.halted(snapshot)
        if halted != self._halted and halted and self._live is None:
            self.say(halted)
            self._spoke = self.clock()
        self._halted = halted
        if self._live is None and self.clock() - self._spoke >= QUIET:
            self._spoke = self.clock()
            steps = ', '.join(f'{e.node} {step_text(e)}' for e in snapshot.entries)
            self.say(f'{snapshot.now:%H:%M:%SZ} {snapshot.update.state}: {steps or "no node is touched yet"}')

    def render(self) -> Group | str:
        """The picture of the moment; the times go on between two snapshots."""
        seen = self._snapshot
        if seen is None or self._console is None:
            return 'waiting for the update ...'
        return self._picture.draw(
            seen,
            passed=self.clock() - self._taken,
            expected=self._expected,
            last=self._last,
            width=self._console.width,
            plain=not self._console.encoding.startswith('utf'),
        )

    def _start(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self.stream)
        # The first picture is drawn now, so that rich has read all its parts before a node is wiped.
        self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=4)
        self._live.start(refresh=True)

    def _complete(self) -> None:
        return  # the last snapshot is drawn as it is

    def _stop(self) -> None:
        self._live.stop()
        self._live = None


def amount(size: int | None) -> str:
    """A number of bytes that a person can read, even if it is not known."""
    return '?' if size is None else output.size(size)
