"""From a URI to a published image. Nothing is believed before it is proved, and nothing is published before all is.

One thread receives, this one inflates, one hashes and writes. The manifest and its signature are the first members, so
a bundle that is not to be trusted, or not for this appliance, ends within its first kilobytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.exceptions import ImageError
from ovca.image import signature
from ovca.image.bundle import Bundle, Member
from ovca.image.errors import AlreadyPublished, BundleError, Cancelled, SignatureRefused, StorageFailed
from ovca.image.fetch import fetcher
from ovca.image.fetch.base import SourceChanged
from ovca.image.flow import Receiver, Sink
from ovca.image.iso9660 import Entry, Iso, IsoError
from ovca.image.manifest import ISO_NAME, LIMIT, IsoFacts, ListedFile, Manifest, parse_files
from ovca.image.store import WORK, Store
from ovca.image.verification import tree_path
from ovca.image.version import ImageVersion

if TYPE_CHECKING:
    from oslo_config import cfg

FILES_LIMIT = 256 * 1024 * 1024
STEP = 4 * 1024 * 1024
PAUSE = 0.2
"""Seconds between two reports: each may cost the listener a transaction."""
SIGNATURE = 'manifest.json.minisig'


@dataclass(frozen=True)
class Progress:
    """How far a download is: ``done`` of ``total`` bytes in a stage."""

    stage: str
    done: int
    total: int | None
    text: str = ''


@dataclass(frozen=True)
class PublishedImage:
    """What the ``image`` row holds."""

    version: str
    digest: str
    iso: str
    size: int
    files_digest: str | None
    manifest: dict[str, Any]
    signed_by: str | None
    source: str


@dataclass
class _Judged:
    manifest: Manifest
    raw: bytes
    signature: bytes | None
    signed_by: str | None


def receive(
    uri: str,
    *,
    store: Store,
    conf: cfg.ConfigOpts,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    accept: Callable[[Manifest], None],
    commit: Callable[[PublishedImage], None],
    version: str | None = None,
) -> PublishedImage:
    """Fetch, judge, unpack and publish a bundle.

    ``accept`` may refuse the manifest early. ``commit`` records the image, once it is in place; if it raises, or this
    process dies before, there is no image. A part that was received is kept, and the same URI resumes it.

    :raises FetchError: the source cannot be read. :raises ImageError: the bundle is refused.
    """
    with store.lock():
        for attempt in (1, 2):
            try:
                return _Reception(uri, store, conf, progress, cancelled, accept, commit, version).run()
            except SourceChanged:
                if attempt == 2:
                    raise
            except _Mixed as exc:
                # What an earlier run left does not fit to what came now, or was lost in a crash: from the start.
                if attempt == 2:
                    raise exc.cause from exc
        raise RuntimeError('unreachable')


class _Mixed(Exception):
    """A resumed bundle is damaged; perhaps only the part that was kept is."""

    def __init__(self, cause: ImageError) -> None:
        self.cause = cause


class _Reception:
    def __init__(
        self,
        uri: str,
        store: Store,
        conf: cfg.ConfigOpts,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        accept: Callable[[Manifest], None],
        commit: Callable[[PublishedImage], None],
        version: str | None,
    ) -> None:
        self.store, self.conf, self.version = store, conf, version
        self.progress, self.cancelled, self.accept, self.commit = progress, cancelled, accept, commit
        self.fetcher = fetcher(uri, conf)
        self.source = self.fetcher.shown
        self.work = store.staging / WORK
        self.part = store.staging / f'{self.fetcher.uri_digest[:16]}.part'
        self._held = self.part.stat().st_size if self.part.exists() else 0
        self._told, self._told_at = -STEP, 0.0
        self.receiver = Receiver(self.fetcher, self.part)

    def run(self) -> PublishedImage:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        try:
            self.store.need(0)
            try:
                published = self._receive()
            finally:
                self.receiver.close()
            self.store.publish(self.work, published.version, lambda: self.commit(published))
        except (IsoError, BundleError, SignatureRefused) as exc:
            self._forget()
            cause = BundleError(self.source, f'its ISO is refused: {exc}') if isinstance(exc, IsoError) else exc
            if self._held:
                raise _Mixed(cause) from exc
            raise cause from exc.__cause__
        except OSError as exc:
            raise StorageFailed(self.store.root, exc) from exc
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
        self._forget()
        return published

    def _forget(self) -> None:
        for path in (self.part, self.part.with_name(self.part.name + '.json')):
            path.unlink(missing_ok=True)

    def _receive(self) -> PublishedImage:
        bundle = Bundle(self.receiver.chunks(self._heed), self.source)
        first = self._next(bundle)
        if first.name == 'manifest.json':
            judged = self._judge(bundle)
            data = b''.join(bundle.content(FILES_LIMIT))
            if hashlib.sha256(data).hexdigest() != judged.manifest.files_digest:
                raise BundleError(self.source, 'files.json is not the one that the manifest names')
            files = parse_files(data, self.source)
            self._room(judged.manifest.iso.size + sum(f.size for f in files.values()))
            iso = self._next(bundle)
            if iso.name != judged.manifest.iso.name:
                raise BundleError(
                    self.source, f'it holds {iso.name} where {judged.manifest.iso.name} belongs', id='not-a-bundle'
                )
            path = self._iso(bundle, iso, judged.manifest.iso.size)
            if path[1] != judged.manifest.iso.sha256:
                raise BundleError(self.source, f'{iso.name} has another digest than the manifest says')
        else:
            judged, files, data, path = self._plain(bundle, first)
        if bundle.next() is not None:
            raise BundleError(self.source, 'it holds a member too many', id='not-a-bundle')
        self._unpack(path[0], files, judged.manifest)
        return self._stage(judged, data, path[0])

    # Members.

    def _next(self, bundle: Bundle) -> Member:
        member = bundle.next()
        if member is None:
            raise BundleError(self.source, 'a member is missing', id='not-a-bundle')
        return member

    def _judge(self, bundle: Bundle) -> _Judged:
        raw = b''.join(bundle.content(LIMIT))
        manifest = Manifest.parse(raw, self.source)
        member = self._next(bundle)
        signed, name = None, None
        if member.name == SIGNATURE:
            signed = b''.join(bundle.content(16 * 1024))
            member = self._next(bundle)
        elif self.conf.image.require_signature:
            raise SignatureRefused(
                self.source, 'it is not signed, and [image] require_signature is true', id='unsigned'
            )
        if member.name != 'files.json':
            raise BundleError(self.source, f'it holds {member.name} where files.json belongs', id='not-a-bundle')
        has_keys = any(Path(self.conf.image.key_folder).glob('*.pub'))
        if signed is not None and (self.conf.image.require_signature or has_keys):
            name = signature.check(
                raw,
                signed,
                Path(self.conf.image.key_folder),
                version=manifest.version,
                digest=manifest.iso.sha256,
                source=self.source,
            )
        if self.version is not None and self.version != manifest.version:
            raise BundleError(
                self.source, f'it holds version {manifest.version}, not {self.version}', id='wrong-version'
            )
        if manifest.iso.size > self.conf.image.max_size:
            raise BundleError(
                self.source,
                f'its ISO has {manifest.iso.size} bytes, more than [image] max_size allows',
                id='image-too-large',
            )
        self._accept(manifest)
        return _Judged(manifest, raw, signed, name)

    def _accept(self, manifest: Manifest) -> None:
        self.accept(manifest)
        if self.store.mgmt(manifest.version).exists():
            raise AlreadyPublished(manifest.version)

    def _room(self, size: int) -> None:
        """Check that ``size`` bytes and the rest of the bundle fit."""
        kept = self.part.exists()  # a local file is read where it lies
        rest = (self.fetcher.size or 0) - self.part.stat().st_size if kept else 0
        self.store.need(size + max(0, rest))

    def _iso(self, bundle: Bundle, member: Member, expected: int | None) -> tuple[Path, str]:
        """Write the ISO; return its path and digest."""
        self.receiver.trust()
        target = self.work / 'mgmt_image' / member.name
        target.parent.mkdir(exist_ok=True)
        with Sink(target) as sink:
            for data in bundle.content(expected or self.conf.image.max_size):
                sink.write(data)
                self._tell('download', self.receiver.received, self.fetcher.size, member.name)
            digest = sink.finish()
        if expected is not None and sink.size != expected:
            raise BundleError(self.source, f'{member.name} has {sink.size} bytes, the manifest says {expected}')
        self._tell('download', self.receiver.received, self.fetcher.size, member.name, now=True)
        return target, digest

    def _plain(self, bundle: Bundle, member: Member) -> tuple[_Judged, dict[str, ListedFile], bytes, tuple[Path, str]]:
        """A zip with an ISO and nothing else: the manifest is derived, and nobody vouches for it."""
        if not ISO_NAME.fullmatch(member.name):
            raise BundleError(
                self.source, f'it begins with {member.name}, not with manifest.json or a file *.iso', id='not-a-bundle'
            )
        if self.conf.image.require_signature:
            raise SignatureRefused(
                self.source, 'it is not signed, and [image] require_signature is true', id='unsigned'
            )
        if member.size is not None:
            self._room(2 * member.size)
        path = self._iso(bundle, member, None)
        with Iso(path[0]) as iso:
            version = self.version or iso.volume_id
            listed = [self._listed(iso, entry) for entry in iso.walk() if not entry.is_dir]
        if not version:
            raise BundleError(
                self.source, 'its ISO has no volume id; name the version with --image-version', id='no-version'
            )
        data = json.dumps({'format': 1, 'files': listed}, sort_keys=True).encode()
        facts = IsoFacts(member.name, path[0].stat().st_size, path[1])
        manifest = Manifest(1, str(ImageVersion(version)), facts, hashlib.sha256(data).hexdigest())
        self._accept(manifest)
        raw = json.dumps(manifest.as_dict(), sort_keys=True).encode()
        return _Judged(manifest, raw, None, None), parse_files(data, self.source), data, path

    @staticmethod
    def _listed(iso: Iso, entry: Entry) -> dict[str, Any]:
        row: dict[str, Any] = {'path': entry.path, 'size': entry.size, 'mode': entry.mode}
        if entry.link is not None:
            return {**row, 'link': entry.link}
        digest = hashlib.sha256()
        for data in iso.read(entry):
            digest.update(data)
        return {**row, 'sha256': digest.hexdigest()}

    # Trees.

    def _unpack(self, path: Path, files: dict[str, ListedFile], manifest: Manifest) -> None:
        """Write the trees, each file checked against the list while it is written.

        The reader gives folders before what is in them and no path twice, so nothing can lie below a link.
        """
        staged = _Staged(self.work, manifest.version)
        seen, done, total = set(), 0, manifest.iso.size
        self._told, self._told_at = -STEP, 0.0
        with Iso(path) as iso:
            for entry in iso.walk():
                top, _, rest = entry.path.partition('/')
                place = staged.path(top, rest)
                if place is None:
                    continue
                if entry.is_dir:
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                listed = files.get(entry.path)
                if not rest:
                    raise BundleError(
                        self.source, f'the ISO holds {top}, which is not the folder that it must be', id='bundle-unsafe'
                    )
                if listed is None:
                    raise BundleError(self.source, f'the ISO holds {entry.path}, which files.json does not list')
                seen.add(entry.path)
                if entry.link is not None or listed.link is not None:
                    self._link(place, entry, listed)
                    continue
                self._file(iso, entry, listed, place)
                done += entry.size
                self._tell('unpack', done, total, entry.path)
        missing = sorted(p for p in set(files) - seen if staged.path(*p.partition('/')[::2]) is not None)
        if missing:
            raise BundleError(self.source, f'the ISO lacks {missing[0]}, which files.json lists')

    def _link(self, place: Path, entry: Entry, listed: ListedFile) -> None:
        if entry.link != listed.link or entry.link is None:
            raise BundleError(self.source, f'{entry.path} points elsewhere than files.json says')
        inside = Path('/', *Path(entry.path).parent.parts[1:])
        if not entry.link.startswith('/') and '..' in Path(entry.link).parts:
            depth = len(inside.parts) - 1
            if sum(1 for part in Path(entry.link).parts if part == '..') > depth:
                raise BundleError(self.source, f'{entry.path} points outside its tree', id='bundle-unsafe')
        place.symlink_to(entry.link)

    def _file(self, iso: Iso, entry: Entry, listed: ListedFile, place: Path) -> None:
        digest = hashlib.sha256()
        with place.open('xb') as stream:
            for data in iso.read(entry):
                digest.update(data)
                stream.write(data)
        if entry.size != listed.size or digest.hexdigest() != listed.sha256:
            raise BundleError(self.source, f'{entry.path} is not as files.json says')
        place.chmod(listed.mode)

    def _stage(self, judged: _Judged, files: bytes, iso: Path) -> PublishedImage:
        folder = self.work / 'mgmt_image'
        (folder / 'manifest.json').write_bytes(judged.raw)
        (folder / 'files.json').write_bytes(files)
        if judged.signature is not None:
            (folder / SIGNATURE).write_bytes(judged.signature)
        manifest = judged.manifest
        self._tell('publish', 1, 1, manifest.version, now=True)
        return PublishedImage(
            version=manifest.version,
            digest=manifest.iso.sha256,
            iso=f'mgmt_image/{manifest.version}/{iso.name}',
            size=manifest.iso.size,
            files_digest=manifest.files_digest,
            manifest=manifest.as_dict(),
            signed_by=judged.signed_by,
            source=self.source,
        )

    def _heed(self) -> None:
        if self.cancelled():
            raise Cancelled(f'{self.source}: stopped; what was received is kept, the same command resumes it')

    def _tell(self, stage: str, done: int, total: int | None, text: str, *, now: bool = False) -> None:
        self._heed()
        if now or (done - self._told >= STEP and time.monotonic() - self._told_at >= PAUSE):
            self._told, self._told_at = done, time.monotonic()
            self.progress(Progress(stage, done, total, text))


class _Staged(Store):
    """The same layout as the store's, below the working folder and without the version's level."""

    def __init__(self, work: Path, version: str) -> None:
        super().__init__(work)
        self._version = version

    def folder(self, component: str, version: str) -> Path:
        return self.root / f'{component}_image'

    def path(self, top: str, rest: str) -> Path | None:
        return tree_path(self, self._version, top, rest)
