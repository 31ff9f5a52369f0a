"""The trees of an image, written while its ISO arrives.

Most ISOs hold their directory records before the data of their files (ours do, and those of xorriso and genisoimage).
Then each piece of the stream is cut into the files that it holds, hashed, and written, and the ISO is never read again.
What lies outside of the files is hashed as well: with the digests of the files that covers each byte of the ISO once.
What had gone by before its record was known, and what lies twice in the ISO, is copied from the ISO file at the end.

Nothing here is proved yet: the digest of the whole is known only after its last byte. So the trees are written out of
sight, folders first and links last, each file is checked against the list, and the caller publishes when all is well.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ovca.files import copy_range
from ovca.image.flow import Flow, Pipe, Stopped
from ovca.image.iso9660 import Iso
from ovca.image.limits import Limits
from ovca.image.manifest import ListedFile
from ovca.image.output import Output
from ovca.image.plan import Place, Plan, Run, Target, plan, runs

Data = bytes | memoryview

HEAD = 16 * 1024 * 1024
"""How many bytes are kept in memory until all directory records have come."""
COPIED = 8 * 1024 * 1024
READ = 1024 * 1024
BATCH = 1024 * 1024
"""Bytes that are handed on at a time, in pieces as they came: each waking of a thread costs."""
WORKERS = 4


class TooLate(Exception):
    """The records are not where they can be kept until all of them are known."""


class Head(io.BytesIO):
    """The beginning of a file that still arrives, to be read like a file: a read waits for what it needs."""

    def __init__(self, pieces: Iterator[Data], limit: int) -> None:
        super().__init__()
        self.data = bytearray()
        self.reached = 0
        """Where the last byte lies that was asked for."""
        self._pieces, self._limit, self._at = pieces, limit, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to ``offset`` bytes after the beginning."""
        self._at = offset
        return offset

    def read(self, size: int | None = None, /) -> bytes:
        """:raises TooLate: it lies further behind than is kept."""
        end = self._at + (size or 0)
        if end > self._limit:
            raise TooLate
        self.reached = max(self.reached, end)
        while len(self.data) < end:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self.data += piece
        found = bytes(self.data[self._at : end])
        self._at += len(found)
        return found


@dataclass(frozen=True)
class Order:
    """Bytes to be appended to a file that is begun before, and ended after, if so said."""

    target: Target
    data: memoryview
    first: bool
    last: bool


