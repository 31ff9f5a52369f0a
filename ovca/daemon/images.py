"""The acting master's hands on the images: downloads and deletions. What was cut off may be begun again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ovca.cluster.lease import Lease
from ovca.db import events
from ovca.db.models import Image, Request
from ovca.exceptions import LeaseLost, Refused
from ovca.image import route
from ovca.image.route import Terms
from ovca.remaster import checks, retention

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.image import Manifest, Progress, PublishedImage


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

    def download(self, epoch: int, id: int, args: dict[str, Any]) -> dict[str, Any]:
        """Publish an image, telling the request ``id`` how far it is; return its version and digest."""
        from ovca.image import Store, receive
        from ovca.image.errors import AlreadyPublished

        store = Store.from_conf(self.conf)
        store.clean(self._versions)
        seen: list[Manifest] = []

        def accept(manifest: Manifest) -> None:
            seen.append(manifest)
            self._accept(manifest, downgrade=bool(args.get('allow_downgrade')))

        try:
            published = receive(
                args['uri'],
                store=store,
                conf=self.conf,
                progress=lambda p: self._progress(epoch, id, p),
                cancelled=lambda: self._epoch() != epoch,
                accept=accept,
                commit=lambda image: self._publish(epoch, image),
                version=args.get('version'),
            )
        except AlreadyPublished as exc:
            return self._same(exc.version, seen[-1].iso.sha256)
        return {'version': published.version, 'digest': published.digest}

    def _versions(self) -> list[str]:
        with self.database.read() as session:
            return list(session.scalars(select(Image.version)))

    def _same(self, version: str, digest: str) -> dict[str, Any]:
        """The image that is here already, if it is the one that was asked for: then there is nothing to download."""
        with self.database.read() as session:
            row = session.get(Image, version)
        if row is None or row.digest != digest:
            raise Refused(
                f'another image with version {version} is here already, and images never change; '
                f'see `ovca image-show {version}`, and ask who made the bundle',
                id='version-taken',
            )
        return {'version': row.version, 'digest': row.digest}

    def _accept(self, manifest: Manifest, *, downgrade: bool) -> None:
        with self.database.read() as session:
            present = checks.terms(session, self.digest)
        problem = route.problem(Terms.of(manifest.as_dict()), self.version, present=present, downgrade=downgrade)
        if problem:
            raise Refused(f'{problem[0]}; {problem[1]}', id='version-path')

    def _publish(self, epoch: int, image: PublishedImage) -> None:
        with self.lease.fenced(epoch) as session:
            if session.get(Image, image.version) is not None:
                raise Refused(
                    f'image {image.version} was published meanwhile; see `ovca image-list`', id='version-taken'
                )
            now = self.database.now(session)
            session.add(
                Image(
                    version=image.version,
                    digest=image.digest,
                    iso=image.iso,
                    size=image.size,
                    files_digest=image.files_digest,
                    manifest=image.manifest,
                    signed_by=image.signed_by,
                    source=image.source,
                    published_at=now,
                )
            )
            events.append(
                session,
                kind='image',
                detail=f'image {image.version} was published',
                actor=self.lease.node,
                epoch=epoch,
            )

    def delete(self, epoch: int, versions: list[str], who: str) -> dict[str, Any]:
        """Delete the rows, then the folders; begun again after a crash it deletes what is left."""
        from ovca.image import Store
        from ovca.image.errors import StorageFailed

        store = Store.from_conf(self.conf)
        with store.lock():
            freed = sum(size for version in versions for size in store.folders(version).values())
            with self.lease.fenced(epoch) as session:
                retention.check(session, versions)
                for row in session.scalars(select(Image).where(Image.version.in_(versions))):
                    session.delete(row)
                    events.append(
                        session, kind='image', detail=f'image {row.version} was deleted', actor=who, epoch=epoch
                    )
            for version in versions:
                if self._epoch() != epoch:  # the next master may have published it anew
                    raise Cancelled('this node does not lead any more')
                try:
                    store.remove(version)
                except OSError as exc:
                    raise StorageFailed(store.root, exc) from exc
        return {'versions': versions, 'bytes': freed}

    def _progress(self, epoch: int, id: int, progress: Progress) -> None:
        if self._epoch() != epoch:
            raise Cancelled('this node does not lead any more')
        with self.lease.fenced(epoch) as session:
            session.get_one(Request, id).progress = {
                'stage': progress.stage,
                'done': progress.done,
                'total': progress.total,
                'text': progress.text,
            }
