"""A machine: what a BMC switches on. It has firmware, a disk (the node's ``root`` folder) and nothing else.

One process in a session of its own; everything it starts belongs to it, and cutting the power kills all of it
at once. A reset (SIGHUP, or the node's ``hw/reboot``) kills what runs and boots again; SIGTERM is the power button.

Run as ``python -m ovca.lab.machine <lab folder> <node>``.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ovca.files import write_json
from ovca.lab import processes, spec

MAGIC = '#!ovca-process'
BOOT_TIMEOUT = 3.0
RESTART_AFTER = 0.3
INSTALLED, REFUSED = 0, 3
TREE = Path('usr/lib/ovca')
SIGNALS = {signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD}
PR_SET_CHILD_SUBREAPER = 36


class Event(enum.Enum):
    """What interrupts a machine."""

    RESET = 'reset'
    BUTTON = 'power button'


class Machine:
    """The machine of one node; :meth:`run` ends when its power button is pressed."""

    def __init__(self, lab: spec.LabSpec, node: spec.NodeSpec) -> None:
        self.lab, self.node = lab, node
        self.mark = mark_of(lab, node)
        self.boot_id = ''

    def run(self) -> None:
        event: Event | None = None
        while event is not Event.BUTTON:
            event = self._boot()
            self.say(event.value)
            self.node.service_pid.unlink(missing_ok=True)
            processes.extinguish(os.getpgrp(), self.mark, spare=os.getpid())

    def say(self, text: str) -> None:
        now = time.time()
        stamp = time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now)) + f'.{int(now * 1000) % 1000:03}Z'
        print(f'{stamp} machine {self.node.name}: {text}', flush=True)

    def _boot(self) -> Event:
        self.boot_id = str(uuid.uuid4())
        self.node.boot_id.parent.mkdir(parents=True, exist_ok=True)
        self.node.boot_id.write_text(self.boot_id + '\n')
        if self._take_boot_device() == 'network':
            event = self._network_boot()
            if event is not None:
                return event
        return self._disk_boot()

    def _take_boot_device(self) -> str:
        """Return what to boot from; "once" is used up, unless the BMC has the vice to repeat it."""
        device = str(spec.read_json(self.node.boot_device).get('next', 'disk'))
        repeat = bool(spec.read_json(self.node.vices).get('repeat_network_boot'))
        self.say(f'boot {self.boot_id} from {device}')
        if not repeat:
            write_json(self.node.boot_device, {'next': 'disk'})
        return 'network' if repeat else device

    # Network.

    def _network_boot(self) -> Event | None:
        """Boot from the network; None means: go on with the disk."""
        url = f'http://{self.node.cables}:{spec.BOOT_PORT}/boot/{self.node.mac}'
        try:
            installer, arguments = parse(self._get(url, timeout=BOOT_TIMEOUT).decode())
        except (OSError, ValueError) as exc:
            self.say(f'no boot script from {url}: {exc}')
            return None
        if installer is None:
            self.say('the boot service says: boot from disk')
            return None
        return self._install(installer, arguments)

    def _install(self, installer: str, arguments: dict[str, str]) -> Event | None:
        program = self.node.hardware / 'installer.pyz'
        try:
            program.write_bytes(self._get(self._through_cable(installer), timeout=30))
        except OSError as exc:
            self.say(f'the installer cannot be fetched: {exc}')
            return None
        arguments = {key: self._through_cable(value) for key, value in arguments.items()}
        arguments['root'] = str(self.node.root)
        # Secrets go by the environment: arguments are for everybody to see.
        secrets = {'OVCA_BOOT_TOKEN': arguments.pop('boot_token', '')}
        words = [word for key, value in arguments.items() for word in (f'--{key.replace("_", "-")}', value)]
        self.say(f'install {arguments.get("version", "")} with {installer}')
        outcome = self._wait(self._start(['-I', '-S', '-B', str(program), *words], secrets))
        if isinstance(outcome, Event):
            return outcome
        if outcome == INSTALLED:
            return Event.RESET
        self.say('the grant was refused' if outcome == REFUSED else f'the installer ended with {outcome}')
        return None

    def _get(self, url: str, *, timeout: float) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=timeout) as answer:
            return bytes(answer.read())

    def _through_cable(self, value: str) -> str:
        """The wiring: what is at the virtual IP is reached through this node's own forwarders."""
        parts = urlsplit(value) if '://' in value else None
        if parts is None or parts.hostname != self.lab.virtual_ip:
            return value
        return urlunsplit(parts._replace(netloc=f'{self.node.cables}:{parts.port}'))

    # Disk.

    def _disk_boot(self) -> Event:
        reason = self._not_bootable()
        if reason:
            self.say(f'no bootable disk: {reason}')
            return self._idle()
        while True:
            service = self._start(service_command(self.node), env={**service_environment(self.node), **MEMORY})
            found = processes.Process.of(service.pid)
            if found is not None:
                found.write(self.node.service_pid)
            outcome = self._wait(service)
            if isinstance(outcome, Event):
                return outcome
            self.say(f'the service ended with {outcome}; it is started again')
            event = self._pause(RESTART_AFTER)
            if event is not None:
                return event

    def _not_bootable(self) -> str:
        record = self.node.root / 'etc/ovca/installed.json'
        try:
            json.loads(record.read_text())
        except (OSError, ValueError) as exc:
            return f'{record}: {exc}'
        return '' if (self.node.root / TREE).is_dir() else f'{self.node.root / TREE} is missing'

    # Processes.

    def _start(self, arguments: Sequence[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.lab.python, *arguments],
            stdin=subprocess.DEVNULL,
            cwd='/',
            env=environment({processes.MARK: self.mark, 'OVCA_BOOT_ID': self.boot_id, **(env or {})}),
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS) and None,
        )

    def _wait(self, child: subprocess.Popen[bytes]) -> Event | int:
        while True:
            if (code := _reap(child)) is not None:
                return code
            event = _event(signal.sigwait(SIGNALS))
            if event is not None:
                return event

    def _pause(self, seconds: float) -> Event | None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            info = signal.sigtimedwait(SIGNALS, left)
            event = _event(info.si_signo) if info is not None else None
            if event is not None:
                return event
        return None

    def _idle(self) -> Event:
        while True:
            event = _event(signal.sigwait(SIGNALS))
            if event is not None:
                return event
            _reap(None)


