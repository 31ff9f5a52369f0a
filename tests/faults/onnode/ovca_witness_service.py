"""The service behind the role: it notes when it begins and ends to serve, and whether another one serves meanwhile.

While it serves it holds a lock that the kernel gives to one process only, and takes back from a dead one: so two that
serve at the same instant are seen, however short it is. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn


def process(lab: str, node: str) -> int | None:
    """The number of a node's service, if it runs."""
    try:
        pid, started = _pid_file(lab, node).read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _started(int(pid)) == started else None


def _pid_file(lab: str, node: str) -> Path:
    return Path(lab, 'nodes', node, 'hw', 'witness.pid')


def _started(pid: int) -> str | None:
    """When a process was started, unless it has ended."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] in 'ZX' else fields[19]


def serve(lab: str, node: str) -> NoReturn:
    """Serve until SIGTERM."""
    notes = os.open(Path(lab, 'witness.jsonl'), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(what: str) -> None:
        os.write(notes, json.dumps({'node': node, 'what': what, 'at': time.time()}).encode() + b'\n')

    def end(*_: object) -> None:
        note('stop')
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    lock = os.open(Path(lab, 'witness.lock'), os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        note('start')
    except BlockingIOError:
        note('clash')
    here = _pid_file(lab, node)
    new = here.with_suffix('.new')
    new.write_text(f'{os.getpid()} {_started(os.getpid())}')
    new.replace(here)
    while True:
        signal.pause()


if __name__ == '__main__':
    serve(*sys.argv[1:])
