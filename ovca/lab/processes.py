"""Processes that are known by a pid file.

A process is known by its pid *and* its start time, so that a number that was given away again harms nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovca.files import write_json

MARK = 'OVCA_LAB_MACHINE'
"""An environment variable that everything of one machine inherits."""


@dataclass(frozen=True)
class Process:
    """A process that certainly is the one meant."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process with this number, unless it has ended."""
        fields = _stat(pid)
        return None if fields is None or fields[0] in 'ZX' else cls(pid, int(fields[19]))

    @classmethod
    def read(cls, path: Path) -> Process | None:
        """The process that a pid file names, if it still runs."""
        try:
            data = json.loads(path.read_text())
            found = cls.of(int(data['pid']))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found is not None and found.started == data.get('started') else None

    def write(self, path: Path) -> None:
        write_json(path, {'pid': self.pid, 'started': self.started})

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def kill(self, how: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal; return whether the process was there. Another of the same number is safe."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.alive:
                return False
            signal.pidfd_send_signal(handle, how)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)

    def end(self, patience: float = 3.0) -> None:
        """Ask it to end, then make it."""
        if self.kill(signal.SIGTERM) and not wait_until(lambda: not self.alive, patience):
            self.kill()
            wait_until(lambda: not self.alive, patience)


def wait_until(true: Callable[[], bool], patience: float, step: float = 0.02) -> bool:
    """Wait for a condition; return whether it came true."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() >= end:
            return False
        time.sleep(step)
    return True


def spawn(
    argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that a Ctrl-C in the terminal does not reach it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('ab') as out:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )


def members(group: int, mark: str) -> Iterator[Process]:
    """All living processes of a process group, or that carry the machine's mark in their environment."""
    wanted = f'{MARK}={mark}'.encode()
    for pid in (int(entry.name) for entry in Path('/proc').iterdir() if entry.name.isdigit()):
        fields = _stat(pid)
        if fields is None or fields[0] in 'ZX':
            continue
        if int(fields[2]) == group or wanted in _environment(pid):
            yield Process(pid, int(fields[19]))


def extinguish(group: int, mark: str, *, spare: int | None = None) -> None:
    """Kill every process of a machine, at once and for good; return when none is left."""
    while True:
        left = [process for process in members(group, mark) if process.pid != spare]
        if not left:
            return
        for process in left:
            process.kill()
        if spare is not None:
            _reap()
        time.sleep(0.005)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat behind the name (which may hold anything): state, parent, group, …"""
    try:
        text = Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return None
    return text.rpartition(')')[2].split()


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')
    except OSError:
        return []
