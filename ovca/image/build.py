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

from ovca.exceptions import ImageError, UsageError
from ovca.image.errors import file_errors
from ovca.image.isowriter import Node, add_file, add_tree, folder_node, write_iso
from ovca.image.judged import FILES, MANIFEST, SIGNATURE
from ovca.image.manifest import FORMAT, Manifest, check_paths
from ovca.image.restarts import STEP, Compressor, step_of
from ovca.image.signing import CHUNK, LEVEL, Password, keygen, member, outside, sign_manifest
from ovca.image.version import ImageVersion

__all__ = ['build', 'keygen']


def build(
    output: Path,
    *,
    version: str,
    mgmt: Path,
    hmp: Path | None = None,
    ovm: Path | None = None,
    installer: Path | None = None,
    secret_key: Path | None = None,
    password: Password | None = None,
    update_from: str | None = None,
    downgrade_to: str | None = None,
    accept_downgrade: bool = True,
    stepping_stones: tuple[str, ...] = (),
    notes: str = '',
    checks: tuple[str, ...] = (),
    level: int = LEVEL,
    restart_step: int = STEP,
) -> Manifest:
    """Write the bundle ``output`` and return its manifest; without ``secret_key`` it is not signed.

    ``checks`` are programs of the tree ``mgmt`` that are run before an update to this image begins. A download that was
    interrupted is taken up at a multiple of ``restart_step`` bytes of the ISO, as far as :func:`restarts.step_of` can.

    :raises UsageError: a tree holds what an image cannot hold, a check is no program of it, a version is not older that
        has to be, or the key cannot be used. :raises ImageError: a file cannot be read or written, a version is none.
    """
    text = str(ImageVersion(version))
    _need_programs(mgmt, checks)
    _need_older(text, update_from, downgrade_to, stepping_stones)
    with file_errors(output):
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
            facts = {'name': iso.name, 'size': size, 'sha256': digest}
            with iso.open('rb') as stream:
                told = outside(stream, size, listing, text, str(output))
            if told is not None:
                facts['outside'] = told
            manifest = _json(
                {
                    'format': FORMAT,
                    'version': text,
                    'update_from': str(ImageVersion(update_from)) if update_from is not None else None,
                    'downgrade_to': str(ImageVersion(downgrade_to)) if downgrade_to is not None else None,
                    'accept_downgrade': accept_downgrade,
                    'stepping_stones': list(stepping_stones),
                    'notes': notes,
                    'checks': list(checks),
                    'iso': facts,
                    'files_digest': hashlib.sha256(listing).hexdigest(),
                    'components': {name: _component(name, nodes) for name in trees},
                }
            )
            members = {MANIFEST: manifest}
            if secret_key is not None:
                members[SIGNATURE] = sign_manifest(manifest, str(output), secret_key, password)
            members[FILES] = listing
            archive = Path(place, 'bundle')
            _zip(archive, members, iso, level, restart_step)
            archive.replace(output)
        return Manifest.parse(manifest, str(output))


def _need_older(version: str, update_from: str | None, downgrade_to: str | None, stones: tuple[str, ...]) -> None:
    """Refuse what no appliance could follow, and would only notice when it is to."""
    named = [
        ('--update-from', update_from),
        ('--downgrade-to', downgrade_to),
        *(('--stepping-stone', s) for s in stones),
    ]
    for option, other in named:
        if other is None:
            continue
        try:
            older = ImageVersion(other) < ImageVersion(version)
        except ImageError as exc:
            raise ImageError(f'{option}: {exc}', id=exc.id) from None
        if not older:
            raise UsageError(
                f'{option} {other} is not older than {version}, the version of the image; name an older one',
                id='not-older',
            )


def _need_programs(mgmt: Path, checks: tuple[str, ...]) -> None:
    try:
        check_paths(list(checks))
    except ValueError as exc:
        raise UsageError(f'{exc}; name each check as usr/libexec/ovca/checks/racks', id='bad-check') from exc
    for path in checks:
        program = mgmt / path
        if program.is_symlink() or not program.is_file() or not program.stat().st_mode & 0o100:
            raise UsageError(
                f'the check {path} is no program in {mgmt}; put it there, and make it executable', id='bad-check'
            )


def _zip(path: Path, members: dict[str, bytes], iso: Path, level: int, step: int) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in members.items():
            archive.writestr(member(name), data, zipfile.ZIP_DEFLATED, level)
        info = member(iso.name)
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, iso.stat().st_size
        compressor = Compressor(level, info.file_size, step_of(info.file_size, step))
        info.extra = compressor.blank
        with iso.open('rb') as source, archive.open(info, 'w') as target:
            target._compressor = compressor  # type: ignore[attr-defined]
            shutil.copyfileobj(source, target, CHUNK)
            # Its own flush comes with the close, and makes no place; the head is written anew there, as long as before.
            info.extra = compressor.restarts.field() if info.extra else b''
        info.extra = b''  # once is enough: the directory leaves it out


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
