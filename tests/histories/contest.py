"""Lets four processes contend for one lease, pauses and kills them at random instants, and reads what they noted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovca.cluster.lease import Lease
from ovca.db import schema
from ovca.db.engine import Database
from ovca.lab.processes import Process
from tests.histories.checker import Belief, History
from tests.histories.row import Operation

ROOT = Path(__file__).parents[2]
NODES = ('mn1', 'mn2', 'mn3', 'mn4')
SPREAD = 0.15
"""How much faster or slower a node's clock goes, at most; ``self_demote`` is as far below the ttl as that needs."""


@dataclass
class Contest:
    """One run: ``seconds`` of contention, then a history."""

    url: str
    folder: Path
    seed: int
    ttl: float = 0.5
    self_demote: float = 0.33
    done: dict[str, int] = field(default_factory=lambda: {'pauses': 0, 'kills': 0})

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def run(self, enough: Callable[[History], bool], patience: float) -> History:
        """Contend and disturb until the history is ``enough``, or ``patience`` (seconds) is over; end all processes."""
        database = Database(self.url)
        schema.prepare(database)
        Lease(database, 'contest', 'contest', ttl=self.ttl).ensure_row()
        database.dispose()
        end = time.monotonic() + patience
        with self._contenders() as start:
            running = {node: start(node) for node in NODES}
            while time.monotonic() < end and not enough(self.history()):
                self._disturb(start, running, min(end, time.monotonic() + 2))
        return self.history()

    def history(self) -> History:
        """What has been noted so far."""
        return read(self.folder.glob('*.jsonl'), self.ttl)

    def _disturb(self, start: Callable[[str], Process], running: dict[str, Process], end: float) -> None:
        """At random instants, stop one or two processes for up to three ttls, or kill one and start another."""
        stopped: dict[str, float] = {}
        while (now := time.monotonic()) < end:
            for node in [n for n, until in stopped.items() if until <= now]:
                running[node].kill(signal.SIGCONT)
                del stopped[node]
            node = self.chance.choice(NODES)
            if self.chance.random() < 0.3:
                stopped.pop(node, None)
                running[node].kill()
                running[node] = start(node)
                self.done['kills'] += 1
            elif node not in stopped and len(stopped) < 2:
                running[node].kill(signal.SIGSTOP)
                stopped[node] = now + self.chance.uniform(0, 3 * self.ttl)
                self.done['pauses'] += 1
            time.sleep(self.chance.uniform(0, 1.5 * self.ttl))
        for node in stopped:
            running[node].kill(signal.SIGCONT)

    @contextmanager
    def _contenders(self) -> Iterator[Callable[[str], Process]]:
        """What starts a contender; all of them end with the block."""
        clocks = {node: (self.chance.uniform(0, 1e6), self.chance.uniform(1 - SPREAD, 1 + SPREAD)) for node in NODES}
        with (self.folder / 'contenders.log').open('ab') as log:
            mother = subprocess.Popen(
                [sys.executable, '-m', 'tests.histories.contender'],
                cwd=ROOT,
                env=os.environ | {'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

        def start(node: str) -> Process:
            offset, rate = clocks[node]
            order = {
                'url': self.url,
                'folder': str(self.folder),
                'node': node,
                'others': [other for other in NODES if other != node],
                'seed': self.seed,
                'ttl': self.ttl,
                'self_demote': self.self_demote,
                'offset': offset,
                'rate': rate,
            }
            if mother.stdin is None or mother.stdout is None:
                raise RuntimeError('the mother of the contenders has no pipes')
            print(json.dumps(order), file=mother.stdin, flush=True)
            found = Process.of(int(mother.stdout.readline()))
            if found is None:
                raise RuntimeError(f'{node} did not start: {(self.folder / "contenders.log").read_text()}')
            return found

        with mother:
            yield start


def read(files: Iterable[Path], ttl: float) -> History:
    """Read what the runs of the processes noted."""
    operations: list[Operation] = []
    beliefs: list[Belief] = []
    rates: dict[str, float] = {}
    for path in files:
        # What a killed process had begun to write has no end of line, and never happened.
        lines = [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b'\n')]
        if not lines:
            continue
        about, rest = lines[0], lines[1:]
        rates[about['node']] = about['rate']
        who = (about['node'], about['incarnation'])
        operations += _operations(who, rest)
        beliefs += _beliefs(who, rest)
    return History(operations, beliefs, ttl, rates)


def _operations(who: tuple[str, str], lines: list[dict[str, Any]]) -> list[Operation]:
    ends = {line['return']: line for line in lines if 'return' in line}
    found = []
    for call in (line for line in lines if 'call' in line):
        end = ends.get(call['call'], {'outcome': 'unknown', 'result': {}, 'at': None})
        returned = None if end['outcome'] == 'unknown' else end['at']
        found.append(Operation(*who, call['kind'], call['at'], returned, end['outcome'], call['args'], end['result']))
    return found


def _beliefs(who: tuple[str, str], lines: list[dict[str, Any]]) -> list[Belief]:
    looks: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        if 'belief' in line:
            looks.setdefault(line['belief'], []).append(line)
    return [
        Belief(*who, epoch, found[0]['first'], max(found[-1]['last'], found[0]['first']))
        for epoch, found in looks.items()
    ]
