"""Reads ISO 9660 images (ECMA-119) with names by Rock Ridge or Joliet: standard library only, and trusting nothing.

Every number in an image may lie. No name leaves its folder, no extent the file, no chain of records goes in circles,
and no folder is read for ever. What is larger than :class:`~ovca.image.limits.Limits` allows is refused.

Names are those of Rock Ridge; without it those of Joliet; without both the plain ones as Linux mounts show them: lower
case, without version. An image that can be booted, or has an UDF side too, is read by its ISO side.
"""

from __future__ import annotations

import array
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ovca.image import rockridge
from ovca.image.limits import WIDEST, Limits
from ovca.image.names import MAX_PATH, flaw, link_flaw
from ovca.image.records import (
    DAMAGED,
    LIMIT,
    PARENT,
    SECTOR,
    SELF,
    UNSAFE,
    UNSUPPORTED,
    IsoError,
    Record,
    both,
)

__all__ = ['SECTOR', 'Entry', 'Iso', 'IsoError']

CHUNK = 256 * 1024
JOLIET = (b'%/@', b'%/C', b'%/E')
VERSION = re.compile(r';\d{0,5}$')
HOLE = 2**32 // SECTOR - 1
MOVED = ('rr_moved', '.rr_moved')
"""Where writers put folders that are nested deeper than ECMA-119 allows; Rock Ridge says where they belong."""


@dataclass(frozen=True)
class Entry:
    """A file, folder or symbolic link of the image; ``extents`` are (offset, length) pairs in bytes."""

    path: str
    mode: int
    size: int
    extents: tuple[tuple[int, int], ...]
    is_dir: bool
    link: str | None = None