class Trees:
    """The stages that write the trees from the ISO's bytes: one cuts and hashes, one writes."""

    def __init__(
        self,
        flow: Flow,
        iso: Path,
        size: int,
        files: dict[str, ListedFile],
        place: Place,
        source: str,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._flow, self._iso, self._size = flow, iso, size
        self._listed, self._place, self._source = files, place, source
        self.pieces: Pipe[list[Data]] = Pipe(flow)
        self._orders: Pipe[list[Order]] = Pipe(flow)
        self._plan: Plan | None = None
        self._late: list[Target] = []
        self._folders = False
        self.done = 0
        """Bytes of files that were written."""
        self.outside: str | None = None
        """What :func:`digest_outside` gives of the ISO; None until it is known, too."""

    def start(self) -> None:
        """Begin; what is put into :attr:`pieces` is the ISO."""
        self._flow.start('check', self._check)
        self._flow.start('files', self._write)

    def finish(self, told: Callable[[int], None]) -> None:
        """Once all stages are done: copy from the ISO what is not there yet, and make the links.

        :raises BundleError: the ISO is not as the list says.
        """
        if self._plan is None:
            with Iso(self._iso, self._limits) as reader:
                self._plan = plan(reader.walk(), self._listed, self._place, self._source)
            self._late = self._plan.files
        self._make_folders(self._plan)
        self._copy(told)
        for path, link in self._plan.links:
            path.symlink_to(link)

    # Cut and hash.

    def _check(self) -> None:
        try:
            self._cut()
        finally:
            self._orders.end()

    def _cut(self) -> None:
        pieces = itertools.chain.from_iterable(self.pieces)
        head = Head(pieces, HEAD)
        try:
            iso = Iso(self._iso, self._limits, stream=head, length=self._size)
            made = plan(iso.walk(), self._listed, self._place, self._source)
        except TooLate:
            self.pieces.ignore()
            return
        todo, self._late = runs(made.files)
        self._plan = made
        digest, outside = hashlib.sha256(), hashlib.sha256()
        handed = stop = 0
        orders: list[Order] = []
        for run, part, start in stretches(todo, sliced(head.data, pieces)):
            stop = start + len(part)
            if run is None:
                outside.update(part)
            else:
                digest.update(part)
                orders.append(Order(run.target, part, start == run.offset, stop == run.end))
                if stop == run.end:
                    run.target.check(digest.hexdigest(), self._source)
                    digest = hashlib.sha256()
            if stop - handed >= BATCH:
                self._orders.put(orders, stop - handed)
                orders, handed = [], stop
        self._orders.put(orders, stop - handed)
        self.outside = outside.hexdigest() if _bound(head, todo) else None

    # Write.

    def _write(self) -> None:
        output: Output | None = None
        try:
            for orders in self._orders:
                self._make_folders(self._plan)
                for order in orders:
                    if order.first:
                        output = Output(order.target.path, order.target.entry.size)
                    assert output is not None
                    output.write(order.data)
                    self.done += len(order.data)
                    if order.last:
                        ended, output = output, None
                        ended.close(order.target.listed.mode)
        finally:
            if output is not None:
                output.close(0o600)

    def _make_folders(self, made: Plan | None) -> None:
        if made is not None and not self._folders:
            for folder in made.folders:
                folder.mkdir(parents=True, exist_ok=True)
            self._folders = True

    # Copy.

    def _copy(self, told: Callable[[int], None]) -> None:
        stop = threading.Event()
        with self._iso.open('rb') as stream, concurrent.futures.ThreadPoolExecutor(WORKERS, 'copy') as pool:
            try:
                work = [pool.submit(self._copied, stream.fileno(), target, stop) for target in self._late]
                waiting = set(work)
                while waiting:
                    done, waiting = concurrent.futures.wait(
                        waiting, 0.2, return_when=concurrent.futures.FIRST_EXCEPTION
                    )
                    for future in done:
                        self.done += future.result()
                    told(self.done)
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)

    def _copied(self, iso: int, target: Target, stop: threading.Event) -> int:
        digest = hashlib.sha256()
        output = Output(target.path)  # its blocks may become those of the ISO, so none are reserved
        try:
            for offset, length in _steps(target.entry.extents):
                if stop.is_set():
                    raise Stopped
                copy_range(iso, offset, output.fileno(), length)
                for at in range(offset, offset + length, READ):
                    digest.update(os.pread(iso, min(READ, offset + length - at), at))
        finally:
            output.close(target.listed.mode)
        target.check(digest.hexdigest(), self._source)
        return target.entry.size


def sliced(head: bytearray, pieces: Iterator[Data]) -> Iterator[memoryview]:
    """What was kept, then what comes."""
    view = memoryview(head)
    for at in range(0, len(head), READ):
        yield view[at : at + READ]
    for piece in pieces:
        yield memoryview(piece)


def stretches(todo: list[Run], pieces: Iterable[memoryview]) -> Iterator[tuple[Run | None, memoryview, int]]:
    """An ISO's bytes, cut where a file begins or ends: whose they are, the bytes, and where they lie."""
    at = position = 0
    for piece in pieces:
        here, end = position, position + len(piece)
        while here < end:
            run = todo[at] if at < len(todo) and todo[at].offset < end else None
            mine = run is not None and run.offset <= here
            stop = end if run is None else min(run.end, end) if mine else run.offset
            yield run if mine else None, piece[here - position : stop - position], here
            at += run is not None and mine and stop == run.end
            here = stop
        position = end


def digest_outside(
    pieces: Iterator[Data], size: int, listed: dict[str, ListedFile], place: Place, source: str
) -> str | None:
    """The SHA-256 of what lies outside of the files that are unpacked: records, padding, boot code.

    Together with the digests of the files it covers each byte of the ISO once. None: its records do not all come before
    the files. Then the bytes would not be bound to their places, nor known in time by who has not got all of the ISO.

    :raises BundleError: the ISO is not as the list says. :raises IsoError: it is none.
    """
    head = Head(pieces, HEAD)
    try:
        made = plan(Iso(Path(source), stream=head, length=size).walk(), listed, place, source)
    except TooLate:
        return None
    todo, _ = runs(made.files)
    if not _bound(head, todo):
        return None
    digest = hashlib.sha256()
    for run, part, _ in stretches(todo, sliced(head.data, pieces)):
        if run is None:
            digest.update(part)
    return digest.hexdigest()


def _bound(head: Head, todo: list[Run]) -> bool:
    """Whether all that says where the files lie comes before them: who changes it changes what lies outside of them."""
    return not todo or head.reached <= todo[0].offset


def _steps(extents: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for offset, length in extents:
        for at in range(offset, offset + length, COPIED):
            yield at, min(COPIED, offset + length - at)
