"""The installer: it runs on the machine that is to become a node, with nothing but Python's standard library.

The order is the point: look whether all is there; ask for the grant, without it touch nothing; wipe, unpack and check
(:mod:`ovca.provision.tree`); make the disk the boot device; write the evidence token, last of all; say so. Exit status
0 means reboot, 1 that the install failed, 3 that nothing was touched and the machine boots from its disk.
"""

from __future__ import annotations

import argparse
import io
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ovca.files import write_json
from ovca.provision.client import TEXT_LIMIT, InstallError, Reporter, Service
from ovca.provision.putback import inside
from ovca.provision.tree import EVIDENCE, INSTALLED, MARKER, ImageFolder, check_root, install_tree

__all__ = ['EVIDENCE', 'INSTALLED', 'MARKER', 'InstallError', 'install_tree', 'main']
DONE, FAILED, REFUSED = 0, 1, 3
TOKEN = 'OVCA_BOOT_TOKEN'
BOOT_ID = Path('/proc/sys/kernel/random/boot_id')
WORD = 'ovca.'


def run(
    order: argparse.Namespace,
    boot_token: str,
    *,
    connect: Callable[[str, str, dict[str, Any]], Service] = Service,
    reporter: Callable[[Service], Reporter] = Reporter,
    sync: Callable[[], None] = os.sync,
) -> int:
    """Carry an order out; return the exit status. The nonce lives in this process's memory only."""
    identity = {'node': order.node, 'update': order.update, 'attempt': order.attempt, 'nonce': secrets.token_hex(32)}
    root, iso = Path(order.root), Path(order.shared_storage) / order.iso
    try:
        service = connect(order.tls_url, order.tls_fingerprint, identity)
        check_root(root, real=order.real, keep=[Path(order.shared_storage)])
        ImageFolder(iso, order.digest).compare()
        ask = {'boot_token': boot_token, 'digest': order.digest, 'boot_id': _boot_id()}
        granted = service.insist('grant', ask, order.patience)
        token, site = str(granted['evidence_token']), list(granted['site'])
        about = dict(granted.get('site_about', {}))  # a master of before site items says nothing of them
    except (OSError, InstallError, KeyError, TypeError) as exc:
        _tell(f'no grant, nothing is touched: {exc}', 'stderr')
        return REFUSED
    _tell(f'grant given: {order.root} is wiped and becomes {order.version}')
    try:
        with reporter(service) as told:
            install_tree(
                iso=iso,
                digest=order.digest,
                root=root,
                site=site,
                site_about=about,
                update=order.update,
                attempt=order.attempt,
                tell=told.tell,
                real=order.real,
                sync=sync,
            )
        _boot_from_disk(order.disk_boot_command)
        write_json(
            inside(root, EVIDENCE),
            {'update': order.update, 'node': order.node, 'attempt': order.attempt, 'token': token},
            mode=0o600,
        )
    except Exception as exc:  # whatever it was: the master waits to hear of it, and nobody else can tell
        text = str(exc) if isinstance(exc, (OSError, InstallError)) else f'{type(exc).__name__}: {exc}'
        _tell(f'the install failed: {text}', 'stderr')
        _say(service, 'failed', {'text': text[:TEXT_LIMIT]}, order.patience)
        return FAILED
    _tell(f'{order.version} is installed')
    # When nobody hears it, the evidence on the disk still speaks: the master may have changed meanwhile.
    _say(service, 'written', {}, order.patience)
    return DONE


def _tell(text: str, where: str = 'stdout') -> None:
    """Say it on the console; one that is gone, or whose log is full, stops no install."""
    try:
        print(text, file=getattr(sys, where), flush=True)
    except (OSError, ValueError):
        setattr(sys, where, io.StringIO())  # else the end of the process would try again, and fail


def _say(service: Service, name: str, body: dict[str, str], patience: float) -> None:
    try:
        service.insist(name, dict(body), patience)
    except (OSError, InstallError) as exc:
        _tell(f'"{name}" could not be said: {exc}', 'stderr')


def _boot_from_disk(command: str | None) -> None:
    if not command:
        return
    try:
        subprocess.run(shlex.split(command), check=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        raise InstallError(f'the disk could not be made the boot device: {exc}') from exc


def _boot_id() -> str:
    named = os.environ.get('OVCA_BOOT_ID')
    return named or (BOOT_ID.read_text().strip() if BOOT_ID.exists() else '')


def kernel_words(text: str) -> list[str]:
    """Return the arguments that a boot script put on the kernel's command line as ``ovca.key=value``."""
    pairs = [word[len(WORD) :].partition('=') for word in text.split() if word.startswith(WORD)]
    return [f'--{key.replace("_", "-")}={value}' for key, _, value in pairs]


def joined(words: Sequence[str], flags: Sequence[str] = ('--real', '--help', '-h')) -> list[str]:
    """Return ``--key value`` pairs as ``--key=value``: a token may begin with a dash, and is no option for that."""
    result, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        takes = word.startswith('--') and '=' not in word and word not in flags
        result.append(f'{word}={rest.pop(0)}' if takes and rest else word)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the order and carry it out.

    The boot token comes by the environment or the order; it only asks for a grant, it is none. What an order says
    beyond what this installer knows is passed over: the master that wrote it may be of another version.
    """
    words = joined(sys.argv[1:] if argv is None else argv)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument('--kernel-command-line', help='a file with an order as ovca.key=value words')
    known, words = first.parse_known_args(words)
    if known.kernel_command_line:
        words = kernel_words(Path(known.kernel_command_line).read_text()) + words
    parser = argparse.ArgumentParser(
        'installer', description='Installs a node from an image.', parents=[first], allow_abbrev=False
    )
    for name in ('node', 'version', 'digest', 'tls-url', 'tls-fingerprint', 'iso', 'shared-storage'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--root', required=True, help='the folder that is emptied and becomes the system')
    parser.add_argument('--update', type=int, required=True)
    parser.add_argument('--attempt', type=int, required=True)
    parser.add_argument('--boot-token', default='', help=f'better given as {TOKEN} in the environment')
    parser.add_argument('--real', action='store_true', help='the root is a mounted disk and needs no marker')
    parser.add_argument('--disk-boot-command', help='a command that makes the disk the boot device')
    parser.add_argument('--patience', type=float, default=10.0, help='seconds to ask again after a lost reply')
    order, _ = parser.parse_known_args(words)
    return run(order, os.environ.pop(TOKEN, '') or order.boot_token)


if __name__ == '__main__':
    sys.exit(main())
