"""Messages to a program of the operator's own choice."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING

from ovca.exceptions import ConfigError
from ovca.notify.base import Message, Notifier, NotifyError
from ovca.program import listen

if TYPE_CHECKING:
    from oslo_config import cfg

LIMIT = 4096
"""Bytes that are kept of what a command says, the last ones."""


class CommandNotifier(Notifier):
    """Runs ``[notify] command`` for each message, without a shell; the message is JSON on its standard input.

    Status 0 means that the message was taken; what the command has left to others to do is then theirs. After
    ``[notify] timeout`` seconds it is killed, with whatever it started.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        try:
            self._words = shlex.split(conf.notify.command or '')
        except ValueError as exc:
            raise ConfigError(f'[notify] command: {exc}; write it with closed quotes', id='notify-command') from exc
        if not self._words:
            raise ConfigError(
                '[notify] drivers names command, but [notify] command is empty; write the command to run',
                id='notify-command',
            )

    def _send(self, message: Message) -> None:
        program, timeout = self._words[0], self.conf.notify.timeout
        with os.fdopen(os.memfd_create('message'), 'w+b') as given:  # also where no disk has room
            given.write(json.dumps(message.as_dict()).encode() + b'\n')
            given.seek(0)
            try:
                process = subprocess.Popen(
                    self._words,
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # so that what it starts can be killed with it
                )
            except OSError as exc:
                raise NotifyError(f'{program} cannot be started: {exc.strerror}; see [notify] command') from exc
        with process:
            try:
                _, said = listen(process, timeout, LIMIT, end=True)
            except BaseException as exc:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(exc, TimeoutError):
                    raise NotifyError(f'{program} was killed after {timeout:g} s; see [notify] timeout') from exc
                raise
        if process.returncode:
            lines = said.decode(errors='replace').strip().splitlines()
            how = f'status {process.returncode}' if process.returncode > 0 else f'signal {-process.returncode}'
            raise NotifyError(
                f'{program} ended with {how}: {lines[-1] if lines else "it said nothing"}; mend the command'
            )
