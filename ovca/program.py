"""Runs programs that are not ours: without a shell, for a limited time, and with a limited answer."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CHUNK = 64 * 1024


class ProgramFailed(Exception):
    """A program gave no answer; the text says why."""


@dataclass(frozen=True)
class Said:
    """What a program wrote."""

    out: bytes
    err: bytes
    status: int


def run(argv: Sequence[str], *, given: bytes, env: Mapping[str, str], timeout: float, limit: int) -> Said:
    """Run a program in an empty folder of its own; ``given`` is its standard input.

    At the end, whatever it has started is killed.

    :raises ProgramFailed: it cannot be started, takes longer than ``timeout`` seconds, or says more than ``limit``
        bytes.
    :raises OSError: there is no room for its folder.
    """
    # What it leaves there may resist, or grow while it is removed: that is no reason to lose its answer.
    place = tempfile.TemporaryDirectory(prefix='ovca-check-', ignore_cleanup_errors=True)
    with place as folder, tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**env, 'HOME': folder, 'TMPDIR': folder},
                cwd=folder,
                start_new_session=True,  # so that what it starts can be killed with it
            )
        except OSError as exc:
            raise ProgramFailed(f'it cannot be started: {exc.strerror}') from exc
        with process:
            try:
                out, err = listen(process, timeout, limit)
            except TimeoutError:
                raise ProgramFailed(f'it took longer than {timeout:g} s') from None
            finally:
                # Nobody has waited for it yet, so its number still names this group.
                os.killpg(process.pid, signal.SIGKILL)
    return Said(out, err, process.returncode)


def listen(process: subprocess.Popen[bytes], timeout: float, limit: int, *, end: bool = False) -> tuple[bytes, bytes]:
    """What a program writes into its pipes until it ends; who it leaves behind may hold them open for ever.

    It is not waited for yet, so its number still names its group. Of what is longer than ``limit`` bytes the ``end`` is
    kept, if that is enough.

    :raises TimeoutError: it does not end within ``timeout`` seconds.
    :raises ProgramFailed: it says more than ``limit`` bytes, of which the end alone is not enough.
    """
    deadline = time.monotonic() + timeout
    got: dict[str, bytearray] = {'out': bytearray(), 'err': bytearray()}
    with selectors.DefaultSelector() as selector:
        for name, stream in (('out', process.stdout), ('err', process.stderr)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, name)
        while True:
            ended = _ended(process.pid)
            ready = selector.select(0.02)
            for key, _ in ready:
                piece = os.read(key.fd, CHUNK)
                if not piece:
                    selector.unregister(key.fileobj)
                got[key.data] += piece
                if len(got[key.data]) > limit and not end:
                    raise ProgramFailed(f'it says more than {limit} bytes')
                del got[key.data][:-limit]
            if ended:  # what it wrote was in the pipes, and they hold no more than is read at once
                return bytes(got['out']), bytes(got['err'])
            if time.monotonic() > deadline:
                raise TimeoutError


def _ended(pid: int) -> bool:
    """Whether a child has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