class Iso:
    """An open image. One that still arrives is read from ``stream``, and will be ``length`` bytes long.

    :raises IsoError: it is none. :raises OSError: it cannot be read.
    """

    def __init__(self, path: Path, limits: Limits = WIDEST, *, stream: BinaryIO | None = None, length: int = 0) -> None:
        self.path, self.limits = path, limits
        self._file: BinaryIO = stream or path.open('rb')
        try:
            self._length = length if stream else os.fstat(self._file.fileno()).st_size
            self._left = 2 * self._length
            self._start()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Iso:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    # The volume.

    def _start(self) -> None:
        primary, joliet = self._volumes()
        self.volume_id = primary[40:72].decode('ascii', 'replace').strip(' \0')
        if struct.unpack_from('<H', primary, 128)[0] != SECTOR:
            raise IsoError('the image has a block size other than 2048', UNSUPPORTED)
        size = both(primary, 80, 'the volume') * SECTOR
        if size > self._length:
            raise IsoError(f'the image is cut off: it has {self._length} bytes and says that it has {size}')
        self._root = self._root_of(primary)
        first = next(self._records(self._root, '/'), None)
        self._skip = rockridge.skipped(first) if first is not None else None
        self.names = 'plain' if self._skip is None else 'Rock Ridge'
        if self._skip is None and joliet is not None:
            self._root, self.names = self._root_of(joliet), 'Joliet'

    def _volumes(self) -> tuple[bytes, bytes | None]:
        """The descriptors of the primary volume and of Joliet's."""
        primary = joliet = None
        for sector in range(16, 64):
            block = self._bytes(sector * SECTOR, SECTOR, free=True)
            if block[1:6] != b'CD001':
                raise IsoError(self._no_iso(block, sector), UNSUPPORTED if block[1:6] == b'BEA01' else DAMAGED)
            if block[0] == 1 and primary is None:
                primary = block
            elif block[0] == 2 and block[88:91] in JOLIET and joliet is None:
                joliet = block
            elif block[0] == 255:
                break
        if primary is None:
            raise IsoError('the image has no primary volume descriptor')
        return primary, joliet

    def _no_iso(self, block: bytes, sector: int) -> str:
        if block[1:6] == b'BEA01' and sector == 16:
            return 'the image has a UDF file system only; build it with an ISO 9660 side'
        if self._bytes(0, 4, free=True) == b'PK\x03\x04':
            return 'the file is a zip, where an ISO 9660 image belongs'
        return f'sector {sector} is no volume descriptor; the file is not an ISO 9660 image'

    @staticmethod
    def _root_of(volume: bytes) -> Record:
        root = Record.parse(volume[156:190], 'root')
        if not root.is_dir:
            raise IsoError('the root is not a folder')
        return root

    # Entries.

    def walk(self) -> Iterator[Entry]:
        """Every entry below the root, folders before what is in them.

        :raises IsoError: the structure lies. Whether files overlap is known at the end only.
        """
        self._left = 2 * self._length
        ground = _Ground()
        ground.folder(self._root)
        count = unfolded = 0
        stack = [(self._root, '', 0)]
        while stack:
            folder, prefix, depth = stack.pop()
            names: set[str] = set()
            for entry, record in self._entries(folder, prefix, ground):
                count += 1
                unfolded += entry.size
                if count > self.limits.max_files:
                    self._limit('the image', f'has more than {self.limits.max_files} entries', 'max_files')
                if unfolded > self.limits.max_ratio * self._length:
                    self._limit(entry.path, 'and those before it are too large for the image', 'max_ratio')
                self._clash(entry, names, top=not prefix)
                if entry.is_dir:
                    if not ground.folder(record):
                        raise IsoError(
                            f'{entry.path}: its folder is contained in itself, or in another one too', UNSAFE
                        )
                    if not prefix and entry.path in MOVED and self._only_moved(record, ground):
                        continue
                    if depth + 1 > self.limits.max_depth:
                        nested = f'is nested deeper than {self.limits.max_depth} folders'
                        self._limit(entry.path, nested, 'max_depth')
                    stack.append((record, entry.path + '/', depth + 1))
                else:
                    ground.file(entry)
                yield entry
        ground.check(self._length // SECTOR)

    def read(self, entry: Entry) -> Iterator[bytes]:
        """The content of a file, in pieces of at most 256 KiB."""
        for offset, length in entry.extents:
            self._file.seek(offset)
            left = length
            while left:
                data = self._file.read(min(left, CHUNK))
                if not data:
                    raise IsoError(f'{entry.path}: the image ends inside it')
                left -= len(data)
                yield data

    def _clash(self, entry: Entry, names: set[str], *, top: bool) -> None:
        name = entry.path.rpartition('/')[2]
        if name in names:
            raise IsoError(f'{entry.path} is there twice', UNSAFE)
        names.add(name)
        # Linux trees hold such names (xt_DSCP.ko beside xt_dscp.ko), but what ovca gives a meaning must have one name.
        if top or self.limits.unique_case:
            folded = f'/{name.casefold()}'
            if folded in names:
                raise IsoError(f'{entry.path} differs from another name in its folder only by case', UNSAFE)
            names.add(folded)

    def _entries(self, folder: Record, prefix: str, ground: _Ground) -> Iterator[tuple[Entry, Record]]:
        parts: list[Record] = []
        for record in self._records(folder, prefix or '/'):
            if record.name in (SELF, PARENT):
                continue
            parts.append(record)
            if parts[0].name != record.name or (len(parts) > 1 and record.is_dir):
                raise IsoError(f'{prefix}: a file of several extents changes its name')
            if record.more:
                if record.is_dir or record.size % SECTOR:
                    raise IsoError(f'{prefix}: a file of several extents has a gap')
                continue
            facts = self._facts(record, prefix)
            if facts.moved:  # in the root it may be the folder of such folders: xorriso marks that as well
                if prefix or not self._only_moved(record, ground):
                    ground.moved.add(record.extent)
            elif facts.child is not None:
                moved = self._elsewhere(facts.child, folder, prefix)
                ground.reached.add(moved.extent)
                yield self._entry([moved], facts, prefix), moved
            else:
                yield self._entry(parts, facts, prefix), record
            parts = []
        if parts:
            raise IsoError(f'{prefix}: the last extent of a file is missing')

    def _facts(self, record: Record, where: str) -> rockridge.Facts:
        return rockridge.Facts() if self._skip is None else rockridge.facts(record, self._skip, self._bytes, where)

    def _elsewhere(self, extent: int, folder: Record, prefix: str) -> Record:
        """The folder at ``extent``, which belongs into ``folder``, as its own first records describe it."""
        first = Record(SELF, extent, SECTOR, 2, b'')
        records = self._records(first, prefix)
        own, above = next(records, None), next(records, None)
        if own is None or above is None or (own.name, own.extent, above.name) != (SELF, extent, PARENT):
            raise IsoError(f'{prefix}: a relocated folder is not where it is said to be')
        if self._facts(above, prefix).parent != folder.extent:
            raise IsoError(f'{prefix}: a relocated folder belongs to another one', UNSAFE)
        return own

    def _only_moved(self, folder: Record, ground: _Ground) -> bool:
        """Whether a folder holds nothing but folders that belong elsewhere; they are remembered."""
        found = set()
        for record in self._records(folder, MOVED[0]):
            if record.name not in (SELF, PARENT):
                if not self._facts(record, MOVED[0]).moved:
                    return False
                found.add(record.extent)
        ground.moved |= found
        return True

    def _entry(self, parts: list[Record], facts: rockridge.Facts, prefix: str) -> Entry:
        record = parts[-1]
        name = self._name(record, facts, prefix)
        if (what := flaw(name)) is not None:
            raise IsoError(f'{prefix or "the root"}: {name!r} {what}', UNSAFE)
        if len(name.encode()) > self.limits.max_name:
            self._limit(prefix + name[:40] + '...', f'is a name longer than {self.limits.max_name} bytes', 'max_name')
        path = prefix + name
        if len(path.encode()) > MAX_PATH:
            raise IsoError(f'{path[:80]}...: a path is longer than {MAX_PATH} bytes', UNSAFE)
        kind = stat.S_IFMT(facts.mode or 0)
        link = self._link(facts, path)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise IsoError(f'{path} is a device, pipe or socket; an image holds files, folders and links only', UNSAFE)
        if record.is_dir and link is not None:
            raise IsoError(f'{path} is a folder and a link at once', UNSAFE)
        if kind and (kind == stat.S_IFDIR, kind == stat.S_IFLNK) != (record.is_dir, link is not None):
            raise IsoError(f'{path} is of one kind by its record and of another by its mode')
        extents = () if record.is_dir or link is not None else self._extents(parts, path)
        mode = (0o755 if record.is_dir else 0o644) if facts.mode is None else facts.mode & 0o777
        return Entry(path, mode, sum(length for _, length in extents), extents, record.is_dir, link)

    def _name(self, record: Record, facts: rockridge.Facts, prefix: str) -> str:
        if facts.name is not None:
            return _text(facts.name, prefix)
        if self.names == 'Joliet':
            return VERSION.sub('', _text(record.name, prefix, 'utf-16-be'))
        return VERSION.sub('', _text(record.name, prefix)).rstrip('.').lower()

    def _link(self, facts: rockridge.Facts, path: str) -> str | None:
        if facts.link is None:
            return None
        link = _text(facts.link, path)
        if (what := link_flaw(link)) is not None:
            raise IsoError(f'{path} {what}', UNSAFE)
        return link

    def _extents(self, parts: list[Record], path: str) -> tuple[tuple[int, int], ...]:
        extents = tuple((part.extent * SECTOR, part.size) for part in parts if part.size)
        if any(offset + length > self._length for offset, length in extents):
            raise IsoError(f'{path} lies outside the image')
        return extents

    def _limit(self, what: str, problem: str, option: str) -> None:
        raise IsoError(f'{what} {problem} ([image] {option})', LIMIT)

    # Bytes.

    def _records(self, folder: Record, where: str) -> Iterator[Record]:
        for start in range(0, folder.size, SECTOR):
            block = self._bytes(folder.extent * SECTOR + start, min(SECTOR, folder.size - start))
            position = 0
            while position < len(block) and (length := block[position]):  # none crosses the end of a sector
                if length < 34 or position + length > len(block):
                    raise IsoError(f'{where}: a directory record is damaged')
                yield Record.parse(block[position : position + length], where)
                position += length

    def _bytes(self, offset: int, length: int, *, free: bool = False) -> bytes:
        """Read structures. None is needed more than twice, so they end unless some lead to the same bytes again."""
        if offset + length > self._length:
            raise IsoError('the image is shorter than it says')
        if not free:
            self._left -= length
            if self._left < 0:
                raise IsoError('the folders are larger together than the image', UNSAFE)
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) != length:
            raise IsoError('the image ends too early')
        return data


