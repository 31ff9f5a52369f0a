"""The acting master's hands on the images: fetched, deleted, taken up. What was cut off may be begun again."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sqlalchemy import select

from ovca.cluster.lease import Lease
from ovca.daemon.meter import Meter
from ovca.daemon.orders import Orders
from ovca.db import events
from ovca.db.models import Image, Node, Request
from ovca.exceptions import DatabaseError, DatabaseUnavailable, LeaseLost, OvcaError, Refused
from ovca.image import channel, route
from ovca.image.errors import StorageFailed
from ovca.image.fetch import redacted
from ovca.image.route import Terms
from ovca.remaster import channels, conflicts, operations, retention
from ovca.remaster.checks.image import terms

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.image import Manifest, Progress, PublishedImage, Store
    from ovca.image.channel import Offer
    from ovca.image.note import Note

T = TypeVar('T')
LOG = logging.getLogger(__name__)
LETS_GO = 180.0
"""Seconds, at most, until a node that led before has let go of the images. It may have died: then the server of the
shared storage keeps its lock for a while, as NFS does for 90 seconds or until that node is up again."""
LOOK = 0.5
"""Seconds between two looks whether it has."""


def row_of(image: PublishedImage, at: dt.datetime) -> Image:
    """The row by which an image that lies on the shared storage is published."""
    return Image(
        version=image.version,
        digest=image.digest,
        iso=image.iso,
        size=image.size,
        files_digest=image.files_digest,
        manifest=image.manifest,
        signed_by=image.signed_by,
        source=image.source,
        published_at=at,
    )


def note_of(row: Image) -> Note:
    """What lies in the folder of the image that a row publishes."""
    from ovca.image.note import Note, stamp

    return Note(row.version, row.digest, row.source, row.signed_by, stamp(row.published_at))


class Cancelled(LeaseLost):
    """The service lost the lease while it was at work."""

    id = LeaseLost.id


class Images:
    """Fetches and deletes images for requests; ``running`` are version and digest of the software that runs here."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        *,
        epoch: Callable[[], int | None],
        running: tuple[str | None, str | None],
    ) -> None:
        self.conf, self.lease, self.database = conf, lease, lease.database
        self._epoch = epoch
        self.version, self.digest = running

    def download(self, epoch: int, id: int, args: dict[str, Any], *, install: bool = False) -> dict[str, Any]:
        """Publish an image, telling the request ``id`` how far it is; return its version and digest.

        With ``install`` it is refused as soon as its version is known, if no update to it could begin.
        """
        from ovca.image import Store, receive
        from ovca.image.errors import AlreadyPublished
        from ovca.image.errors import Cancelled as Stopped

        orders = Orders(self.database, id, lambda: self._epoch() == epoch)
        orders.heed()
        uri, wanted, way, offer = str(args['uri']), args.get('version'), list[str](), None
        if channel.is_index(uri):
            offer, way = self._offered(epoch, id, uri, wanted, orders)
            if offer is None:
                if install and self._installs(self.version):
                    return {'version': self.version, 'digest': self.digest}
                return {'up_to_date': self.version}
            if install:
                self._installable(offer.version)
            if (known := self._known(offer)) is not None:
                return {**known, 'path': way}
            uri, wanted = offer.uri, None  # the offer says more of the manifest than its version
        store = Store.from_conf(self.conf, owner=f'request {id} on {self.lease.node}')
        self._when_free(epoch, id, 'download', lambda: store.clean(self._to_stay), lambda: self._go_on(orders))
        self._tell_unknown(epoch, id, store)
        meter = Meter()
        seen: list[Manifest] = []

        def accept(manifest: Manifest) -> None:
            seen.append(manifest)
            if offer is not None:
                offer.check(manifest, redacted(uri))
            if install:
                self._installable(manifest.version)
                if self._installs(manifest.version):
                    return  # it may run here already, and the other node is still to get it
            if install or manifest.iso.sha256 != self.digest or store.mgmt(manifest.version).exists():
                self._accept(manifest, downgrade=bool(args.get('allow_downgrade')))  # else it runs here, and is lost

        try:
            published = receive(
                uri,
                store=store,
                conf=self.conf,
                progress=lambda p: self._progress(epoch, id, p, meter),
                cancelled=orders,
                accept=accept,
                commit=lambda image: self._publish(epoch, image, self.lease.node, 'was published'),
                version=wanted,
                limit_rate=args.get('limit_rate'),
                notice=lambda text: self._notice(epoch, id, text),
            )
        except AlreadyPublished as exc:
            return self._same(exc.version, seen[-1].iso.sha256)
        except Stopped:
            self._stop(orders)
        return {'version': published.version, 'digest': published.digest, **({'path': way} if way else {})}

    def _when_free(self, epoch: int, id: int, what: str, work: Callable[[], T], heed: Callable[[], None]) -> T:
        """Do what needs the lock of the images: whoever led before may be about to end what it does with them.

        ``heed`` is called while that is waited for. :raises DownloadRunning: it does not let go.
        """
        from ovca.image.errors import DownloadRunning

        end, told = time.monotonic() + LETS_GO, False
        while True:
            try:
                return work()
            except DownloadRunning as exc:
                if time.monotonic() > end:
                    raise
                if not told:
                    self._notice(epoch, id, f'{what} {id} waits, as the images are still held by {exc.owner}')
                    told = True
            heed()
            time.sleep(LOOK)

    def _go_on(self, orders: Orders) -> None:
        if orders():
            self._stop(orders)

    @staticmethod
    def _stop(orders: Orders) -> NoReturn:
        """End a download. :raises DownloadAborted: an operator wants it. :raises Cancelled: the next master goes on."""
        with contextlib.suppress(DatabaseError):  # who cannot be asked is asked before it goes on
            orders.heed()
        raise Cancelled('this node does not lead any more')

    def _offered(
        self, epoch: int, id: int, uri: str, version: str | None, orders: Orders
    ) -> tuple[Offer | None, list[str]]:
        """The image of a channel to fetch, and the way that it is a step on; the index is remembered."""
        found = channels.read(
            uri,
            self.conf,
            self.database,
            heed=lambda: self._go_on(orders),
            notice=lambda text: self._notice(epoch, id, text),
        )
        with self.lease.fenced(epoch) as session:
            channels.remember(session, uri, found.serial)
        return channels.choose(found, self.version, version)

    def _known(self, offer: Offer) -> dict[str, Any] | None:
        """The image that is offered, if it is here already, and its folder is as well."""
        from ovca.image import Store

        with self.database.read() as session:
            row = session.get(Image, offer.version)
        here = row is not None and Store.from_conf(self.conf).mgmt(offer.version).exists()
        return self._same(offer.version, offer.iso_sha256) if here else None

    def heed(self, id: int) -> None:
        """Go on with a request if nobody has aborted it. :raises DownloadAborted: somebody has."""
        Orders(self.database, id, lambda: True).heed()

    def _versions(self) -> list[str]:
        with self.database.read() as session:
            return list(session.scalars(select(Image.version)))

    def _to_stay(self) -> dict[str, Note | None]:
        """The versions whose folders stay: with the note that it has, if there is a row; what runs stays without."""
        with self.database.read() as session:
            _, running = retention.versions(session)
            rows = {row.version: note_of(row) for row in session.scalars(select(Image))}
        return {**dict.fromkeys(running | self._own), **rows}

    @property
    def _own(self) -> set[str]:
        """The version that runs here: also while no row says so."""
        return {self.version} if self.version else set()

    def _tell_unknown(self, epoch: int, id: int, store: Store) -> None:
        """Say which published images the database does not know: it may be the wrong one, or an older one."""
        from ovca.image import note

        if unknown := retention.unknown(self.database, store, self._own):
            self._notice(epoch, id, '; '.join(note.unknown(unknown)))

    def _same(self, version: str, digest: str) -> dict[str, Any]:
        """The image that is here already, if it is the one that was asked for: then there is nothing to download."""
        with self.database.read() as session:
            row = session.get(Image, version)
        if row is None:
            raise Refused(
                f'image {version} lies on {self.conf.image.shared_storage} already, and the database does not know it; '
                f'`ovca image-adopt {version}` takes it up, or `ovca image-delete {version}` removes it, and then it '
                f'can be downloaded',
                id='image-unknown',
            )
        if row.digest != digest:
            raise Refused(
                f'another image with version {version} is here already, and images never change; '
                f'see `ovca image-show {version}`, and ask who made the bundle',
                id='version-taken',
            )
        return {'version': row.version, 'digest': row.digest}

    def _installable(self, version: str) -> None:
        with self.database.read() as session:
            operations.installable(session, version)

    def _installs(self, version: str | None) -> bool:
        """Whether an update to this version is open."""
        with self.database.read() as session:
            opened = conflicts.opened(session)
        return opened is not None and opened.version == version

    def _accept(self, manifest: Manifest, *, downgrade: bool) -> None:
        with self.database.read() as session:
            present = terms(session, self.digest)
        problem = route.problem(Terms.of(manifest.as_dict()), self.version, present=present, downgrade=downgrade)
        if problem:
            raise Refused(f'{problem[0]}; {problem[1]}', id='version-path')

    def _publish(self, epoch: int, image: PublishedImage, actor: str, how: str) -> None:
        with self.lease.fenced(epoch) as session:
            row = session.get(Image, image.version)
            if row is not None and (row.digest, row.files_digest) != (image.digest, image.files_digest):
                raise Refused(
                    f'another image with version {image.version} is known already, although its folder was gone; see '
                    f'`ovca image-show {image.version}`, and ask who made the bundle',
                    id='version-taken',
                )
            if row is None:
                session.add(row_of(image, self.database.now(session)))
            else:
                how = 'was fetched again, as its folder was gone'
            events.append(
                session,
                kind='image',
                detail=f'image {image.version} {how}',
                actor=actor,
                epoch=epoch,
            )

    def adopt(self, epoch: int, id: int, args: dict[str, Any], who: str) -> dict[str, Any]:
        """Take up an image that lies on the shared storage without a row; it is read first, all of it.

        :raises UsageError: it does not lie there. :raises ImageError: it is not whole, or nobody who is trusted vouches
            for it. :raises Refused: it may not be installed over what runs.
        """
        work = partial(self._adopt, epoch, id, str(args['version']), who, downgrade=bool(args.get('allow_downgrade')))
        return self._when_free(epoch, id, 'adoption', work, lambda: self._leads(epoch))

    def _adopt(self, epoch: int, id: int, version: str, who: str, *, downgrade: bool) -> dict[str, Any]:
        from ovca.image import Progress, Store, adoption, note

        store, meter = Store.from_conf(self.conf, owner=f'request {id} on {self.lease.node}'), Meter()
        with store.lock():
            with self.database.read() as session:
                row = session.get(Image, version)
            if row is not None:
                store.make_up([note_of(row)])
                return {'version': version, 'digest': row.digest, 'known': True}
            image = adoption.read_again(
                store,
                version,
                self.conf,
                accept=lambda manifest: self._fits(manifest, downgrade=downgrade),
                told=lambda done, total: self._progress(epoch, id, Progress('verify', done, total, version), meter),
            )
            self._leads(epoch)
            self._publish(epoch, image, who, f'was taken up from {store.mgmt(version)}')
            with self.database.read() as session:
                row = session.get_one(Image, version)
            note.write(store.mgmt(version), note_of(row))
        return {'version': version, 'digest': image.digest, 'known': False}

    def _fits(self, manifest: Manifest, *, downgrade: bool) -> None:
        """Let an image pass that a node runs, or that could be downloaded. :raises Refused: it is another one."""
        version, digest = manifest.version, manifest.iso.sha256
        with self.database.read() as session:
            found = session.execute(select(Node.running_version, Node.running_digest)).all()
        running = {(self.version, self.digest), *((each.running_version, each.running_digest) for each in found)}
        if digest in {runs for _, runs in running}:
            return
        if version in {runs for runs, known in running if known}:
            raise Refused(
                f'the image in {self.conf.image.shared_storage} is not the {version} that runs, although it has that '
                f'version; look at the storage, and ask who made it',
                id='version-taken',
            )
        self._accept(manifest, downgrade=downgrade)

    def delete(self, epoch: int, id: int, versions: list[str], who: str) -> dict[str, Any]:
        """Delete the rows, then the folders; begun again after a crash it deletes what is left."""
        work = partial(self._delete, epoch, versions, who)
        return self._when_free(epoch, id, 'deletion', work, lambda: self._leads(epoch))

    def _delete(self, epoch: int, versions: list[str], who: str) -> dict[str, Any]:
        from ovca.image import Store

        store = Store.from_conf(self.conf, owner=f'a deletion on {self.lease.node}')
        with store.lock():
            freed = sum(size for version in versions for size in store.folders(version).values())
            with self.database.read() as session:
                retention.check(session, versions)  # before anything goes
            self._drop_second_names(store)
            self._leads(epoch)
            unknown = set(store.forget(versions))
            with self.lease.fenced(epoch) as session:
                retention.check(session, versions)
                for row in session.scalars(select(Image).where(Image.version.in_(versions))):
                    session.delete(row)
                    unknown.discard(row.version)
                    events.append(
                        session, kind='image', detail=f'image {row.version} was deleted', actor=who, epoch=epoch
                    )
                for version in sorted(unknown):
                    detail = f'image {version}, which the database did not know, was deleted'
                    events.append(session, kind='image', detail=detail, actor=who, epoch=epoch)
            self._remove(store, epoch, versions)
        return {'versions': versions, 'bytes': freed}

    def retain(self, epoch: int) -> list[str]:
        """Delete the oldest images beyond ``[image] keep`` that nothing holds; return their versions."""
        from ovca.image import Store

        keep = self.conf.image.keep
        with self.database.read() as session:
            if not retention.beyond(session, keep):
                return []
        store = Store.from_conf(self.conf, owner=f'the retention on {self.lease.node}')
        with store.lock():
            self._drop_second_names(store)
            with self.database.read() as session:
                surplus = retention.beyond(session, keep)
            self._leads(epoch)
            store.forget(surplus)
            with self.lease.fenced(epoch) as session:
                # Judged anew, in the transaction that deletes.
                versions = [version for version in retention.beyond(session, keep) if version in surplus]
                for version in versions:
                    session.delete(session.get_one(Image, version))
                    events.append(
                        session,
                        kind='image',
                        detail=f'image {version} was deleted: it is older than the {keep} that [image] keep says',
                        actor=self.lease.node,
                        epoch=epoch,
                    )
            self._remove(store, epoch, versions)
        return versions

    def _drop_second_names(self, store: Store) -> None:
        """Leave published ISOs only the name that goes with their folders, while there are rows that tell whose it is.

        Who dies behind the rows leaves folders, whose room the next cleaning gives back.
        """
        try:
            store.drop_second_names(self._versions())
        except OSError as exc:
            raise StorageFailed(store.root, exc) from exc

    def _remove(self, store: Store, epoch: int, versions: list[str]) -> None:
        for version in versions:
            self._leads(epoch)  # else the next master may have published it anew
            try:
                store.remove(version)
            except OSError as exc:
                raise StorageFailed(store.root, exc) from exc

    def _leads(self, epoch: int) -> None:
        if self._epoch() != epoch:
            raise Cancelled('this node does not lead any more')

    def _notice(self, epoch: int, id: int, text: str) -> None:
        """Tell it in the log, the journal, and to whoever waits for the request, until it goes on."""
        LOG.warning('%s', text)
        try:
            with self.lease.fenced(epoch) as session:
                events.append(session, kind='image', detail=text, actor=self.lease.node, epoch=epoch)
                row = session.get_one(Request, id)
                row.progress = {**(row.progress or {}), 'notice': text}
        except OvcaError as exc:  # the download itself will find out
            LOG.warning('this is not in the journal: %s', exc)

    def _progress(self, epoch: int, id: int, progress: Progress, meter: Meter) -> None:
        self._leads(epoch)
        speed, left = meter.read(progress.stage, progress.done, progress.total)
        # It goes on without a database; should that be away for longer, this node leads no more.
        with contextlib.suppress(DatabaseUnavailable), self.lease.fenced(epoch) as session:
            session.get_one(Request, id).progress = {
                'stage': progress.stage,
                'done': progress.done,
                'total': progress.total,
                'text': progress.text,
                'bytes_per_second': speed,
                'seconds_left': left,
            }
