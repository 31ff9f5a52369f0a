"""What can be wrong with an image or its source, in whole sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovca.exceptions import FetchError, ImageError
from ovca.image.names import shown


class BundleError(ImageError):
    """The zip is damaged, hostile, or not a bundle of ovca."""

    id = 'bundle-damaged'

    def __init__(
        self,
        source: str,
        what: str,
        *,
        id: str | None = None,
        advice: str = 'get the bundle again, or ask who made it',
    ) -> None:
        self.source, self.what = source, what
        super().__init__(f'{source}: {shown(what)}; {advice}', id=id)


class SignatureRefused(ImageError):
    """The manifest's signature is missing or not by a trusted key."""

    id = 'wrong-signature'

    def __init__(self, source: str, what: str, *, id: str | None = None) -> None:
        super().__init__(
            f'{source}: {what}; put the right public key into [image] key_folder, or get the right bundle', id=id
        )


class KeyRevoked(ImageError):
    """The signature is by a key that was trusted once, and is not any more."""

    def __init__(self, source: str, key: str, reason: str) -> None:
        super().__init__(
            f'{source}: its signature is by key {key}, which is revoked ({reason}); get a bundle that is signed by '
            f"the vendor's present key"
        )


UNTRUSTED = (SignatureRefused, KeyRevoked)
"""Nobody who is trusted vouches for it."""


class NoSpace(ImageError):
    """The shared storage is too full for this image."""

    def __init__(self, folder: object, needed: int, free: int) -> None:
        super().__init__(
            f'{folder} has {free} bytes free, but {needed} are needed; make space there, or lower [image] space_reserve'
        )


class StorageFailed(ImageError):
    """The shared storage does not take what is written to it, or cannot be looked at."""

    def __init__(self, folder: object, exc: OSError, *, what: str = 'written') -> None:
        super().__init__(f'{folder} cannot be {what}: {exc.strerror or exc}; see to the storage')


class AlreadyPublished(ImageError):
    """An image of this version is there; images are immutable."""

    def __init__(self, version: str) -> None:
        self.version = version
        super().__init__(f'image {version} is published already; install it with `ovca activate {version}`')


class DownloadRunning(ImageError):
    """Another download holds the lock."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        super().__init__(f'another download is running ({owner}); wait for it')


class SourceError(FetchError):
    """The source does not give the file."""

    id = 'source-unreachable'

    def __init__(self, uri: str, what: str, *, id: str | None = None) -> None:
        self.uri = uri
        super().__init__(f'{uri}: {what}', id=id)


class Cancelled(ImageError):
    """The download was told to stop; what was received is kept."""

    id = 'download-stopped'


@contextmanager
def file_errors(output: Path) -> Iterator[None]:
    """Say in a sentence what the file system refuses while ``output`` is made; names of temporary files are not told.

    :raises ImageError: a file cannot be read or written.
    """
    try:
        yield
    except OSError as exc:
        # Who reads or writes an open file is not told its name.
        named = Path(os.fsdecode(exc.filename)) if isinstance(exc.filename, str | bytes) else None
        ours = named is None or any(part.startswith(f'.{output.name}.') for part in named.parts)
        what = f'{output} cannot be made' if ours else f'{named} cannot be used'
        raise ImageError(f'{what}: {exc.strerror or exc}; see to the file', id='bundle-file') from exc
