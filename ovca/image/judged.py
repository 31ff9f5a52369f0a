"""What a bundle says of itself, and who vouches for it: its first members, or what is derived if it has only an ISO."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.image import keys, signature
from ovca.image.bundle import Bundle
from ovca.image.errors import BundleError, SignatureRefused
from ovca.image.iso9660 import Entry, Iso
from ovca.image.limits import Limits
from ovca.image.manifest import FORMAT, LIMIT, IsoFacts, Manifest
from ovca.image.version import ImageVersion

if TYPE_CHECKING:
    from oslo_config import cfg

MANIFEST, SIGNATURE, FILES = 'manifest.json', 'manifest.json.minisig', 'files.json'
"""The first members, in this order."""
SIGNATURE_LIMIT = 16 * 1024
"""Bytes."""


@dataclass(frozen=True)
class Judged:
    """A manifest, and what stands behind it: the bytes that were signed, the signature, the key that was trusted."""

    manifest: Manifest
    raw: bytes
    signature: bytes | None
    signed_by: str | None


def judge(bundle: Bundle, conf: cfg.ConfigOpts, source: str, version: str | None) -> Judged:
    """Read the manifest, which comes next, and its signature; then the list of files comes next.

    :raises ImageError: nobody who is trusted vouches for it, or it is not the ``version`` that was asked for.
    """
    raw = b''.join(bundle.content(LIMIT))
    manifest = Manifest.parse(raw, source)
    member = bundle.need()
    signed = None
    if member.name == SIGNATURE:
        signed = b''.join(bundle.content(SIGNATURE_LIMIT))
        member = bundle.need()
    else:
        need_no_signature(conf, source)
    if member.name != FILES:
        raise BundleError(source, f'it holds {member.name} where {FILES} belongs', id='not-a-bundle')
    found = weigh(manifest, raw, signed, conf, source)
    if version is not None and version != manifest.version:
        raise BundleError(
            source,
            f'it holds version {manifest.version}, not {version}',
            id='wrong-version',
            advice='leave --image-version out, or name the URI of that version',
        )
    need_size(manifest, conf, source)
    return found


def weigh(manifest: Manifest, raw: bytes, signed: bytes | None, conf: cfg.ConfigOpts, source: str) -> Judged:
    """Who vouches for a manifest, by the keys that are trusted now; ``signed`` is its signature, if it has one.

    :raises ImageError: nobody who is trusted does, and somebody has to.
    """
    folder, name = Path(conf.image.key_folder), None
    has_keys = bool(keys.load(folder).keys)
    if signed is None:
        need_no_signature(conf, source)
    elif conf.image.require_signature or has_keys:
        name = signature.check(raw, signed, folder, version=manifest.version, digest=manifest.iso.sha256, source=source)
    return Judged(manifest, raw, signed, name)


def need_size(manifest: Manifest, conf: cfg.ConfigOpts, source: str) -> None:
    """:raises BundleError: its ISO is larger than is allowed."""
    if manifest.iso.size > conf.image.max_size:
        raise BundleError(
            source,
            f'its ISO has {manifest.iso.size} bytes, more than [image] max_size allows',
            id='image-too-large',
            advice='raise that option if the image is to be had',
        )


def need_no_signature(conf: cfg.ConfigOpts, source: str) -> None:
    """:raises SignatureRefused: one is required."""
    if conf.image.require_signature:
        raise SignatureRefused(source, 'it is not signed, and [image] require_signature is true', id='unsigned')


def derived(iso: Path, digest: str, version: str | None, limits: Limits, source: str) -> tuple[Judged, bytes]:
    """The manifest, and the list of files, of an ISO of this digest for which nobody vouches.

    Without a ``version`` the name of its volume is one.

    :raises ImageError: it is no version, or the ISO cannot be read.
    """
    with Iso(iso, limits) as reader:
        version = version or reader.volume_id
        listed = [_listed(reader, entry) for entry in reader.walk() if not entry.is_dir]
    if not version:
        raise BundleError(source, 'its ISO has no volume id; name the version with --image-version', id='no-version')
    data = json.dumps({'format': FORMAT, 'files': listed}, sort_keys=True).encode()
    facts = IsoFacts(iso.name, iso.stat().st_size, digest)
    manifest = Manifest(FORMAT, str(ImageVersion(version)), facts, hashlib.sha256(data).hexdigest())
    raw = json.dumps(manifest.as_dict(), sort_keys=True).encode()
    return Judged(manifest, raw, None, None), data


def _listed(iso: Iso, entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {'path': entry.path, 'size': entry.size, 'mode': entry.mode}
    if entry.link is not None:
        return {**row, 'link': entry.link}
    digest = hashlib.sha256()
    for data in iso.read(entry):
        digest.update(data)
    return {**row, 'sha256': digest.hexdigest()}
