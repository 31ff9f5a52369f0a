"""For vendors: makes the index of a channel from the bundles in a folder, and signs it."""

from __future__ import annotations

import datetime as dt
import json
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ovca.exceptions import ImageError, UsageError
from ovca.files import write_atomic
from ovca.image import channel
from ovca.image.channel import FORMAT, Channel, ChannelError
from ovca.image.errors import BundleError
from ovca.image.judged import MANIFEST, SIGNATURE
from ovca.image.manifest import LIMIT, Manifest
from ovca.image.signing import NO_ZIP, Password, sign
from ovca.image.version import ImageVersion


def make(
    folder: Path,
    output: Path,
    secret_key: Path,
    *,
    expires_at: dt.datetime,
    now: dt.datetime,
    serial: int | None = None,
    base_uri: str | None = None,
    critical: Collection[str] = (),
    password: Password | None = None,
) -> Channel:
    """Write the index of the bundles (``*.zip``) in a folder, and its signature beside it; return it.

    The bundles are named relative to the index, or below ``base_uri``. Without a ``serial`` it is the one after that of
    the index that is replaced, out of which the dates of release are kept, too.

    :raises UsageError: there is no bundle, one is not signed, a version is there twice, or ``base_uri`` is none.
    :raises ImageError: a bundle or the index that is replaced cannot be read.
    """
    base_uri = None if base_uri is None else _base(base_uri)
    before = _before(output)
    if serial is None:
        serial = before.serial + 1 if before is not None else 1
    elif before is not None and serial <= before.serial:
        raise UsageError(
            f'{output} has the serial number {before.serial} already, and appliances refuse one that goes back; '
            f'give a higher one, or none',
            id='serial-used',
        )
    images: dict[str, dict[str, Any]] = {}
    for bundle in sorted(folder.glob('*.zip')):
        manifest = _manifest(bundle)
        if manifest.version in images:
            raise UsageError(
                f'{bundle} holds version {manifest.version}, as another bundle there does; remove one',
                id='bundle-twice',
            )
        offered = before.offer(manifest.version) if before is not None else None
        released = now if offered is None or offered.iso_sha256 != manifest.iso.sha256 else offered.released_at
        images[manifest.version] = {
            'version': manifest.version,
            'uri': _uri(bundle, output, base_uri),
            'size': bundle.stat().st_size,
            'iso_sha256': manifest.iso.sha256,
            'update_from': manifest.update_from,
            'stepping_stones': list(manifest.stepping_stones),
            'released_at': _written(released) if released is not None else None,
            'notes': manifest.notes,
            'critical': manifest.version in critical,
        }
    if not images:
        raise UsageError(f'{folder} holds no bundle (*.zip); name the folder of the bundles', id='no-bundles')
    if unknown := sorted(set(critical) - set(images)):
        raise UsageError(f'{folder} holds no bundle of version {unknown[0]}; it cannot be critical', id='no-bundles')
    rows = [images[version] for version in sorted(images, key=ImageVersion)]
    document = {'format': FORMAT, 'serial': serial, 'expires_at': _written(expires_at), 'images': rows}
    data = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b'\n'
    made = channel.parse(data, str(output), signed_by=secret_key.name)
    signed = sign(data, channel.comment(serial), secret_key, password)
    try:
        write_atomic(output, data)
        write_atomic(output.with_name(f'{output.name}.minisig'), signed)
    except OSError as exc:
        raise ImageError(f'{output} cannot be written: {exc.strerror}; see to the folder', id='bundle-file') from exc
    return made


def _before(output: Path) -> Channel | None:
    try:
        data = output.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ChannelError(str(output), f'it cannot be read: {exc.strerror}; see to the file') from exc
    return channel.parse(data, str(output), signed_by='')


def _manifest(bundle: Path) -> Manifest:
    try:
        with zipfile.ZipFile(bundle) as archive:
            if SIGNATURE not in archive.namelist():
                raise UsageError(
                    f'{bundle} is not signed; sign it with `ovca image-sign` first, or move it away',
                    id='bundle-unsigned',
                )
            with archive.open(MANIFEST) as stream:
                return Manifest.parse(stream.read(LIMIT), str(bundle))
    except (*NO_ZIP, OSError) as exc:
        raise BundleError(str(bundle), f'it is no bundle: {exc}', id='not-a-bundle') from exc


def _base(uri: str) -> str:
    """The URI of a folder without a slash at its end. :raises UsageError: it is none, or not for all to read."""
    if set(uri) & set('@?#'):
        # The value itself is not repeated: it may hold a password.
        raise UsageError(
            '--base-uri holds a user, a password or a query, and everybody can read the index; name one without them: '
            'appliances have [update] credentials_file',
            id='bad-base-uri',
        )
    try:
        parts = urlsplit(uri)
        good = bool(parts.netloc or (parts.path and parts.scheme in channel.LOCAL)) and parts.port != 0
    except ValueError:
        good = False
    if not good or not uri.isprintable() or ' ' in uri:
        raise UsageError(
            f'--base-uri {uri!r} is not the URI of a folder; write it as https://updates.example.com/ovca',
            id='bad-base-uri',
        )
    return uri.rstrip('/')


def _uri(bundle: Path, output: Path, base_uri: str | None) -> str:
    if base_uri is not None:
        return f'{base_uri}/{quote(bundle.name)}'
    return quote(os.path.relpath(bundle.absolute(), output.absolute().parent))


def _written(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
