"""Checks of the image that is to be installed: its place among the versions, its files, the schema it brings."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db.models import Image, Node
from ovca.image import route
from ovca.image.route import Terms
from ovca.remaster import retention
from ovca.remaster.checks import Check, CheckContext, CheckResult
from ovca.remaster.checks.patience import SLOWEST

if TYPE_CHECKING:
    from ovca.image.manifest import ListedFile

MIGRATION = re.compile(r'mgmt_image/.*\bovca/db/migrations/versions/(\d{4})_\w+\.py')
FEW = 10
"""So many wrong files are among the facts."""


class VersionPath(Check):
    """The image may be installed over what runs."""

    id = 'version-path'

    def check(self) -> CheckResult:
        if self.context.version is None:
            return self.skipped('no version was named')
        with self.context.database.read() as session:
            image = session.get(Image, self.context.version)
            node = session.get(Node, self.context.conf.cluster.node_name)
            present = terms(session, node.running_digest if node else None)
        if image is None:
            return not_here(self, self.context.version)
        running, new = node.running_version if node else None, Terms.of(image.manifest)
        facts = {
            'running': running,
            'version': image.version,
            'update_from': image.manifest.get('update_from'),
            'stepping_stones': list(image.manifest.get('stepping_stones') or ()),
        }
        problem = route.problem(new, running, present=present, downgrade=self.context.allow_downgrade)
        if problem and not self.context.retry:
            return self.failed(*problem, facts)
        if running and not self.context.retry and not new.follows(running):
            return self.warning(
                f'{running} will be downgraded to {image.version}',
                'go on only if an older version is what you want',
                facts,
            )
        if running == image.version:  # a retry, or one node that is installed again
            return self.passed(f'{running} runs here, and the other node gets it', facts)
        return self.passed(f'{running or "?"} may be updated to {image.version}', facts)


def terms(session: Session, digest: str | None) -> Terms | None:
    """What the image with this digest says of its place among the versions; None if it is not here."""
    if digest is None:
        return None
    image = session.scalars(select(Image).where(Image.digest == digest).limit(1)).one_or_none()
    return None if image is None else Terms.of(image.manifest)


def not_here(check: Check, version: str) -> CheckResult:
    """The answer of a check whose image is not published."""
    return check.failed(f'image {version} is not here', 'fetch it with `ovca download`', {'version': version})


def published(check: Check) -> Image | CheckResult:
    """The row of the image to install; where there is none, the answer of a check that needs one."""
    version = check.context.version
    if version is None:
        return check.skipped('no version was named')
    with check.context.database.read() as session:
        row = session.get(Image, version)
    return row if row is not None else not_here(check, version)


def listed_files(context: CheckContext, row: Image) -> dict[str, ListedFile]:
    """What ``files.json`` of a published image lists, if it is the list that the database remembers.

    :raises ImageError: it is another one, or cannot be read.
    """
    from ovca.image import Store
    from ovca.image.errors import BundleError
    from ovca.image.manifest import parse_files

    path = Store.from_conf(context.conf).files_json(row.version)
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise BundleError(str(path), f'it cannot be read ({exc.strerror})', id='image-unreadable') from exc
    if hashlib.sha256(data).hexdigest() != row.files_digest:
        raise BundleError(str(path), 'it is not the list that the image came with', id='bundle-damaged')
    return parse_files(data, str(path))


class ImageVerified(Check):
    """The image on the shared storage is whole, and the key that signed it was not revoked since."""

    id = 'image'

    def check(self) -> CheckResult:
        from ovca.image import Store, examine

        row = published(self)
        if isinstance(row, CheckResult):
            return row
        store = Store.from_conf(self.context.conf)
        facts: dict[str, Any] = {'version': row.version, 'digest': row.digest, 'signed_by': row.signed_by}
        if (reason := self._revoked(store.mgmt(row.version))) is not None:
            return self.failed(
                f'image {row.version} is signed by a key that is revoked ({reason})',
                f'delete it: `ovca image-delete {row.version}`, and get one that is signed by the present key',
                facts,
            )
        found = examine(store, row.version, digest=row.digest, files_digest=row.files_digest)
        bad = found.differences
        facts |= {'files': found.files, 'wrong_files': [{'path': d.path, 'problem': d.problem} for d in bad[:FEW]]}
        if bad:
            return self.failed(
                f'{len(bad)} files of image {row.version} are wrong, the first is {bad[0].path} ({bad[0].problem})',
                f'look at the storage; then replace the image: `ovca image-delete {row.version}` and `ovca download`',
                facts,
            )
        return self.passed(f'image {row.version} is as its manifest says', facts)

    def patience(self) -> float:
        """As long as slow storage needs to give all of the image, twice: the ISO, and the trees."""
        with self.context.database.read() as session:
            row = session.get(Image, self.context.version) if self.context.version is not None else None
        return super().patience() + (2 * row.size / SLOWEST if row is not None else 0)

    def _revoked(self, folder: Path) -> str | None:
        """Why the key that signed the image was revoked, if it was."""
        from ovca.image import keys

        try:
            _, id = keys.signer((folder / 'manifest.json.minisig').read_bytes())
        except (FileNotFoundError, ValueError):
            return None  # not signed, which was allowed when it was published
        return keys.load(Path(self.context.conf.image.key_folder)).why_revoked(id)


class ImagePresent(Check):
    """Every file of the image is there with its size; in seconds, where :class:`ImageVerified` reads all of it."""

    id = 'image'

    def check(self) -> CheckResult:
        from ovca.image import Store
        from ovca.image.verification import tree_path

        row = published(self)
        if isinstance(row, CheckResult):
            return row
        store = Store.from_conf(self.context.conf)
        manifest = store.manifest(row.version)
        wanted = [(store.iso_path(row.version), manifest.iso.size)]
        listed = listed_files(self.context, row) if row.files_digest else {}
        for path, file in listed.items():
            top, _, rest = path.partition('/')
            place = tree_path(store, row.version, top, rest)
            if place is not None and file.link is None:
                wanted.append((place, file.size))
        bad = [str(place.relative_to(store.root)) for place, size in wanted if _size(place) != size]
        facts = {'version': row.version, 'files': len(wanted), 'wrong_files': bad[:FEW]}
        if manifest.iso.sha256 != row.digest:
            return self.failed(
                f'the manifest of image {row.version} is not the one that it came with', 'look at the storage', facts
            )
        if bad:
            return self.failed(
                f'{len(bad)} files of image {row.version} are missing or cut, the first is {bad[0]}',
                f'look at the storage; `ovca image-verify {row.version}` reads all of it',
                facts,
            )
        return self.passed(f'the files of image {row.version} are there', facts)


class UnknownImages(Check):
    """The database knows the images that were published on the shared storage; after a restore it may not."""

    id = 'unknown-images'

    def check(self) -> CheckResult:
        from ovca.image import Store, note

        store = Store.from_conf(self.context.conf)
        unknown = retention.unknown(self.context.database, store)
        with self.context.database.read() as session:
            _, running = retention.versions(session)
        notes = {version: note.read(store.mgmt(version)) or note.Note(version) for version in unknown}
        facts = {
            'versions': unknown,
            'running': sorted(running & set(unknown)),
            'published_at': {version: told.published_at for version, told in notes.items()},
        }
        if unknown:
            return self.warning(*note.unknown(unknown), facts)
        return self.passed('the database knows each image on the shared storage', facts)


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except OSError:
        return None


class SchemaFits(Check):
    """This software, and the one that the image brings, can work on the database's schema.

    An image tells its revision by the migrations among its files.
    """

    id = 'schema'

    def check(self) -> CheckResult:
        from ovca.db import schema

        found, mine = schema.current(self.context.database), schema.head()
        brings = self._brings()
        facts = {'database': found, 'software': mine, 'image': brings}
        if found is None:
            return self.failed('the database has no tables', 'start ovca.service, which makes them', facts)
        for whose, revision in (('this software', mine), (f'image {self.context.version}', brings)):
            if revision is not None and abs(schema.number(revision) - schema.number(found)) > 1:
                return self.failed(
                    f'the database has schema revision {found}, {whose} {revision}; at most one apart can work',
                    'update by way of the version in between',
                    facts,
                )
        if brings is None and not self.context.retry and schema.number(found) < schema.number(mine):
            return self.warning(
                f'the database still has schema revision {found}, and this software {mine}',
                'finish the last update; see `ovca db-check`',
                facts,
            )
        image = f', image {self.context.version} {brings or "does not tell"}' if self.context.version else ''
        return self.passed(f'the database has schema revision {found}, this software {mine}{image}', facts)

    def _brings(self) -> str | None:
        """The revision of the image's software, or None where its files do not tell."""
        if self.context.version is None:
            return None
        with self.context.database.read() as session:
            row = session.get(Image, self.context.version)
        if row is None or row.files_digest is None:
            return None
        found = [m[1] for path in listed_files(self.context, row) if (m := MIGRATION.fullmatch(path))]
        return max(found, default=None)
