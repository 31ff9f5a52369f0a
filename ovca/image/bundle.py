"""Reads a bundle (a zip, APPNOTE 6.3.10) as a stream, and judges each member before the next.

The members come in this order: ``manifest.json``, ``manifest.json.minisig``, ``files.json``, the ISO. Whatever else a
zip could hold is refused: other members, encryption, other methods, bytes before, between and after.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ovca.image import deflate
from ovca.image.errors import BundleError

LOCAL, CENTRAL, END, END64, LOCATOR64, DESCRIPTOR = (
    b'PK\x03\x04',
    b'PK\x01\x02',
    b'PK\x05\x06',
    b'PK\x06\x06',
    b'PK\x06\x07',
    b'PK\x07\x08',
)
IN = 256 * 1024
OUT = 1024 * 1024
MAX_NAME = 255
MAX_END = 4096
"""The zip64 end record has 44 bytes and room for a vendor's own."""


@dataclass
class Member:
    """A member whose content is read next; ``size`` is None while the zip does not tell it in advance."""

    name: str
    size: int | None
    crc: int | None
    method: int
    compressed: int | None
    zip64: bool


class Bundle:
    """A zip that arrives in pieces."""

    def __init__(self, chunks: Iterator[bytes], source: str) -> None:
        self._chunks, self.source = chunks, source
        self._buffer = memoryview(b'')
        self._seen: list[tuple[str, int, int]] = []
        self._member: Member | None = None

    def next(self) -> Member | None:
        """Return the next member, or None at the end of them.

        :raises BundleError: the zip is damaged or holds what it must not.
        """
        if self._member is not None:
            raise RuntimeError('the content of the last member was not read')
        signature = self._take(4)
        if signature == CENTRAL:
            self._finish()
            return None
        if signature != LOCAL:
            raise BundleError(self.source, 'it is not a zip file, or has bytes where none belong', id='not-a-bundle')
        fields = struct.unpack('<HHHHHIIIHH', self._take(26))
        _, flags, method, _, _, crc, compressed, size, name_length, extra_length = fields
        if not 0 < name_length <= MAX_NAME:
            raise BundleError(self.source, 'a member has no name, or one longer than 255 bytes', id='not-a-bundle')
        name = self._name(self._take(name_length))
        extra = self._take(extra_length)
        if flags & 0x41:
            raise BundleError(self.source, f'{name} is encrypted', id='not-a-bundle')
        if method not in (0, 8):
            raise BundleError(
                self.source,
                f'{name} uses compression method {method}; only store and deflate are read',
                id='not-a-bundle',
            )
        zip64 = size == 0xFFFFFFFF or compressed == 0xFFFFFFFF
        if zip64:
            size, compressed = self._zip64(extra, name, size, compressed)
        if flags & 8:
            if method == 0:
                raise BundleError(self.source, f'{name} is stored without its size in front', id='not-a-bundle')
            self._member = Member(name, None, None, method, None, zip64)
        else:
            self._member = Member(name, size, crc, method, compressed, zip64)
        return self._member

    def content(self, limit: int) -> Iterator[bytes | memoryview]:
        """Yield the present member's content, and check its size and CRC at the end.

        :raises BundleError: it is longer than ``limit`` bytes, damaged, or not as long as it says.
        """
        member = self._member
        if member is None:
            raise RuntimeError('there is no member to read')
        if member.size is not None and member.size > limit:
            raise BundleError(
                self.source, f'{member.name} has {member.size} bytes, more than the {limit} allowed', id='bundle-unsafe'
            )
        size = crc = 0
        for data in self._inflate(member) if member.method == 8 else self._stored(member):
            size += len(data)
            if size > limit:
                raise BundleError(
                    self.source, f'{member.name} has more than the {limit} bytes allowed', id='bundle-unsafe'
                )
            crc = deflate.crc32(data, crc)
            yield data
        if member.size is None:
            self._descriptor(member)
        if size != member.size or crc != member.crc:
            raise BundleError(self.source, f'{member.name} is damaged: size or CRC differ')
        self._seen.append((member.name, size, crc))
        self._member = None

    def _stored(self, member: Member) -> Iterator[memoryview]:
        left = member.compressed or 0
        while left:
            data = self._some(min(left, OUT))
            left -= len(data)
            yield data

    def _inflate(self, member: Member) -> Iterator[bytes]:
        engine = deflate.decompressor()
        left = member.compressed
        consumed = 0
        while not engine.eof:
            data = engine.unconsumed_tail
            if not data:
                want = IN if left is None else min(IN, left - consumed)
                # Without more input the engine may still hold output that did not fit into the last piece.
                data = self._some(want) if want > 0 else b''
                consumed += len(data)
            try:
                out = engine.decompress(data, OUT)
            except deflate.DAMAGED as exc:
                raise BundleError(self.source, f'{member.name} is damaged: {exc}') from exc
            if out:
                yield out
            elif not data:
                raise BundleError(self.source, f'{member.name} is damaged: it goes on after its end')
        consumed -= len(engine.unused_data)
        self._buffer = memoryview(engine.unused_data + bytes(self._buffer))
        if left is not None and consumed != left:
            raise BundleError(self.source, f'{member.name} is damaged: it ends before its end')

    def _descriptor(self, member: Member) -> None:
        head = self._take(4)
        crc = head if head != DESCRIPTOR else self._take(4)
        rest = self._take(16 if member.zip64 else 8)
        member.crc = struct.unpack('<I', crc)[0]
        member.size = struct.unpack('<QQ' if member.zip64 else '<II', rest)[1]

    def _zip64(self, extra: bytes, name: str, size: int, compressed: int) -> tuple[int, int]:
        position = 0
        while position + 4 <= len(extra):
            kind, length = struct.unpack_from('<HH', extra, position)
            if kind == 1:
                values = iter(struct.unpack_from(f'<{length // 8}Q', extra, position + 4))
                try:
                    size = next(values) if size == 0xFFFFFFFF else size
                    compressed = next(values) if compressed == 0xFFFFFFFF else compressed
                except StopIteration:
                    break
                return size, compressed
            position += 4 + length
        raise BundleError(self.source, f'{name}: its zip64 sizes are missing', id='not-a-bundle')

    def _name(self, data: bytes) -> str:
        try:
            name = data.decode('utf-8')
        except UnicodeDecodeError as exc:
            raise BundleError(self.source, 'a member has a name that is not UTF-8', id='bundle-unsafe') from exc
        if '/' in name or '\\' in name or '\0' in name or name in ('.', '..'):
            raise BundleError(self.source, f'the member {name!r} would leave its folder', id='bundle-unsafe')
        return name

    def _finish(self) -> None:
        """Check the central directory against what was read, and that nothing follows it."""
        listed = []
        signature = CENTRAL
        while signature == CENTRAL:
            fields = struct.unpack('<HHHHHHIIIHHHHHII', self._take(42))
            crc, compressed, size, lengths = fields[6], fields[7], fields[8], fields[9:12]
            name = self._name(self._take(lengths[0]))
            extra = self._take(lengths[1])
            self._take(lengths[2])
            if size == 0xFFFFFFFF:
                size, _ = self._zip64(extra, name, size, compressed)
            listed.append((name, size, crc))
            if len(listed) > len(self._seen):
                break
            signature = self._take(4)
        if listed != self._seen:
            raise BundleError(self.source, 'its directory lists other members than it holds', id='bundle-unsafe')
        if signature == END64:
            length = struct.unpack('<Q', self._take(8))[0]
            if length > MAX_END:
                raise BundleError(self.source, 'its end is damaged')
            self._take(length)
            signature = self._take(4)
            if signature == LOCATOR64:
                self._take(16)
                signature = self._take(4)
        if signature != END:
            raise BundleError(self.source, 'its end is damaged')
        comment = struct.unpack('<H', self._take(18)[16:18])[0]
        self._take(comment)
        if self._buffer or any(self._chunks):
            raise BundleError(self.source, 'there are bytes after its end')

    def _some(self, limit: int) -> memoryview:
        if not self._buffer:
            self._buffer = memoryview(next(self._chunks, b''))
            if not self._buffer:
                raise BundleError(self.source, 'it ends too early')
        data, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return data

    def _take(self, count: int) -> bytes:
        parts = []
        while count:
            data = self._some(count)
            parts.append(data)
            count -= len(data)
        return b''.join(parts)