class _Ground:
    """Which sectors are taken. A file may be there under several names; nothing may lie across something else."""

    def __init__(self) -> None:
        # One number of 64 bits for an extent, first sector and length: a million files cost 8 MB.
        self._extents = array.array('Q')
        self._folders: set[int] = set()
        self.moved: set[int] = set()
        self.reached: set[int] = set()

    def folder(self, record: Record) -> bool:
        """Whether the folder was not there before."""
        if record.extent in self._folders:
            return False
        self._folders.add(record.extent)
        self._add(record.extent, record.size)
        return True

    def file(self, entry: Entry) -> None:
        for offset, length in entry.extents:
            self._add(offset // SECTOR, length)

    def _add(self, first: int, length: int) -> None:
        self._extents.append(first << 32 | -(-length // SECTOR))

    def check(self, sectors: int) -> None:
        """:raises IsoError: something lies across something else, or belongs nowhere, or is cut off."""
        if self.moved != self.reached:
            raise IsoError('a relocated folder belongs nowhere, or a folder stands in two places', UNSAFE)
        before = end = 0
        for extent in sorted(self._extents):
            first, length = extent >> 32, extent & 0xFFFFFFFF
            if length and first < end and (extent != before or first in self._folders):
                raise IsoError(f'two files overlap, or a file and a folder (sector {first})', UNSAFE)
            if length:
                self._gap(end, first)
                before, end = extent, max(end, first + length)
        self._gap(end, sectors)

    @staticmethod
    def _gap(end: int, first: int) -> None:
        # genisoimage -allow-limited-size: the UDF side has the right size, the ISO side what is left modulo 2^32.
        if first - end >= HOLE:
            raise IsoError(
                f'there are more than 4 GiB after sector {end} that belong to no file; a file is perhaps larger than '
                'an image of its kind can tell: build it with xorriso -as mkisofs -iso-level 3',
                UNSUPPORTED,
            )


def _text(data: bytes, where: str, encoding: str = 'utf-8') -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        kind = 'UTF-8' if encoding == 'utf-8' else 'UTF-16'
        raise IsoError(f'{where or "the root"}: a name is not {kind}', UNSAFE) from exc