def mark_of(lab: spec.LabSpec, node: spec.NodeSpec) -> str:
    """What everything of this machine carries in its environment."""
    return f'{lab.folder}:{node.name}'


MEMORY = {'PYTHONMALLOC': 'malloc', 'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1'}
"""As ``etc/ovca.service`` says it."""


def environment(extra: dict[str, str]) -> dict[str, str]:
    """A node's environment: nothing of the host but where its programs and temporary files are."""
    kept = {key: os.environ[key] for key in ('PATH', 'HOME', 'TMPDIR', 'LANG') if key in os.environ}
    return {**kept, 'PYTHONUNBUFFERED': '1', **extra}


def service_environment(node: spec.NodeSpec) -> dict[str, str]:
    """Let Python find what is on the node's disk, and only that."""
    return {
        'PYTHONPATH': str(node.root / TREE),
        'PYTHONSAFEPATH': '1',
        'PYTHONNOUSERSITE': '1',
        'PYTHONDONTWRITEBYTECODE': '1',
        'OVCA_CONFIG_FILE': str(node.root / 'etc/ovca.conf'),
    }


def service_command(node: spec.NodeSpec) -> list[str]:
    return ['-S', '-m', 'ovca.daemon', '--config-file', str(node.root / 'etc/ovca.conf')]


def parse(script: str) -> tuple[str | None, dict[str, str]]:
    """Read a boot script; return the installer's URL (None: boot from disk) and its arguments.

    :raises ValueError: it is not one of ours.
    """
    lines = [line.strip() for line in script.splitlines() if line.strip()]
    if len(lines) < 2 or lines[0] != MAGIC:
        raise ValueError(f'not a script for this firmware: {script[:60]!r}')
    word, _, installer = lines[1].partition(' ')
    if word == 'local':
        return None, {}
    if word != 'install' or not installer:
        raise ValueError(f'unknown order {lines[1]!r}')
    pairs = [line.partition('=') for line in lines[2:]]
    return installer.strip(), {key.strip(): value.strip() for key, _, value in pairs}


def _event(number: int) -> Event | None:
    return {signal.SIGHUP: Event.RESET, signal.SIGTERM: Event.BUTTON}.get(signal.Signals(number))


def _reap(child: subprocess.Popen[bytes] | None) -> int | None:
    """Collect every ended process, also those that were left to us; return the exit status of ``child``."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return None
            if child is not None and pid == child.pid:
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode
    except ChildProcessError:
        return None if child is None else child.poll()


def main(argv: Sequence[str] | None = None) -> int:
    folder, name = sys.argv[1:] if argv is None else argv
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    # Whatever loses its parent becomes ours, as on a real machine everything belongs to it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    lab = spec.load(Path(folder))
    Machine(lab, lab.node(name)).run()
    return 0


if __name__ == '__main__':
    sys.exit(main())
