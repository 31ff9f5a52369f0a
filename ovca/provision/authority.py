"""What the boot service asks before it lets anything be wiped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Order:
    """An armed install, as the boot script carries it."""

    node: str
    update: int
    attempt: int
    version: str
    digest: str
    boot_token: str = field(repr=False)
    boot_url: str
    tls_url: str
    tls_fingerprint: str
    """SHA-256 of the boot service's certificate: the installer talks to no other."""
    iso: str
    """The ISO's path below the shared storage."""
    shared_storage: str
    root: str


@dataclass(frozen=True)
class GrantAsk:
    """An installer's question, at the moment of wiping."""

    boot_token: str = field(repr=False)
    node: str
    update: int
    attempt: int
    digest: str
    nonce: str = field(repr=False)
    boot_id: str
    address: str = ''
    """From where it came; empty, if nobody knows."""


@dataclass(frozen=True)
class SiteFolder:
    """A folder above a site file that protects it, or belongs to somebody."""

    path: str
    mode: int
    owner: str = ''
    group: str = ''


@dataclass(frozen=True)
class SiteFile:
    """One file of the site's own, to be put back after a wipe."""

    path: str
    mode: int
    content: bytes = field(repr=False)
    item: str = 'files'
    """The site item that it belongs to."""
    owner: str = ''
    """User and group by name, or by number where they have none; empty: whoever writes it."""
    group: str = ''
    folders: tuple[SiteFolder, ...] = ()
    """The folders above it, the outermost first, that are not root's with mode 0755; made so where they are missing."""


def encode_file(file: SiteFile) -> dict[str, Any]:
    """The file as JSON."""
    return {
        'path': file.path,
        'mode': file.mode,
        'base64': base64.b64encode(file.content).decode(),
        'item': file.item,
        'owner': file.owner,
        'group': file.group,
        'folders': [asdict(folder) for folder in file.folders],
    }


def decode_file(data: Mapping[str, Any]) -> SiteFile:
    """The file from JSON; software before site items wrote path, mode and content only.

    :raises ValueError, KeyError, TypeError: it is none.
    """
    return SiteFile(
        str(data['path']),
        int(data['mode']),
        base64.b64decode(data['base64'], validate=True),
        str(data.get('item', 'files')),
        str(data.get('owner', '')),
        str(data.get('group', '')),
        tuple(
            SiteFolder(str(each['path']), int(each['mode']), str(each['owner']), str(each['group']))
            for each in data.get('folders', ())
        ),
    )


@dataclass(frozen=True)
class SiteBundle:
    """A node's site settings, as its installer gets them."""

    files: tuple[SiteFile, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The items and what is lost in the wipe, for the report; and what no file holds."""


@dataclass(frozen=True)
class Granted:
    """The right to wipe: the token that will prove the install, and what to put back."""

    evidence_token: str = field(repr=False)
    site: SiteBundle


class Authority(Protocol):
    """Who may be wiped. All but :meth:`boot` raise :exc:`~ovca.exceptions.GrantRefused`."""

    def boot(self, mac: str, address: str = '') -> Order | None:
        """Return the order for a machine that asks from this address, with a fresh boot token.

        None, and any error, means: boot from the local disk.
        """

    def consume(self, ask: GrantAsk) -> Granted:
        """Give the right to wipe, once; the same nonce may ask again."""

    def progress(self, node: str, update: int, attempt: int, nonce: str, percent: float, text: str) -> None:
        """Note how far an install is."""

    def written(self, node: str, update: int, attempt: int, nonce: str) -> None:
        """Note that an install is complete."""

    def failed(self, node: str, update: int, attempt: int, nonce: str, text: str) -> None:
        """Note that an install failed."""
