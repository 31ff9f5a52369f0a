"""For vendors: key pairs, and signatures by a secret key, with or without a password."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import IO

from ovca.conf import secrets
from ovca.exceptions import ConfigError, UsageError
from ovca.files import fsync_dir, write_atomic
from ovca.image import keys, signature
from ovca.image.errors import BundleError, file_errors
from ovca.image.iso9660 import IsoError
from ovca.image.judged import FILES, MANIFEST, SIGNATURE
from ovca.image.manifest import LIMIT, Manifest, parse_files
from ovca.image.store import Store
from ovca.image.trees import digest_outside
from ovca.image.verification import tree_path

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,63}')
CHUNK = 1024 * 1024
EPOCH = (1980, 1, 1, 0, 0, 0)
LEVEL = 4
"""Compression beyond it costs much time and saves little."""
NO_ZIP = (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError)
"""What the library raises when it reads a zip that is damaged, encrypted, or packed as it does not know."""
Password = Callable[[], str]
"""Asks for the password of a secret key; called only if the key has one."""


def keygen(folder: Path, name: str, *, password: str | None = None) -> tuple[Path, Path]:
    """Make a key pair, its secret half protected by the password; return the paths of the secret and the public key.

    :raises UsageError: there is one of this name, the name cannot be a file's, or the folder cannot be written.
    """
    import minisign

    if not NAME.fullmatch(name):
        raise UsageError(
            f'{name!r} cannot be the name of a key; use letters, digits and . _ - (at most 64)', id='bad-key-name'
        )
    secret, public = folder / f'{name}.key', folder / f'{name}.pub'
    try:
        if secret.exists() or public.exists():
            raise UsageError(f'{folder} holds a key {name!r} already; choose another name', id='key-exists')
        pair = minisign.KeyPair.generate()
        pair.public_key.untrusted_comment = f'minisign public key {keys.id_of(pair.public_key)}'  # the library swaps it
        key = bytes(pair.public_key) + b'\n'
        if password:
            pair.secret_key.encrypt(password)
        write_atomic(secret, bytes(pair.secret_key) + b'\n', mode=0o600)
        write_atomic(public, key)
    except OSError as exc:
        raise UsageError(
            f'no key can be written to {folder}: {exc.strerror}; name another folder with --folder', id='no-such-path'
        ) from exc
    return secret, public


def sign(data: bytes, comment: str, secret_key: Path, password: Password | None = None) -> bytes:
    """Return the signature of the data, bound to ``comment``, as a file holds it.

    :raises UsageError: the key cannot sign. :raises ConfigError: others can read it.
    """
    import minisign

    try:
        with secret_key.open('rb') as stream:
            if problem := secrets.openness(str(secret_key), os.fstat(stream.fileno()).st_mode):
                raise ConfigError(f'the secret key {problem}', id='secret-file-open')
            key = minisign.SecretKey.from_bytes(stream.read(LIMIT))
        with key:
            if key.is_encrypted():
                if password is None:
                    raise UsageError(
                        f'{secret_key} has a password, and there is no terminal to ask for it on; '
                        f'name a file that holds it with --password-file',
                        id='password-missing',
                    )
                key.decrypt(password())
            return bytes(key.sign(data, trusted_comment=comment)) + b'\n'
    except (OSError, ValueError, minisign.Error, minisign.ParseError) as exc:
        # The library's own words hold nothing of the key.
        raise UsageError(
            f'{secret_key} cannot sign: {exc}; name a minisign secret key, and its password if it has one',
            id='bad-secret-key',
        ) from exc


def sign_manifest(data: bytes, source: str, secret_key: Path, password: Password | None = None) -> bytes:
    """Return the signature of a manifest. :raises BundleError: it is none."""
    manifest = Manifest.parse(data, source)
    return sign(data, signature.comment(manifest.version, manifest.iso.sha256), secret_key, password)


def sign_bundle(bundle: Path, output: Path, secret_key: Path, password: Password | None = None) -> Manifest:
    """Write ``output``: the bundle with a signature, or with another one; ``output`` may be the bundle itself.

    What is signed is looked at before: the list and the ISO have to be those that the manifest names. The members are
    copied as they are compressed, so the bundle of one set of trees is the same whether it was signed now or then.

    :raises BundleError: it is no bundle, or damaged. :raises UsageError: the key cannot sign.
    """
    try:
        with file_errors(output), zipfile.ZipFile(bundle) as source:
            return _sign_bundle(source, bundle, output, secret_key, password)
    except NO_ZIP as exc:
        raise BundleError(str(bundle), f'it is no bundle: {exc}', id='not-a-bundle') from exc


def _sign_bundle(
    source: zipfile.ZipFile, bundle: Path, output: Path, secret_key: Path, password: Password | None
) -> Manifest:
    members = [info for info in source.infolist() if info.filename != SIGNATURE]
    names = [info.filename for info in members]
    if names[:2] != [MANIFEST, FILES] or len(names) != 3 or members[0].file_size > LIMIT:
        raise BundleError(
            str(bundle), f'it holds {", ".join(names[:5])}, not manifest.json, files.json and an ISO', id='not-a-bundle'
        )
    raw = source.read(members[0])
    manifest = Manifest.parse(raw, str(bundle))
    made = sign_manifest(raw, str(bundle), secret_key, password)
    for info, digest in ((members[1], manifest.files_digest), (members[2], manifest.iso.sha256)):
        if _digest(source, info) != digest:
            raise BundleError(str(bundle), f'{info.filename} is not the one that the manifest names')
    if manifest.iso.outside is not None:
        with source.open(members[2]) as stream:
            told = outside(stream, manifest.iso.size, source.read(members[1]), manifest.version, str(bundle))
        if told != manifest.iso.outside:
            what = f'{members[2].filename} differs outside of its files from what the manifest says'
            raise BundleError(str(bundle), what)
    descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f'.{output.name}.')
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, 'w+b') as stream:
            with zipfile.ZipFile(stream, 'w') as target:
                _copy(source, members[0], target)
                target.writestr(member(SIGNATURE), made, zipfile.ZIP_DEFLATED, LEVEL)
                for info in members[1:]:
                    _copy(source, info, target)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(bundle.stat().st_mode & 0o777)
        temporary.replace(output)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(output.parent)
    return manifest


def outside(iso: IO[bytes], size: int, listing: bytes, version: str, source: str) -> str | None:
    """The digest of what lies outside of an ISO's files, by their list; None if its records come too late for that.

    :raises BundleError: the list and the ISO are no two of one image.
    """
    place = partial(tree_path, Store(Path()), version)
    try:
        return digest_outside(iter(partial(iso.read, CHUNK), b''), size, parse_files(listing, source), place, source)
    except IsoError as exc:
        raise BundleError(source, f'its ISO is refused: {exc}', id=exc.id) from exc


def member(name: str) -> zipfile.ZipInfo:
    """A member's head that is the same on every day and machine."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o644 << 16
    return info


def _digest(source: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    import hashlib

    digest = hashlib.sha256()
    with source.open(info) as stream:
        while data := stream.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _copy(source: zipfile.ZipFile, info: zipfile.ZipInfo, target: zipfile.ZipFile) -> None:
    """Copy a member as it lies there: its head, its compressed bytes, and what follows up to the next member."""
    starts = [other.header_offset for other in source.infolist() if other.header_offset > info.header_offset]
    end = min(starts, default=source.start_dir)
    read, write = _file(source), _file(target)
    here = target.start_dir
    read.seek(info.header_offset)
    write.seek(here)
    left = end - info.header_offset
    while left:
        data = read.read(min(CHUNK, left))
        if not data:
            raise EOFError('it ends too early')
        write.write(data)
        left -= len(data)
    moved = copy(info)
    moved.header_offset = here
    target.filelist.append(moved)
    target.NameToInfo[moved.filename] = moved
    target.start_dir = write.tell()


def _file(archive: zipfile.ZipFile) -> IO[bytes]:
    if archive.fp is None:
        raise RuntimeError('the archive is closed')
    return archive.fp
