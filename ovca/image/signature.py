"""Signatures by minisign (Ed25519, prehashed): https://jedisct1.github.io/minisign/

Whatever is signed is checked by :func:`verify`. What the signature was made *for* stands in its trusted comment, which
it covers too: so a signature cannot be put on something else, not even by the key's owner by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import minisign

from ovca.image import keys
from ovca.image.errors import KeyRevoked, SignatureRefused

LIMIT = 16 * 1024
"""Bytes; a signature has some 300."""
LEGACY = b'Ed'
"""The method of minisign before 0.6, which signs the bytes themselves instead of their hash."""


@dataclass(frozen=True)
class Signed:
    """A signature that is good: by which key, and what for."""

    key: str
    """The name of the key's file."""
    comment: str
    """The trusted comment."""


def comment(version: str, digest: str) -> str:
    """The trusted comment of a manifest: it binds the signature to one version and one ISO."""
    return f'ovca version:{version} iso:{digest}'


def check(manifest: bytes, signature: bytes, folder: Path, *, version: str, digest: str, source: str) -> str:
    """Return the name of the key in ``folder`` that signed the manifest.

    :raises SignatureRefused: none did, or the signature is bound to another image.
    :raises ConfigError: the folder holds no usable key.
    """
    signed = verify(manifest, signature, folder, source=source)
    if signed.comment != comment(version, digest):
        raise SignatureRefused(source, 'its signature was made for another version or ISO')
    return signed.key


def verify(data: bytes, signature: bytes, folder: Path, *, source: str) -> Signed:
    """Return which key in ``folder`` signed the data, and the trusted comment, which the caller has to compare.

    :raises KeyRevoked: it is by a revoked key. :raises SignatureRefused: it is by none that is trusted.
    :raises ConfigError: the folder holds no usable key.
    """
    found = keys.load(folder)
    if not found.keys:
        raise keys.none_here(folder)
    try:
        parsed = minisign.Signature.from_bytes(signature)
        method, id = keys.signer(signature)
    except (minisign.ParseError, ValueError) as exc:
        raise SignatureRefused(source, f'its signature cannot be read: {exc}') from exc
    if (why := found.why_revoked(id)) is not None:
        raise KeyRevoked(source, id, why)
    if method == LEGACY:
        raise SignatureRefused(
            source, 'its signature is of the old kind, which is not prehashed', id='signature-legacy'
        )
    for key in found.trusted:
        try:
            key.public.verify(data, parsed)
        except minisign.VerifyError:
            continue
        return Signed(key.name, str(parsed.trusted_comment))
    names = ', '.join(key.name for key in found.trusted) or 'all are revoked'
    if any(key.id == id for key in found.trusted):
        raise SignatureRefused(source, f'its signature names key {id}, but it was not made for these bytes')
    raise SignatureRefused(source, f'its signature is by key {id}, which is none of the keys that are trusted: {names}')
