"""The installer: it runs on the machine that is to become a node, with nothing but Python's standard library.

The order is the point: ask for the grant; without it touch nothing. Take away what makes the disk look like a system.
Wipe. Unpack the ISO from the shared storage, each file checked against the list that the image vouches for. Put the
site's files back. Sync. Write the evidence token, last of all. Say so. Exit status 0 means reboot, 3 means that nothing
was touched and the machine boots from its disk.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import json
import os
import secrets
import shlex
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ovca.files import fsync_dir, write_atomic, write_json
from ovca.image.iso9660 import Iso

REFUSED = 3
MARKER = '.ovca-lab'
INSTALLED = 'etc/ovca/installed.json'
EVIDENCE = 'var/lib/ovca/evidence.json'
PREFIX = 'mgmt_image/'
Tell = Callable[[float, str], None]


class InstallError(Exception):
    """The install cannot go on; the text is for the operator."""


class Denied(InstallError):
    """There is no right to wipe."""


class Service:
    """The boot service's HTTPS half, pinned by its certificate's fingerprint."""

    def __init__(self, url: str, fingerprint: str, identity: dict[str, Any]) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or '', parts.port or 443
        self._fingerprint, self._identity = fingerprint.lower(), identity
        self._last = 0.0

    def post(self, name: str, body: dict[str, Any], *, timeout: float = 10) -> dict[str, Any]:
        """Send one request, once.

        :raises Denied: the service says no. :raises OSError: it does not answer, or is not the pinned one.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the pin below replaces the names
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)
        try:
            connection.connect()
            der = connection.sock.getpeercert(binary_form=True)  # type: ignore[union-attr]
            if not der or hashlib.sha256(der).hexdigest() != self._fingerprint:
                raise OSError('the boot service shows another certificate than the boot script names')
            connection.request(
                'POST',
                f'/v1/{name}',
                json.dumps({**self._identity, **body}),
                {'Content-Type': 'application/json'},
            )
            response = connection.getresponse()
            data = response.read()
        except http.client.HTTPException as exc:
            raise OSError(f'the boot service gave no whole answer: {type(exc).__name__}') from exc
        finally:
            connection.close()
        try:
            answer = json.loads(data)
        except ValueError:
            answer = {}
        if response.status in (400, 403):
            raise Denied(answer.get('error', f'status {response.status}'))
        if response.status != 200:
            raise OSError(answer.get('error', f'the boot service answers with status {response.status}'))
        return dict(answer)

    def insist(self, name: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request again until it is answered: it is idempotent for the nonce it carries."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.post(name, body)
            except OSError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.3)

    def progress(self, percent: float, text: str) -> None:
        """Tell how far the install is; nobody has to hear it."""
        if time.monotonic() - self._last < 0.2:
            return
        self._last = time.monotonic()
        try:
            self.post('progress', {'percent': percent, 'text': text}, timeout=2)
        except (OSError, Denied):
            return


def wipe(root: Path, *, real: bool = False) -> None:
    """Empty ``root``; what made it bootable goes first.

    :raises InstallError: it is not a folder that an installer may empty.
    """
    if not (root / MARKER).is_file() and not (real and root.is_mount() and root != Path('/')):
        raise InstallError(f'{root} has no file {MARKER} and is no mounted target; it is not emptied')
    for name in (INSTALLED, EVIDENCE):
        (root / name).unlink(missing_ok=True)
        if (root / name).parent.is_dir():
            fsync_dir((root / name).parent)
    for path in root.iterdir():
        if path.name == MARKER:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def listing(folder: Path, digest: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any], str]:
    """Return the files that the image of ``digest`` vouches for, its manifest, and the list's digest.

    :raises InstallError: list, manifest and digest do not belong together.
    """
    try:
        manifest = json.loads((folder / 'manifest.json').read_bytes())
        data = (folder / 'files.json').read_bytes()
        found = hashlib.sha256(data).hexdigest()
        files = {f['path']: f for f in json.loads(data)['files']}
        iso_digest, files_digest = manifest['iso']['sha256'], manifest['files_digest']
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InstallError(f'{folder} holds no whole image: {exc}') from exc
    if iso_digest != digest:
        raise InstallError(f'{folder} holds image {iso_digest}, the order is for {digest}')
    if files_digest != found:
        raise InstallError(f'{folder}/files.json is not the one that the manifest names')
    return files, manifest, found


