"""Reads ISO 9660 images (ECMA-119) with Rock Ridge names (IEEE P1282): standard library only, and trusting nothing.

Every number in an image may lie. No name leaves its folder, no extent the file, no chain of records goes in circles.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SECTOR = 2048
CHUNK = 256 * 1024
MAX_DEPTH = 64
MAX_ENTRIES = 2_000_000
MAX_CONTINUATIONS = 32


class IsoError(OSError):
    """The image is not an ISO that can be read safely; the text says where."""


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

    def __init__(self, path: Path, *, stream: BinaryIO | None = None, length: int = 0) -> None:
        self.path = path
        self._file: BinaryIO = stream or path.open('rb')
        try:
            self._length = length if stream else os.fstat(self._file.fileno()).st_size
            self._start()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Iso:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _start(self) -> None:
        for sector in range(16, 64):
            block = self._bytes(sector * SECTOR, SECTOR)
            if block[1:6] != b'CD001':
                raise IsoError(f'sector {sector} is no volume descriptor; the file is not an ISO 9660 image')
            if block[0] == 1:
                self.volume_id = block[40:72].decode('ascii', 'replace').strip()
                if struct.unpack_from('<H', block, 128)[0] != SECTOR:
                    raise IsoError('the image has a block size other than 2048')
                self._root = _Record.parse(block[156:190], 'root')
                self._skip = self._susp_skip()
                return
            if block[0] == 255:
                break
        raise IsoError('the image has no primary volume descriptor')

    def _susp_skip(self) -> int:
        first = self._directory(self._root.extent, min(self._root.size, SECTOR), 'root')
        for record in first:
            area = record.system_use
            if record.name == b'\0' and len(area) >= 7 and area[:2] == b'SP' and area[4:6] == b'\xbe\xef':
                return area[6]
            break
        return 0

    def walk(self) -> Iterator[Entry]:
        """Every entry below the root, folders before what is in them.

        :raises IsoError: the structure lies.
        """
        seen = {self._root.extent}
        count = 0
        stack = [(self._root, '', 0)]
        while stack:
            folder, prefix, depth = stack.pop()
            if depth > MAX_DEPTH:
                raise IsoError(f'{prefix}: folders are nested deeper than {MAX_DEPTH}')
            names: set[str] = set()
            for entry, record in self._entries(folder, prefix):
                count += 1
                if count > MAX_ENTRIES:
                    raise IsoError(f'the image has more than {MAX_ENTRIES} entries')
                if entry.path in names:
                    raise IsoError(f'{entry.path} is there twice')
                names.add(entry.path)
                yield entry
                if entry.is_dir:
                    if record.extent in seen:
                        raise IsoError(f'{entry.path}: its folder is contained in itself, or in another one too')
                    seen.add(record.extent)
                    stack.append((record, entry.path + '/', depth + 1))

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

    def _entries(self, folder: _Record, prefix: str) -> Iterator[tuple[Entry, _Record]]:
        parts: list[_Record] = []
        for record in self._directory(folder.extent, folder.size, prefix or '/'):
            if record.name in (b'\0', b'\1'):
                continue
            parts.append(record)
            if record.more:  # a file in several extents: the same name follows
                if parts[0].name != record.name or record.is_dir:
                    raise IsoError(f'{prefix}: a file of several extents changes its name')
                continue
            yield self._entry(parts, prefix), record
            parts = []
        if parts:
            raise IsoError(f'{prefix}: the last extent of a file is missing')

    def _entry(self, parts: list[_Record], prefix: str) -> Entry:
        record = parts[-1]
        name, mode, link, relocated = self._rock_ridge(record, prefix)
        if relocated:
            raise IsoError(f'{prefix}{name}: relocated folders are not supported; build the ISO without them')
        if not name or name in ('.', '..') or '/' in name or '\\' in name or '\0' in name:
            raise IsoError(f'{prefix}: {name!r} is not a name that a file may have')
        if len(name.encode()) > 255:
            raise IsoError(f'{prefix}: a name is longer than 255 bytes')
        kind = stat.S_IFMT(mode)
        is_link = link is not None or kind == stat.S_IFLNK
        if kind and kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise IsoError(f'{prefix}{name} is a device, pipe or socket; an image holds files, folders and links only')
        if record.is_dir and is_link:
            raise IsoError(f'{prefix}{name} is a folder and a link at once')
        extents = []
        if not record.is_dir and not is_link:
            for part in parts:
                offset = part.extent * SECTOR
                if part.size and offset + part.size > self._length:
                    raise IsoError(f'{prefix}{name} lies outside the image')
                if part.size:
                    extents.append((offset, part.size))
        size = sum(length for _, length in extents)
        permissions = stat.S_IMODE(mode) & 0o777 or (0o755 if record.is_dir else 0o644)
        return Entry(prefix + name, permissions, size, tuple(extents), record.is_dir, link if is_link else None)

    def _rock_ridge(self, record: _Record, prefix: str) -> tuple[str, int, str | None, bool]:
        name, named, mode, relocated = b'', False, 0, False
        links: list[bytes] = []
        linked, joined = False, False
        for signature, data in self._fields(record, prefix):
            if signature == b'NM' and len(data) >= 1:
                name, named = name + data[1:], True
            elif signature == b'PX' and len(data) >= 4:
                mode = struct.unpack_from('<I', data)[0]
            elif signature == b'SL' and len(data) >= 1:
                linked = True
                joined = _components(data[1:], links, joined)
            elif signature in (b'CL', b'PL', b'RE'):
                relocated = True
        if named:
            text = _text(name, prefix)
        else:
            text = _text(record.name, prefix).split(';')[0].rstrip('.').lower()
        link = None
        if linked:
            link = _text(b'/'.join(links), prefix) or '/'
        return text, mode, link, relocated

    def _fields(self, record: _Record, prefix: str) -> Iterator[tuple[bytes, bytes]]:
        area = record.system_use[self._skip :]
        for _ in range(MAX_CONTINUATIONS):
            further = None
            position = 0
            while position + 4 <= len(area):
                signature, length = area[position : position + 2], area[position + 2]
                if length < 4 or position + length > len(area):
                    break
                data = area[position + 4 : position + length]
                if signature == b'ST':
                    break
                if signature == b'CE' and len(data) >= 24:
                    block, offset, size = (struct.unpack_from('<I', data, at)[0] for at in (0, 8, 16))
                    further = (block * SECTOR + offset, size)
                else:
                    yield signature, data
                position += length
            if further is None:
                return
            if further[1] > SECTOR * 4:
                raise IsoError(f'{prefix}: a continuation area is too long')
            area = self._bytes(*further)
        raise IsoError(f'{prefix}: the continuation areas go in circles')

    def _directory(self, extent: int, size: int, where: str) -> Iterator[_Record]:
        if size > 256 * 1024 * 1024:
            raise IsoError(f'{where}: the folder is too large')
        data = self._bytes(extent * SECTOR, size)
        position = 0
        while position < len(data):
            length = data[position]
            if length == 0:  # records do not cross sectors
                position = (position // SECTOR + 1) * SECTOR
                continue
            if length < 34 or position + length > len(data):
                raise IsoError(f'{where}: a directory record is damaged')
            yield _Record.parse(data[position : position + length], where)
            position += length

    def _bytes(self, offset: int, length: int) -> bytes:
        if offset + length > self._length:
            raise IsoError('the image is shorter than it says')
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) != length:
            raise IsoError('the image ends too early')
        return data


@dataclass(frozen=True)
class _Record:
    name: bytes
    extent: int
    size: int
    flags: int
    system_use: bytes

    @property
    def is_dir(self) -> bool:
        return bool(self.flags & 2)

    @property
    def more(self) -> bool:
        return bool(self.flags & 0x80)

    @classmethod
    def parse(cls, data: bytes, where: str) -> _Record:
        extent, size = struct.unpack_from('<I', data, 2)[0], struct.unpack_from('<I', data, 10)[0]
        length = data[32]
        if 33 + length > len(data) or not length:
            raise IsoError(f'{where}: a name is longer than its record')
        after = 33 + length + (1 - length % 2)
        return cls(data[33 : 33 + length], extent, size, data[25], data[after:])


def _components(data: bytes, links: list[bytes], joined: bool) -> bool:
    position = 0
    while position + 2 <= len(data):
        flags, length = data[position], data[position + 1]
        text = data[position + 2 : position + 2 + length]
        text = {2: b'.', 4: b'..', 8: b''}.get(flags & 0x0E, text)
        if joined and links:
            links[-1] += text
        else:
            links.append(text)
        joined = bool(flags & 1)
        position += 2 + length
    return joined


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError as exc:
        raise IsoError(f'{where}: a name is not UTF-8') from exc
