"""The public keys that are trusted: files in a folder, and beside them the list of those that are not any more.

Every ``*.pub`` in the folder is trusted for as long as it lies there: while a vendor changes the key, the old and the
new one lie side by side. The file ``revoked`` takes trust away for good, even from a key whose file is put back: one
key a line, its id (16 hex digits; minisign prints it without zeros in front) or the public key itself, and the reason
after a ``#``. An id counts in both orders of its bytes: the comment in a ``*.pub`` that the Python library wrote has
the other one, and who copies it from there must not believe that the key is revoked while it is not.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path

import minisign

from ovca.exceptions import ConfigError

REVOKED = 'revoked'
ID = re.compile(r'[0-9A-Fa-f]{16}')


@dataclass(frozen=True)
class Key:
    """A public key: the name of its file, its id in 16 digits, and what verifies."""

    name: str
    id: str
    public: minisign.PublicKey = field(repr=False)


@dataclass(frozen=True)
class Keys:
    """What a folder says: the keys in it, and the reasons of the revoked ones by key id."""

    folder: Path
    keys: tuple[Key, ...]
    revoked: dict[str, str]

    @property
    def trusted(self) -> tuple[Key, ...]:
        """The keys that count."""
        return tuple(key for key in self.keys if self.why_revoked(key.id) is None)

    def why_revoked(self, id: str) -> str | None:
        """The reason for which the key of this id was revoked; None if it was not."""
        return self.revoked.get(id) or self.revoked.get(other_order(id))


def load(folder: Path) -> Keys:
    """Return the keys of a folder; there may be none.

    :raises ConfigError: the folder or the list of revoked keys cannot be read, or a file is no key. Nothing is passed
        over: a line that is not understood could be the one that matters.
    """
    keys = tuple(_key(path) for path in _files(folder))
    return Keys(folder, keys, _revoked(folder / REVOKED))


def none_here(folder: Path) -> ConfigError:
    """What is wrong with a folder in which no key was found."""
    why = '' if folder.is_dir() else ', as it is not there'
    return ConfigError(
        f"[image] key_folder {folder} holds no public key (*.pub){why}; put the vendor's key there", id='no-keys'
    )


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == '.pub')  # glob() passes over what is closed
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise ConfigError(
            f'the folder of keys {folder} cannot be read: {exc.strerror}; mend it, or name the right one in [image] '
            f'key_folder',
            id='no-keys',
        ) from exc


def _key(path: Path) -> Key:
    try:
        public = minisign.PublicKey.from_file(path)
        return Key(path.name, id_of(public), public)
    except (OSError, ValueError, minisign.ParseError) as exc:
        raise ConfigError(f'{path} is not a minisign public key: {exc}; mend or remove it', id='bad-key') from exc


def _revoked(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f'{path} cannot be read: {exc}; mend it', id='bad-revocation') from exc
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        key, _, reason = (part.strip() for part in line.partition('#'))
        if not key:
            continue
        id = key.upper() if ID.fullmatch(key) else _public_id(key)
        if id is None:
            raise ConfigError(
                f'{path}, line {number}: {key[:60]!r} is neither a key id (16 hex digits; minisign leaves '
                f'out zeros in front) nor a public key; mend it',
                id='bad-revocation',
            )
        found[id] = reason or 'no reason is given'
    return found


def _public_id(text: str) -> str | None:
    try:
        minisign.PublicKey.from_base64(text)
        return _id(base64.b64decode(text))
    except (ValueError, minisign.ParseError, binascii.Error):
        return None


def _id(packed: bytes) -> str:
    """The id in what minisign packs: two letters for the method, then the id, the lowest byte first."""
    return packed[2:10][::-1].hex().upper()


def id_of(public: minisign.PublicKey) -> str:
    """The id of a public key, in 16 digits, as minisign prints it."""
    return _id(base64.b64decode(public.to_base64()))


def other_order(id: str) -> str:
    """The id with its bytes in the other order."""
    return bytes.fromhex(id)[::-1].hex().upper()


def signer(signature: bytes) -> tuple[bytes, str]:
    """Return the two letters of the method and the key id that a signature file claims; nothing of it is proved.

    :raises ValueError: it is no signature file.
    """
    lines = signature.split(b'\n')
    packed = base64.b64decode(lines[1], validate=True) if len(lines) > 1 else b''
    if len(packed) < 10:
        raise ValueError('its second line is too short')
    return packed[:2], _id(packed)
