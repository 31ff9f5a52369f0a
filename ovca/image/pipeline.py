"""From a URI to a published image. Nothing is believed before it is proved, and nothing is published before all is.

The manifest and its signature are the first members, so a bundle that is not to be trusted, or not for this appliance,
ends within its first kilobytes; until then one thread receives, and the caller's reads. What follows is one pass of
threads that hand pieces on: receive and keep, inflate, hash the ISO, write the ISO, check the trees, write the trees.
The caller's thread tells how far they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.exceptions import ImageError, Refused
from ovca.files import drop
from ovca.image import note
from ovca.image.bundle import Bundle, Member
from ovca.image.errors import UNTRUSTED, AlreadyPublished, BundleError, Cancelled, SourceError, StorageFailed
from ovca.image.fetch import fetcher
from ovca.image.fetch.base import Fetcher, NoRanges, SourceChanged
from ovca.image.flow import Flow, Receiver, read_beside
from ovca.image.iso9660 import IsoError
from ovca.image.judged import FILES, MANIFEST, SIGNATURE, Judged, derived, judge, need_no_signature
from ovca.image.limits import Limits
from ovca.image.manifest import FILES_LIMIT, ISO_NAME, ListedFile, Manifest, agree, parse_files
from ovca.image.note import Note
from ovca.image.onepass import OnePass
from ovca.image.store import WORK, Store
from ovca.image.trees import Trees
from ovca.image.unfinished import Unfinished
from ovca.image.verification import tree_path

if TYPE_CHECKING:
    from oslo_config import cfg

STEP = 4 * 1024 * 1024
PAUSE = 0.2
"""Seconds between two reports: each may cost the listener a transaction."""
LOG = logging.getLogger(__name__)


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

    def noted(self) -> Note:
        """What lies in its folder once it was published, which is now."""
        return Note(self.version, self.digest, self.source, self.signed_by, note.stamp())


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
    limit_rate: int | None = None,
    notice: Callable[[str], None] | None = None,
) -> PublishedImage:
    """Fetch, judge, unpack and publish a bundle.

    ``accept`` may refuse the manifest early. ``commit`` records the image, once it is in place; if it raises, or this
    process dies before, there is no image. What was received is kept, or the ISO that it became, and the same URI
    resumes it.
    ``limit_rate`` counts instead of ``[update] limit_rate``. ``notice`` is told, from another thread, what the operator
    should know of the source.

    :raises FetchError: the source cannot be read. :raises ImageError: the bundle is refused.
    """
    with store.lock():
        keep_all, untrusted = False, None
        for attempt in (1, 2):
            try:
                source = fetcher(uri, conf, limit_rate=limit_rate)
                source.notice = notice or source.notice
                reception = _Reception(source, store, conf, progress, cancelled, accept, commit, version)
                return reception.run(keep_all=keep_all)
            except SourceChanged as exc:
                if attempt == 2:
                    raise
                keep_all, why = False, 'has changed since a part of it was received'
                if isinstance(exc, NoRanges):
                    keep_all, why = True, 'gives no ranges, although it said so'
                source.notice(f'{source.shown} {why}; it is fetched anew')
            except _Mixed as exc:
                # What an earlier run left does not fit to what came now, or was lost in a crash: from the start.
                if attempt == 2:
                    raise exc.cause from exc
                keep_all = True  # the places may be wrong
                untrusted = exc.cause if isinstance(exc.cause, UNTRUSTED) else None
            except SourceError as exc:
                if untrusted is None:
                    raise
                raise untrusted from exc  # and the source does not say that it has another one by now
        raise RuntimeError('unreachable')


class _Mixed(Exception):
    """A resumed bundle is damaged; perhaps only the part that was kept is."""

    def __init__(self, cause: ImageError) -> None:
        self.cause = cause


class _Reception:
    def __init__(
        self,
        source: Fetcher,
        store: Store,
        conf: cfg.ConfigOpts,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        accept: Callable[[Manifest], None],
        commit: Callable[[PublishedImage], None],
        version: str | None,
    ) -> None:
        self.store, self.conf, self.version = store, conf, version
        self.limits = Limits.from_conf(conf)
        self.progress, self.cancelled, self.accept, self.commit = progress, cancelled, accept, commit
        self.fetcher = source
        self.source = self.fetcher.shown
        self.work = store.staging / WORK
        self.part = store.staging / f'{self.fetcher.uri_digest[:16]}.part'
        self.unfinished = Unfinished(self.part.with_suffix('.iso'), source)
        self._held = self.part.exists() and self.part.stat().st_size > 0
        self._keep_all = False
        self._told, self._told_at = -STEP, 0.0
        self.flow = Flow()
        self.receiver = Receiver(self.flow, self.fetcher, self.part, self._heed)

    def run(self, *, keep_all: bool = False) -> PublishedImage:
        """With ``keep_all`` each byte that is received is kept: the source could not be taken up as it said."""
        self._keep_all = self.fetcher.keep_all = keep_all
        try:
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
            if keep_all or not self.unfinished.found(self.part, self.limits):
                self.unfinished.forget()
            self.store.need(0)
            try:
                published = self._receive()
            finally:
                self.flow.close(self.fetcher.interrupt)
                LOG.debug('stages: %s', json.dumps({n: dataclasses.asdict(t) for n, t in self.flow.times.items()}))
            self.store.publish(self.work, published.version, lambda: self.commit(published))
            note.write(self.store.mgmt(published.version), published.noted())
        except AlreadyPublished:
            self._forget()  # nobody will go on with it
            raise
        except (IsoError, BundleError, *UNTRUSTED) as exc:
            self._forget()
            cause = (
                BundleError(self.source, f'its ISO is refused: {exc}', id=exc.id) if isinstance(exc, IsoError) else exc
            )
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
        """Remove all that is left of this source, also what a power loss has left of a note."""
        try:
            for path in self.store.staging.glob(f'*{self.part.stem}.*'):
                drop(path)
        except OSError as exc:
            LOG.warning('what was received of %s is not removed: %s', self.source, exc)

    def _receive(self) -> PublishedImage:
        bundle = Bundle(self.receiver.chunks(), self.source, self.limits)
        first = bundle.need()
        if first.name == MANIFEST:
            with self._asking():
                judged = judge(bundle, self.conf, self.source, self.version)
            self._accept(judged.manifest)
            data = b''.join(bundle.content(FILES_LIMIT))
            if hashlib.sha256(data).hexdigest() != judged.manifest.files_digest:
                raise BundleError(self.source, 'files.json is not the one that the manifest names')
            files = parse_files(data, self.source, self.limits)
            agree(judged.manifest, files, self.source)
            iso = bundle.need()
            if iso.name != judged.manifest.iso.name:
                raise BundleError(
                    self.source, f'it holds {iso.name} where {judged.manifest.iso.name} belongs', id='not-a-bundle'
                )
            facts = judged.manifest.iso
            target = self._target(iso)
            self._room(facts.size + sum(f.size for f in files.values()), target)
            path = _path(target)
            trees = self._trees(path, facts.size, files, judged.manifest.version)
            self._vouched(bundle, iso, judged, trees, target)
        else:
            judged, files, data, path = self._plain(bundle, first)
            facts = judged.manifest.iso
            trees = self._trees(path, facts.size, files, judged.manifest.version)
        self._unpack(trees, facts.size, facts.name)
        if path == self.unfinished.path:
            self.unfinished.link(self._iso_path(facts.name))
        return self._stage(judged, data)

    # Members.

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Refuse nothing for what was kept before the source was asked whether it still holds that."""
        try:
            yield
        except Cancelled:
            raise
        except (ImageError, Refused):
            if self._held:
                self.flow.close(self.fetcher.interrupt)
                if not self.fetcher.asked:
                    self._ask()
            raise

    def _ask(self) -> None:
        """Ask the source whether it still holds what was kept, which may take as long as it is silent."""
        source = fetcher(self.fetcher.uri, self.conf)
        read_beside(source, partial(source.confirm, self.part), self._heed)

    def _accept(self, manifest: Manifest) -> None:
        with self._asking():
            self.accept(manifest)
            if self.store.mgmt(manifest.version).exists():
                raise AlreadyPublished(manifest.version)

    def _room(self, size: int, target: Path | Unfinished) -> None:
        """Check that ``size`` bytes fit, but for those that are in ``target``, and the rest of the bundle if kept."""
        if isinstance(target, Unfinished):
            more = -target.known
        else:
            try:
                more = max(0, (self.fetcher.size or 0) - self.part.stat().st_size)
            except FileNotFoundError:  # a local file is read where it lies; or the source has just changed
                more = 0
        with self._asking():
            self.store.need(size + more)

    def _target(self, member: Member) -> Path | Unfinished:
        """What the ISO is written to."""
        target = self._iso_path(member.name)
        target.parent.mkdir(exist_ok=True)
        return self.unfinished if not self._keep_all and self.unfinished.suits(member) else target

    def _iso(
        self,
        bundle: Bundle,
        member: Member,
        expected: int | None,
        trees: Trees | None,
        target: Path | Unfinished,
        *,
        hashed: bool,
    ) -> str | None:
        """Write the ISO, and the trees with it; return its digest if ``hashed``. The end of the bundle is read, too."""
        if isinstance(target, Unfinished):
            target.begin()
        iso = OnePass(self.flow, bundle, member, expected, self.conf.image.max_size, self.source)
        self.receiver.trust()
        iso.start(target, trees, hashed=hashed)
        gap = self.fetcher.gap
        before = gap.end - gap.begin if gap is not None else 0
        self.flow.wait(lambda: self._tell('download', before + self.receiver.received, self.fetcher.size, member.name))
        self._tell('download', before + self.receiver.received, self.fetcher.size, member.name, now=True)
        return iso.digest

    def _vouched(self, bundle: Bundle, member: Member, judged: Judged, trees: Trees, target: Path | Unfinished) -> None:
        """Write the ISO that a manifest vouches for, and the trees with it.

        Who has signed the digests of the files and that of the rest has vouched for each byte: a digest of the whole
        would be one of the same bytes once more. An unsigned manifest tells who the image is by that digest alone.

        :raises BundleError: it is not the ISO of the manifest.
        """
        facts = judged.manifest.iso
        by_parts = judged.signed_by is not None and facts.outside is not None
        digest = self._iso(bundle, member, facts.size, trees, target, hashed=not by_parts)
        if by_parts and trees.outside is not None:
            if trees.outside != facts.outside:
                raise BundleError(self.source, f'{facts.name} differs outside of its files from what the manifest says')
        elif (digest or self._digest(_path(target))) != facts.sha256:
            raise BundleError(self.source, f'{facts.name} has another digest than the manifest says')

    def _digest(self, path: Path) -> str:
        digest, done, size = hashlib.sha256(), 0, path.stat().st_size
        self._told, self._told_at = -STEP, 0.0
        with path.open('rb') as stream:
            while data := stream.read(STEP):
                digest.update(data)
                done += len(data)
                self._tell('verify', done, size, path.name)
        return digest.hexdigest()

    def _iso_path(self, name: str) -> Path:
        return self.work / 'mgmt_image' / name

    def _plain(self, bundle: Bundle, member: Member) -> tuple[Judged, dict[str, ListedFile], bytes, Path]:
        """A zip with an ISO and nothing else: the manifest is derived, and nobody vouches for it."""
        if not ISO_NAME.fullmatch(member.name):
            raise BundleError(
                self.source, f'it begins with {member.name}, not with manifest.json or a file *.iso', id='not-a-bundle'
            )
        need_no_signature(self.conf, self.source)
        path = self._iso_path(member.name)
        path.parent.mkdir(exist_ok=True)
        if member.size is not None:
            self._room(2 * member.size, path)
        digest = self._iso(bundle, member, None, None, path, hashed=True)
        assert digest is not None
        judged, data = derived(path, digest, self.version, self.limits, self.source)
        self._accept(judged.manifest)
        return judged, parse_files(data, self.source, self.limits), data, path

    # Trees.

    def _trees(self, iso: Path, size: int, files: dict[str, ListedFile], version: str) -> Trees:
        return Trees(self.flow, iso, size, files, _Staged(self.work, version).path, self.source, self.limits)

    def _unpack(self, trees: Trees, size: int, name: str) -> None:
        """Make of the trees what could not be made while the ISO came."""
        self._told, self._told_at = -STEP, 0.0
        trees.finish(lambda done: self._tell('unpack', done, size, name))
        self._tell('unpack', trees.done, size, name, now=True)

    def _stage(self, judged: Judged, files: bytes) -> PublishedImage:
        folder = self.work / 'mgmt_image'
        (folder / MANIFEST).write_bytes(judged.raw)
        (folder / FILES).write_bytes(files)
        if judged.signature is not None:
            (folder / SIGNATURE).write_bytes(judged.signature)
        manifest = judged.manifest
        self._tell('publish', 1, 1, manifest.version, now=True)
        return PublishedImage(
            version=manifest.version,
            digest=manifest.iso.sha256,
            iso=f'mgmt_image/{manifest.version}/{manifest.iso.name}',
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


def _path(target: Path | Unfinished) -> Path:
    return target if isinstance(target, Path) else target.path


class _Staged(Store):
    """The same layout as the store's, below the working folder and without the version's level."""

    def __init__(self, work: Path, version: str) -> None:
        super().__init__(work)
        self._version = version

    def folder(self, component: str, version: str) -> Path:
        return self.root / f'{component}_image'

    def path(self, top: str, rest: str) -> Path | None:
        return tree_path(self, self._version, top, rest)
