"""Which images have to stay, and why: an appliance must be able to go on, and to go back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db.engine import Database
from ovca.db.models import UNFINISHED, Image, Node, Request, Update
from ovca.exceptions import Refused
from ovca.remaster.conflicts import began
from ovca.remaster.protocol import State

if TYPE_CHECKING:
    from ovca.image import Store

FAILED = (State.FAILED_DEGRADED, State.FAILED_ROLLED_BACK, State.FAILED_FORWARD)
PAGE = 20
"""Updates that are read at once."""
_IMAGES, _NODES = select(Image.version, Image.digest), select(Node.name, Node.running_version, Node.running_digest)
_UNFINISHED = select(Request).where(Request.state.in_(UNFINISHED))
_NEWEST_FIRST = select(Update).order_by(Update.id.desc()).limit(PAGE)


class ImageKept(Refused):
    """An image that is to be deleted has to stay."""


@dataclass(frozen=True)
class Pins:
    """What an update refers to, by digest."""

    id: int
    state: State
    digest: str
    old_digest: str | None
    began: str = ''
    """Who began it, and when, as half a sentence."""


def keepers(
    images: Mapping[str, str],
    *,
    running: Mapping[str, str | None],
    updates: Sequence[Pins],
    downloads: Collection[str] = (),
    wanted: Collection[str] = (),
) -> dict[str, str]:
    """Return the versions that have to stay, each with the reason and what would make its deletion possible.

    ``images`` are digests by version, ``running`` those by node, ``updates`` all updates with the newest first,
    ``downloads`` the versions that are being fetched, and ``wanted`` those whose installation is asked for.
    """
    kept: dict[str, str] = {}

    def keep(digest: str | None, reason: str) -> None:
        for version, own in images.items():
            if own == digest:
                kept.setdefault(version, reason)

    for digest in {d: None for d in running.values() if d}:
        nodes = sorted(node for node, runs in running.items() if runs == digest)
        many = len(nodes) > 1
        keep(
            digest,
            f'{" and ".join(nodes)} {"run" if many else "runs"} it; update {"them" if many else "it"} to another '
            f'image first',
        )
    last = next((update for update in updates if update.state is not State.ABORTED), None)
    if last is not None and not last.state.ended:
        until = 'wait for the end of the update, or abort it with `ovca update-abort`'
        told = f', which {last.began},' if last.began else ''
        keep(last.digest, f'update {last.id}{told} is open and installs it; {until}')
        keep(last.old_digest, f'update {last.id}{told} is open and may go back to it; {until}')
    elif last is not None and last.state in FAILED:
        until = 'finish that update with `ovca update-retry` first'
        keep(last.digest, f'update {last.id} ended {last.state}, and its repair installs it; {until}')
        keep(last.old_digest, f'update {last.id} ended {last.state}, and its repair may go back to it; {until}')
    elif last is not None:
        keep(last.old_digest, 'it is the one to go back to from what runs now; it may go after the next update')
    for version in downloads:
        if version in images:
            kept.setdefault(version, 'it is being downloaded; wait for the end of that, `ovca update-watch` shows it')
    for version in wanted:
        if version in images:
            kept.setdefault(version, 'its installation is asked for; wait for it, `ovca update-watch` shows it')
    return kept


def surplus(newest_first: Sequence[str], *, keep: int, kept: Collection[str]) -> list[str]:
    """Return the versions that are one too many, the oldest first.

    The newest ``keep`` images stay whatever they are, so what was published last is never taken away before it could
    be installed; of the older ones those stay that :func:`keepers` names.
    """
    return [version for version in reversed(newest_first[keep:]) if version not in kept]


def beyond(session: Session, keep: int) -> list[str]:
    """Return what :func:`surplus` says of the rows as they are."""
    versions = session.scalars(select(Image.version).order_by(Image.published_at.desc(), Image.version))
    return surplus(list(versions), keep=keep, kept=read(session))


def read(session: Session, others: Collection[str] = ()) -> dict[str, str]:
    """Return what :func:`keepers` says of the rows as they are.

    ``others`` are versions that are looked at as well if they have no row: what is known of their digests is what nodes
    and updates of these versions say. A node that does not say which digest it runs is taken at its version.
    """
    asked: dict[str, set[str]] = {}
    for request in session.scalars(_UNFINISHED):
        if request.args.get('version'):
            asked.setdefault(request.kind, set()).add(str(request.args['version']))
    images: dict[str, str] = dict(session.execute(_IMAGES).all())
    nodes = session.execute(_NODES).all()
    updates = list(_until_kept(_newest_first(session)))
    ask = partial(
        keepers,
        running={name: digest or version for name, version, digest in nodes},
        updates=[_pins(update) for update in updates],
        downloads=asked.get('download', set()) | asked.get('update', set()),
        wanted=asked.get('activate', set()),
    )
    kept = ask(images)
    said = [(version, digest) for _, version, digest in nodes]
    for update in updates:
        said += [(update.version, update.digest), (update.old_version, update.old_digest)]
    for version in set(others) - images.keys():
        for digest in (version, *(digest for told, digest in said if told == version and digest)):
            for reason in ask({version: digest}).values():
                kept.setdefault(version, reason)
    return kept


def versions(session: Session) -> tuple[set[str], set[str]]:
    """The versions that have a row, and those that nodes run."""
    running = session.scalars(select(Node.running_version).where(Node.running_version.is_not(None)))
    return set(session.scalars(select(Image.version))), {version for version in running if version}


def unknown(database: Database, store: Store, running: Collection[str] = ()) -> list[str]:
    """Published images on the shared storage that have no row, the oldest first; ``running`` runs as well.

    What is published or deleted meanwhile is none of them.

    :raises StorageFailed: the storage cannot be looked at.
    """
    with database.read() as session:
        known, runs = versions(session)
    found = store.unknown(known, runs | set(running))
    if found:
        with database.read() as session:
            known, _ = versions(session)
    return [version for version in found if version not in known]


def _newest_first(session: Session) -> Iterator[Update]:
    """All updates, read a few at a time: as a rule the first one is enough, and there may be thousands."""
    page = list(session.scalars(_NEWEST_FIRST))
    while page:
        yield from page
        page = list(session.scalars(_NEWEST_FIRST.where(Update.id < page[-1].id)))


def _pins(update: Update) -> Pins:
    told = began(update.created_by, update.created_at)
    return Pins(update.id, State(update.state), update.digest, update.old_digest, told)


def _until_kept(updates: Iterable[Update]) -> Iterable[Update]:
    """The newest updates as far as they count: those before the last that was not aborted are superseded."""
    for update in updates:
        yield update
        if State(update.state) is not State.ABORTED:
            return


def check(session: Session, versions: Sequence[str]) -> None:
    """Let the deletion of these images pass. :raises ImageKept: one of them has to stay."""
    kept = read(session, versions)
    reasons = [f'image {version} stays: {kept[version]}' for version in versions if version in kept]
    if reasons:
        raise ImageKept(f'{"; ".join(reasons)}; nothing was deleted')