def unpack(iso_path: Path, files: dict[str, dict[str, Any]], root: Path, tell: Tell) -> None:
    """Write the tree ``mgmt_image`` of the ISO below ``root``, each file checked while it is written.

    :raises InstallError: a file is missing, one too many, or not as the list says.
    """
    wanted = {path: f for path, f in files.items() if path.startswith(PREFIX)}
    total = sum(int(f.get('size', 0)) for f in wanted.values()) or 1
    done, seen = 0, set()
    with Iso(iso_path) as iso:
        for entry in iso.walk():
            if not entry.path.startswith(PREFIX):
                continue
            target = root / entry.path[len(PREFIX) :]
            if entry.is_dir:
                target.mkdir(parents=True, exist_ok=True)
                continue
            expected = wanted.get(entry.path)
            if expected is None:
                raise InstallError(f'the ISO holds {entry.path}, which its image does not vouch for')
            seen.add(entry.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if entry.link is not None:
                if entry.link != expected.get('link'):
                    raise InstallError(f'{entry.path} points elsewhere than its image says')
                target.symlink_to(entry.link)
                continue
            digest = hashlib.sha256()
            with target.open('xb') as stream:
                for chunk in iso.read(entry):
                    digest.update(chunk)
                    stream.write(chunk)
            if digest.hexdigest() != expected.get('sha256'):
                raise InstallError(f'{entry.path} is damaged: its digest is not the one of the image')
            target.chmod(int(expected.get('mode', 0o644)))
            done += entry.size
            tell(100 * done / total, 'unpacking')
    missing = sorted(set(wanted) - seen)
    if missing:
        raise InstallError(f'the ISO lacks {len(missing)} files, the first is {missing[0]}')


def install_tree(
    *,
    image: Path,
    iso: Path,
    digest: str,
    root: Path,
    site: Sequence[dict[str, Any]] = (),
    update: int | None = None,
    attempt: int | None = None,
    tell: Tell = lambda percent, text: None,
    real: bool = False,
) -> None:
    """Wipe ``root`` and install the image on it; everything but the evidence. The caller holds the right to do so.

    :raises InstallError: it cannot be done; before the wipe when the image is at fault.
    """
    files, manifest, files_digest = listing(image, digest)
    wipe(root, real=real)
    unpack(iso, files, root, tell)
    for item in site:
        target = (root / item['path']).resolve()
        if not target.is_relative_to(root.resolve()):
            raise InstallError(f'the site file {item["path"]} leaves the root folder')
        write_atomic(target, base64.b64decode(item['base64']), int(item['mode']))
    (root / 'var/lib/ovca').mkdir(parents=True, exist_ok=True)
    os.sync()
    write_json(
        root / INSTALLED,
        {
            'version': manifest['version'],
            'digest': digest,
            'files_digest': files_digest,
            'installed_at': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            'update': update,
            'attempt': attempt,
        },
    )


def run(order: argparse.Namespace, boot_token: str) -> int:
    """Carry an order out; return the exit status."""
    nonce = secrets.token_hex(32)
    identity = {'node': order.node, 'update': order.update, 'attempt': order.attempt, 'nonce': nonce}
    service = Service(order.tls_url, order.tls_fingerprint, identity)
    root, shared = Path(order.root), Path(order.shared_storage)
    iso = shared / order.iso
    try:
        if not (root / MARKER).is_file() and not order.real:
            raise InstallError(f'{root} has no file {MARKER}; it is not emptied')
        listing(iso.parent, order.digest)
        granted = service.insist(
            'grant',
            {'boot_token': boot_token, 'digest': order.digest, 'boot_id': os.environ.get('OVCA_BOOT_ID', '')},
            order.patience,
        )
    except (OSError, InstallError) as exc:
        print(f'no grant, nothing is touched: {exc}', file=sys.stderr)
        return REFUSED
    try:
        install_tree(
            image=iso.parent,
            iso=iso,
            digest=order.digest,
            root=root,
            site=granted['site'],
            update=order.update,
            attempt=order.attempt,
            tell=service.progress,
            real=order.real,
        )
        if order.disk_boot_command:
            subprocess.run(shlex.split(order.disk_boot_command), check=True, timeout=60)
        os.sync()
        write_json(
            root / EVIDENCE,
            {
                'update': order.update,
                'node': order.node,
                'attempt': order.attempt,
                'token': granted['evidence_token'],
            },
            mode=0o600,
        )
    except (OSError, InstallError, subprocess.SubprocessError, KeyError) as exc:
        print(f'the install failed: {exc}', file=sys.stderr)
        try:
            service.insist('failed', {'text': str(exc)}, order.patience)
        except (OSError, Denied) as lost:
            print(f'nobody could be told: {lost}', file=sys.stderr)
        return 1
    try:
        service.insist('written', {}, order.patience)
    except (OSError, Denied) as exc:
        # The evidence on the disk speaks for itself; the master may be gone by now.
        print(f'nobody could be told that the install is complete: {exc}', file=sys.stderr)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the order. The boot token comes by the environment: arguments are for everybody to see."""
    parser = argparse.ArgumentParser('installer', description='Installs a node from an image.')
    for name in (
        'node',
        'version',
        'digest',
        'boot-url',
        'tls-url',
        'tls-fingerprint',
        'iso',
        'shared-storage',
    ):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--root', required=True, help='the folder that is emptied and becomes the system')
    parser.add_argument('--update', type=int, required=True)
    parser.add_argument('--attempt', type=int, required=True)
    parser.add_argument('--real', action='store_true', help='the root is a mounted disk and needs no marker')
    parser.add_argument('--disk-boot-command', help='a command that makes the disk the boot device')
    parser.add_argument(
        '--patience', type=float, default=10.0, help='seconds to ask again after a lost reply'
    )
    order = parser.parse_args(argv)
    token = os.environ.pop('OVCA_BOOT_TOKEN', '')
    if not token:
        print('OVCA_BOOT_TOKEN is not set; nothing is touched', file=sys.stderr)
        return REFUSED
    return run(order, token)


if __name__ == '__main__':
    sys.exit(main())
