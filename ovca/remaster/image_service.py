"""What the commands delegate to, about images: what is here, what may go, what lies there unknown, and downloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from ovca.conf import secrets
from ovca.db.models import Image, Node
from ovca.exceptions import UsageError
from ovca.remaster import downloads, reading, retention
from ovca.remaster.asking import Asking
from ovca.remaster.views import DownloadView, ImageView

if TYPE_CHECKING:
    from ovca.image.verification import Findings
    from ovca.remaster.channels import OfferView


class ImageService(Asking):
    """The images of the appliance, for :class:`~ovca.remaster.service.Service`."""

    def images(self) -> list[ImageView]:
        """All published images, the newest first."""
        with self.database.read() as session:
            return reading.images(session)

    def image(self, version: str) -> ImageView:
        """One image. :raises UsageError: it is not published."""
        found = self.images()
        for image in found:
            if image.version == version:
                return image
        known = ', '.join(i.version for i in found) or 'none'
        told = 'is not here; fetch it with `ovca download`'
        if self._lies_there(version):
            told = (
                f'lies on the shared storage, and the database does not know it; `ovca image-adopt {version}` takes it '
                f'up'
            )
        raise UsageError(f'image {version!r} {told}. Published are: {known}', id='no-image')

    def _lies_there(self, version: str) -> bool:
        """Whether the shared storage has a folder for a version."""
        from ovca.image import Store
        from ovca.image.version import is_version

        return is_version(version) and Store.from_conf(self.conf).mgmt(version).is_dir()

    def examine(self, version: str, told: Callable[[int, int], None] | None = None) -> Findings:
        """Read all of an image again; ``told`` gets the bytes that were read, and all of them.

        :raises UsageError: it is not published. :raises ImageError: its manifest or list cannot be read.
        """
        from ovca.image import Store, examine

        image, store = self.image(version), Store.from_conf(self.conf)
        return examine(store, image.version, digest=image.digest, files_digest=image.files_digest, told=told)

    def removable(self, versions: Sequence[str]) -> dict[Path, int]:
        """The folders that go when these images are deleted, and the bytes in each of them.

        One that lies on the shared storage may be deleted although it is not published.

        :raises UsageError: one is not here. :raises ImageKept: one has to stay.
        """
        from ovca.image import Store

        store = Store.from_conf(self.conf)
        for version in versions:
            if not self._lies_there(version):
                self.image(version)
        with self.database.read() as session:
            retention.check(session, versions)
        return {folder: size for version in versions for folder, size in store.folders(version).items()}

    def adoptable(self, versions: Sequence[str]) -> dict[str, bool]:
        """Whether each of these images is to be taken up, in this order; those that are published are not.

        What runs comes first: it tells whether what is older may be gone back to. Then the oldest come first, as they
        are the first to go when there are too many.

        :raises UsageError: one is neither published nor on the shared storage. :raises ImageError: one is no version.
        """
        from ovca.image import Store, adoption
        from ovca.image.version import ImageVersion

        with self.database.read() as session:
            known, running = retention.versions(session)
        ordered = sorted(dict.fromkeys(versions), key=ImageVersion)
        ordered.sort(key=lambda version: version not in running)
        for version in ordered:
            if version not in known:
                adoption.need_folder(Store.from_conf(self.conf), version)
        return {version: version not in known for version in ordered}

    def unknown_images(self) -> list[str]:
        """Images on the shared storage that were published, and that the database does not know; the oldest first.

        :raises ImageError: the storage cannot be looked at.
        """
        from ovca.image import Store

        return retention.unknown(self.database, Store.from_conf(self.conf))

    def available(self) -> list[OfferView]:
        """The images of the channel that ``[update] uri`` names, the newest first, with the way to each.

        :raises UsageError: it names none. :raises ImageError: the index does not count.
        """
        from ovca.image import channel  # with what proves signatures
        from ovca.remaster import channels

        uri = secrets.configured(self.conf, 'update', 'uri')
        if not uri or not channel.is_index(uri):
            raise UsageError(
                '[update] uri names no channel; set it to the URI of an index, which ends in .json', id='no-channel'
            )
        found = channels.read(uri, self.conf, self.database)
        with self.database.read() as session:
            leader = reading.master(session, self.here)
            row = session.get(Node, leader.holder or self.here)
            here = set(session.scalars(select(Image.version)))
        return channels.views(found, row.running_version if row else None, here)

    def downloads(self, limit: int = 20) -> list[DownloadView]:
        """The last downloads, the newest first."""
        with self.database.read() as session:
            return downloads.found(session, limit=limit)

    def unfinished_download(self, id: int | None) -> DownloadView:
        """One download, or the one that is under way.

        :raises UsageError: there is none. :raises Refused: it has ended.
        """
        with self.database.read() as session:
            return downloads.unfinished(session, id)

    def abort_download(self, id: int) -> None:
        """Remove a download that waits, or have a running one stopped; :meth:`wait` tells when it is.

        :raises NotMaster: this node is not the master. :raises Refused: the download has ended.
        """
        self.must_lead()
        with self.database.write() as session:
            downloads.abort(session, id, who=self.user)
