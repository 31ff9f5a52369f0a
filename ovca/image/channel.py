"""A channel: a vendor's signed index of the images that there are.

The index is a JSON document, with its signature in a file beside it (``<uri>.minisig``). A URI whose path ends in
``.json`` names an index, any other one a bundle. What an index says counts only if

* a trusted key signed it, for its serial number (the trusted comment names it),
* it has not expired: so nobody can hide new images for ever by handing out an old index, and
* its serial number is not lower than one that was seen before: so nobody can go back to an index of last week.

The bundle that it names has to have the version and the ISO that it says, and is judged by its own signature as well.
"""

from __future__ import annotations

import datetime as dt
import posixpath
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ovca.exceptions import ImageError
from ovca.image import signature
from ovca.image.errors import SignatureRefused, StorageFailed
from ovca.image.fetch import fetcher, redacted
from ovca.image.manifest import SHA256, Manifest
from ovca.image.route import Terms
from ovca.image.strictjson import UNREADABLE, harmless, loads, number, reason, typed
from ovca.image.version import ImageVersion

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.image.fetch.base import Fetcher

FORMAT = 1
LIMIT = 4 * 1024 * 1024
"""Bytes of an index."""
MOST = 10_000
"""Images in it."""
LOCAL = ('', 'file')
"""The schemes of what lies on this node."""


class ChannelError(ImageError):
    """The index of a channel is damaged, stale, or not what it should be."""

    id = 'channel-damaged'

    def __init__(self, source: str, what: str, *, id: str | None = None) -> None:
        super().__init__(f'{source}: {what}', id=id)


@dataclass(frozen=True)
class Offer:
    """An image that a channel has."""

    version: str
    uri: str = field(repr=False)
    """Absolute. It may hold a password, if that of the index does."""
    size: int
    """Bytes of the bundle."""
    iso_sha256: str
    terms: Terms
    released_at: dt.datetime | None = None
    notes: str = ''
    critical: bool = False

    def check(self, manifest: Manifest, source: str) -> None:
        """Let the manifest of a bundle pass. :raises ChannelError: it is another image than the one offered."""
        if (manifest.version, manifest.iso.sha256) != (self.version, self.iso_sha256):
            raise ChannelError(
                source,
                f'the channel offers version {self.version} with the ISO {self.iso_sha256[:12]}, but the bundle holds '
                f'version {manifest.version} with the ISO {manifest.iso.sha256[:12]}; tell the vendor',
                id='channel-differs',
            )


@dataclass(frozen=True)
class Channel:
    """An index that was proved."""

    source: str
    """Its URI without secrets."""
    serial: int
    expires_at: dt.datetime
    offers: tuple[Offer, ...]
    signed_by: str

    def offer(self, version: str) -> Offer | None:
        """The image of this version, if the channel has it."""
        return next((offer for offer in self.offers if offer.version == version), None)


def is_index(uri: str) -> bool:
    """Whether a URI names an index, and not a bundle."""
    return urlsplit(uri).path.lower().endswith('.json')


def comment(serial: int) -> str:
    """The trusted comment of an index: it binds the signature to this serial number, and to nothing but a channel."""
    return f'ovca channel serial:{serial}'


