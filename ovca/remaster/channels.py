"""The channel as this appliance sees it: which index it has met before, what is offered, and what comes next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from ovca.db.engine import now as database_now
from ovca.db.models import Channel as Row
from ovca.exceptions import Refused
from ovca.image import channel, route
from ovca.image.channel import Channel, Offer
from ovca.image.fetch import redacted
from ovca.image.version import ImageVersion

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.db.engine import Database


@dataclass(frozen=True)
class OfferView:
    """An image of the channel, as an operator sees it."""

    version: str
    state: str
    """``running``, ``here`` (published), ``older``, ``offered``, or ``unreachable`` from what runs."""
    path: tuple[str, ...]
    """The versions to install one after the other, from what runs to this one."""
    size: int
    released_at: dt.datetime | None
    critical: bool
    iso_sha256: str
    update_from: str | None
    stepping_stones: tuple[str, ...]
    notes: str
    remark: str | None
    """Why it cannot be reached."""


def read(
    uri: str,
    conf: cfg.ConfigOpts,
    database: Database,
    *,
    heed: Callable[[], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Channel:
    """Fetch and prove the index, which must not be older than one that was seen before.

    For ``heed`` and ``notice`` see :func:`ovca.image.channel.read`.

    :raises FetchError: it cannot be read. :raises ImageError: it does not count.
    """
    with database.read() as session:
        seen, now = seen_serial(session, uri), database_now(session)
    return channel.read(uri, conf, seen=seen, now=now, heed=heed, notice=notice)


def seen_serial(session: Session, uri: str) -> int | None:
    """The highest serial number that was seen of a channel."""
    if not _known(session):
        return None
    row = session.get(Row, redacted(uri))
    return row.serial if row is not None else None


def remember(session: Session, uri: str, serial: int) -> None:
    """Note a serial number; a lower one changes nothing."""
    if not _known(session):
        return
    name, now = redacted(uri), database_now(session)
    row = session.get(Row, name, with_for_update=True)
    if row is None:
        session.add(Row(uri=name, serial=serial, seen_at=now))
    elif row.serial < serial:
        row.serial, row.seen_at = serial, now


def _known(session: Session) -> bool:
    """Whether the table is there: new software works on the schema of the old, until an update is done."""
    return inspect(session.connection()).has_table(Row.__tablename__)


def path(found: Channel, running: str | None) -> list[str]:
    """Return the versions to install one after the other, to the newest one; empty when the newest one runs.

    :raises Refused: there is something newer, but no way to it.
    """
    if running is None:
        raise Refused(
            f'{found.source}: it is not known what runs here, so nothing can be chosen; name the version with '
            f'--image-version',
            id='no-path',
        )
    terms = [offer.terms for offer in found.offers]
    way = route.path(running, terms)
    if not way and any(ImageVersion(running) < ImageVersion(each.version) for each in terms):
        raise Refused(
            f'{found.source}: {route.explain(running, terms)}; ask the vendor for the version between', id='no-path'
        )
    return way


def choose(found: Channel, running: str | None, version: str | None) -> tuple[Offer | None, list[str]]:
    """Return the image to fetch, and the way that it is a step on; no image when the newest one runs already.

    A ``version`` that was named is taken as it is; whether it may be installed is judged with its manifest.

    :raises Refused: there is no such image, or no way to a newer one.
    """
    if version is not None:
        offer = found.offer(version)
        if offer is None:
            known = ', '.join(each.version for each in found.offers) or 'none'
            raise Refused(f'{found.source}: it has no version {version}; it has {known}', id='not-offered')
        return offer, [version]
    way = path(found, running)
    return (found.offer(way[0]), way) if way else (None, [])


def views(found: Channel, running: str | None, here: Collection[str]) -> list[OfferView]:
    """Return all images of the channel, the newest first; ``here`` are the versions that are published."""
    terms = [offer.terms for offer in found.offers]
    newest_first = sorted(found.offers, key=lambda offer: ImageVersion(offer.version), reverse=True)
    return [_view(offer, terms, running, offer.version in here) for offer in newest_first]


def _view(offer: Offer, terms: list[route.Terms], running: str | None, here: bool) -> OfferView:
    way = route.path(running, terms, offer.version) if running is not None else []
    remark = None
    if running is not None and ImageVersion(offer.version) == ImageVersion(running):
        state = 'running'
    elif running is not None and ImageVersion(offer.version) < ImageVersion(running):
        state = 'older'
    elif way:
        state = 'offered'
    else:
        state = 'unreachable'
        problem = route.problem(offer.terms, running)
        remark = problem[0] if problem else 'it is not known what runs here'
    return OfferView(
        version=offer.version,
        state='here' if here and state not in ('running', 'unreachable') else state,
        path=tuple(way),
        size=offer.size,
        released_at=offer.released_at,
        critical=offer.critical,
        iso_sha256=offer.iso_sha256,
        update_from=offer.terms.update_from,
        stepping_stones=offer.terms.stepping_stones,
        notes=offer.notes,
        remark=remark,
    )
