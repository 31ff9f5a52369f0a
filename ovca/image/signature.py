"""Signatures by minisign (Ed25519, prehashed): https://jedisct1.github.io/minisign/"""

from __future__ import annotations

from pathlib import Path

import minisign

from ovca.exceptions import ConfigError
from ovca.image.errors import SignatureRefused


def comment(version: str, digest: str) -> str:
    """The trusted comment: it binds a signature to one version and one ISO."""
    return f'ovca version:{version} iso:{digest}'


def check(manifest: bytes, signature: bytes, keys: Path, *, version: str, digest: str, source: str) -> str:
    """Return the name of the key in the folder ``keys`` that signed the manifest.

    :raises SignatureRefused: none did, or the signature is bound to another image.
    :raises ConfigError: the folder holds no usable key.
    """
    known = load_keys(keys)
    try:
        parsed = minisign.Signature.from_bytes(signature)
    except (minisign.ParseError, ValueError) as exc:
        raise SignatureRefused(source, f'its signature cannot be read: {exc}') from exc
    for name, key in known.items():
        try:
            key.verify(manifest, parsed)
        except minisign.VerifyError:
            continue
        if parsed.trusted_comment != comment(version, digest):
            raise SignatureRefused(source, 'its signature was made for another version or ISO')
        return name
    raise SignatureRefused(source, f'its signature is by none of the keys {", ".join(sorted(known))}')


def load_keys(folder: Path) -> dict[str, minisign.PublicKey]:
    """Return the public keys of a folder by file name. :raises ConfigError: there is none."""
    keys = {}
    for path in sorted(folder.glob('*.pub')):
        try:
            keys[path.name] = minisign.PublicKey.from_file(path)
        except (OSError, ValueError, minisign.ParseError) as exc:
            raise ConfigError(f'{path} is not a minisign public key: {exc}; mend or remove it', id='bad-key') from exc
    if not keys:
        raise ConfigError(
            f"[image] key_folder {folder} holds no public key (*.pub); put the vendor's key there", id='no-keys'
        )
    return keys
