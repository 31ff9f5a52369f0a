"""Makes bundles: trees in, a signed zip out. The same trees and key give the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ovca.exceptions import UsageError
from ovca.files import write_atomic
from ovca.image import signature
from ovca.image.isowriter import Node, add_file, add_tree, folder_node, write_iso
from ovca.image.manifest import FORMAT, Manifest
from ovca.image.version import ImageVersion

LEVEL = 4
"""Compression beyond it costs much time and saves little."""
CHUNK = 1024 * 1024
EPOCH = (1980, 1, 1, 0, 0, 0)


def build(
    output: Path,
    *,
    version: str,
    mgmt: Path,
    hmp: Path | None = None,
    ovm: Path | None = None,
    installer: Path | None = None,
    secret_key: Path | None = None,
    update_from: str | None = None,
    stepping_stones: tuple[str, ...] = (),
    notes: str = '',
    level: int = LEVEL,
) -> Manifest:
    """Write the bundle ``output`` and return its manifest; without ``secret_key`` it is not signed.

    :raises UsageError: a tree holds what an image cannot hold, or the key cannot be used.
    """
    text = str(ImageVersion(version))
    trees = {name: tree for name, tree in (('mgmt', mgmt), ('hmp', hmp), ('ovm', ovm)) if tree is not None}
    root = folder_node('')
    for name, tree in trees.items():
        add_tree(root, f'{name}_image', tree)
    if installer is not None:
        boot = root.children['boot'] = folder_node('boot')
        add_file(boot, 'installer.pyz', installer)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f'.{output.name}.') as place:
        iso = Path(place, f'ovca-{text}.iso'.replace('~', '-'))
        with iso.open('wb') as stream:
            size, digest, nodes = write_iso(root, stream, 'OVCA_' + re.sub(r'[^0-9A-Z]', '_', text.upper()))
        listing = _json({'format': FORMAT, 'files': [_listed(n) for n in nodes]})
        manifest = _json(
            {
                'format': FORMAT,
                'version': text,
                'update_from': str(ImageVersion(update_from)) if update_from else None,
                'stepping_stones': list(stepping_stones),
                'notes': notes,
                'iso': {'name': iso.name, 'size': size, 'sha256': digest},
                'files_digest': hashlib.sha256(listing).hexdigest(),
                'components': {name: _component(name, nodes) for name in trees},
            }
        )
        members = {'manifest.json': manifest}
        if secret_key is not None:
            members['manifest.json.minisig'] = _sign(manifest, secret_key, signature.comment(text, digest))
        members['files.json'] = listing
        archive = Path(place, 'bundle')
        _zip(archive, members, iso, level)
        archive.replace(output)
    return Manifest.parse(manifest, str(output))


def keygen(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a key pair without a password; return the paths of the secret and the public key.

    :raises UsageError: there is one of this name.
    """
    import minisign

    secret, public = folder / f'{name}.key', folder / f'{name}.pub'
    if secret.exists() or public.exists():
        raise UsageError(f'{folder} holds a key {name!r} already; choose another name', id='key-exists')
    pair = minisign.KeyPair.generate()
    write_atomic(secret, bytes(pair.secret_key) + b'\n', mode=0o600)
    write_atomic(public, bytes(pair.public_key) + b'\n')
    return secret, public


def _sign(manifest: bytes, secret_key: Path, comment: str) -> bytes:
    import minisign

    try:
        key = minisign.SecretKey.from_file(secret_key)
        return bytes(key.sign(manifest, trusted_comment=comment)) + b'\n'
    except (OSError, ValueError, minisign.Error, minisign.ParseError) as exc:
        raise UsageError(
            f'{secret_key} cannot sign: {exc}; name a minisign secret key without a password', id='bad-secret-key'
        ) from exc


def _zip(path: Path, members: dict[str, bytes], iso: Path, level: int) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in members.items():
            archive.writestr(_info(name), data, zipfile.ZIP_DEFLATED, level)
        info = _info(iso.name)
        info.compress_type, info._compresslevel = zipfile.ZIP_DEFLATED, level  # type: ignore[attr-defined]
        info.file_size = iso.stat().st_size
        with iso.open('rb') as source, archive.open(info, 'w') as target:
            shutil.copyfileobj(source, target, CHUNK)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o644 << 16
    return info


def _listed(node: Node) -> dict[str, Any]:
    if node.link is not None:
        return {'path': node.path, 'size': 0, 'sha256': '', 'mode': 0o777, 'link': node.link}
    return {'path': node.path, 'size': node.size, 'sha256': node.sha256, 'mode': node.mode & 0o777}


def _component(name: str, nodes: list[Node]) -> dict[str, Any]:
    mine = [n for n in nodes if n.path.startswith(f'{name}_image/')]
    return {
        'path': f'{name}_image/',
        'files': len(mine),
        'size': sum(n.size for n in mine),
        'install': 'unpack' if name == 'mgmt' else 'publish',
        'verify': 'files',
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b'\n'