def read(
    uri: str,
    conf: cfg.ConfigOpts,
    *,
    seen: int | None,
    now: dt.datetime,
    heed: Callable[[], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Channel:
    """Fetch and prove an index; ``seen`` is the highest serial number that this appliance has met there.

    ``heed`` is called now and then; what it raises ends it. ``notice`` is told, from another thread, what the operator
    should know of the source.

    :raises FetchError: it cannot be read. :raises SignatureRefused: it is not signed by a trusted key.
    :raises ChannelError: it has expired, is older than one seen before, or damaged.
    """
    shown = redacted(uri)
    parts = urlsplit(uri)
    files = ((uri, LIMIT), (urlunsplit(parts._replace(path=f'{parts.path}.minisig')), signature.LIMIT))
    for attempt in (1, 2):
        data, signed = (_get(fetcher(each, conf), most, heed, notice) for each, most in files)
        try:
            proved = signature.verify(data, signed, Path(conf.image.key_folder), source=shown)
            break
        except SignatureRefused:
            if attempt == 2:  # else it may have been published anew between the two
                raise
    channel = parse(data, uri, signed_by=proved.key)
    if proved.comment != comment(channel.serial):
        raise SignatureRefused(shown, 'its signature was made for another serial number, or for something else')
    if now >= channel.expires_at:
        raise ChannelError(
            shown,
            f'it has expired at {channel.expires_at:%Y-%m-%dT%H:%M:%SZ}; look at the clock of this node, else ask the '
            f'vendor for a new one',
            id='channel-expired',
        )
    if seen is not None and channel.serial < seen:
        raise ChannelError(
            shown,
            f'it has the serial number {channel.serial}, but {seen} was seen before; somebody hands out an old index, '
            f'ask the vendor',
            id='channel-old',
        )
    return channel


def parse(data: bytes, uri: str, *, signed_by: str) -> Channel:
    """Return what an index says. :raises ChannelError: it is none, or holds what it must not."""
    source = redacted(uri)
    try:
        raw = loads(data)
        if raw['format'] != FORMAT or type(raw['format']) is not int:
            raise ChannelError(
                source,
                f'the index has format {repr(raw["format"])[:40]}, this ovca reads {FORMAT}; update by a bundle first',
                id='channel-too-new',
            )
        harmless(raw)
        rows, serial = typed(raw, 'images', list), number(raw, 'serial')
        if len(rows) > MOST:
            raise ValueError(f'it has more than {MOST} images')
        if not serial:
            raise ValueError('its serial number is 0')
        offers = tuple(_offer(row, uri) for row in rows)
        if len({ImageVersion(offer.version) for offer in offers}) != len(offers):
            raise ValueError('it has a version twice')
        return Channel(source, serial, _time(typed(raw, 'expires_at', str)), offers, signed_by)
    except ChannelError:
        raise
    except (*UNREADABLE, ImageError) as exc:
        raise ChannelError(source, f'the index cannot be read: {reason(exc)}; ask the vendor') from exc


def _offer(row: Any, uri: str) -> Offer:
    if type(row) is not dict:
        raise TypeError('an image is no object')
    terms = Terms(
        str(ImageVersion(typed(row, 'version', str))),
        _version(typed(row, 'update_from', str, None)),
        tuple(str(ImageVersion(_text(stone))) for stone in typed(row, 'stepping_stones', list, [])),
    )
    size, digest, critical = number(row, 'size'), typed(row, 'iso_sha256', str), row.get('critical', False)
    if not size or not SHA256.fullmatch(digest) or type(critical) is not bool:
        raise ValueError(f'image {terms.version} has a wrong size, digest or mark')
    released = typed(row, 'released_at', str, None)
    return Offer(
        version=terms.version,
        uri=resolved(uri, typed(row, 'uri', str)),
        size=size,
        iso_sha256=digest,
        terms=terms,
        released_at=None if released is None else _time(released),
        notes=typed(row, 'notes', str, ''),
        critical=critical,
    )


def _version(text: str | None) -> str | None:
    return None if text is None else str(ImageVersion(text))


def resolved(index: str, uri: str) -> str:
    """Return the URI of a bundle as the index means it: relative to its own.

    :raises ValueError: it is empty, or an index from elsewhere names a file of this node.
    """
    if not uri or not uri.isprintable():
        raise ValueError('an image has no URI')
    base, own = urlsplit(index), urlsplit(uri)
    if own.scheme.lower() in LOCAL[1:] and base.scheme.lower() not in LOCAL:
        raise ValueError('it names a file of this node')
    if own.scheme:
        return uri
    if own.netloc or not own.path:
        raise ValueError(f'{uri[:100]!r} is no path')
    if not base.scheme:
        return posixpath.join(posixpath.dirname(index), unquote(uri))
    # Not urljoin(): for the schemes of plugins it would give back the path alone.
    whole = posixpath.join(posixpath.dirname(base.path) or '/', own.path)
    return urlunsplit(base._replace(path=whole, query=own.query, fragment=''))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f'{value!r} is no text')
    return value


def _time(value: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(f'the time {value} has no zone')
    return found.astimezone(dt.UTC)


def _get(source: Fetcher, limit: int, heed: Callable[[], None] | None, notice: Callable[[str], None] | None) -> bytes:
    source.notice = notice or source.notice
    data = bytearray()

    def receive(part: Path, stopped: Callable[[], bool]) -> None:
        for piece in source.stream(part, stopped):
            data.extend(piece)
            if len(data) > limit:
                raise ChannelError(source.shown, f'it has more than {limit} bytes; ask the vendor')

    try:
        with tempfile.TemporaryDirectory(prefix='ovca-channel-', ignore_cleanup_errors=True) as folder:
            if heed is None:
                receive(Path(folder, 'part'), lambda: False)
            else:
                from ovca.image.flow import read_beside

                read_beside(source, partial(receive, Path(folder, 'part')), heed)
    except OSError as exc:
        raise StorageFailed(exc.filename or tempfile.gettempdir(), exc) from exc
    return bytes(data)
