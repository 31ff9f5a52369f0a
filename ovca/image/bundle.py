"""Reads a bundle (a zip, APPNOTE 6.3.10) as a stream, and judges each member before the next.

The members come in this order: ``manifest.json``, ``manifest.json.minisig``, ``files.json``, the ISO. Whatever else a
zip could hold is refused: other members, encryption, other methods, bytes before, between and after, and a directory
that tells another story than the members do, so that no other program reads something else out of the same file.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ovca.image import deflate
from ovca.image.errors import BundleError
from ovca.image.limits import Limits
from ovca.image.names import flaw
from ovca.image.restarts import KIND, Restarts

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
MAX_MEMBERS = 16
MAX_END = 4096
"""The zip64 end record has 44 bytes and room for a vendor's own."""
SMALL = 16 * 1024 * 1024
"""What a member may always become, whatever its ratio."""
ENCRYPTED, BEHIND, HINTS, KNOWN = 0x2041, 0x0008, 0x0006, 0x080E
"""Bits of the flags: encrypted in one of three ways, sizes behind the data, hints on compression, all that are read."""
UNIX = (3, 19)
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
"""These values mean: too large for this field, see zip64."""


@dataclass
class Member:
    """A member whose content is read next; ``size`` is None while the zip does not tell it in advance."""

    name: str
    size: int | None
    crc: int | None
    method: int
    compressed: int | None
    flags: int
    offset: int
    told: tuple[int, int, int] = (0, 0, 0)
    """CRC, compressed size and size, as they stand before the data although they follow it."""
    restarts: Restarts | None = None
    """Where its content can be inflated from, if it tells that."""


@dataclass(frozen=True)
class Unpacked:
    """What is known of a member's content already: its first bytes, which come of its first ``packed`` bytes."""

    content: Iterator[bytes]
    packed: int


@dataclass(frozen=True)
class _Read:
    """What was found out about a member; the directory must say the same of it."""

    name: str
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


class Bundle:
    """A zip that arrives in pieces."""

    def __init__(self, chunks: Iterator[bytes], source: str, limits: Limits | None = None) -> None:
        self._chunks = (chunk for chunk in chunks if chunk)
        self.source, self.limits = source, limits or Limits()
        self._buffer = memoryview(b'')
        self._position = 0
        self._seen: list[_Read] = []
        self._member: Member | None = None

    def next(self) -> Member | None:
        """Return the next member, or None at the end of them.

        :raises BundleError: the zip is damaged or holds what it must not.
        """
        if self._member is not None:
            raise RuntimeError('the content of the last member was not read')
        offset = self._position
        signature = self._take(4)
        if signature == CENTRAL:
            self._finish(offset)
            return None
        if signature != LOCAL:
            raise BundleError(self.source, 'it is not a zip file, or has bytes where none belong', id='not-a-bundle')
        fields = struct.unpack('<HHHHHIIIHH', self._take(26))
        _, flags, method, _, _, crc, compressed, size, name_length, extra_length = fields
        name = self._name(name_length)
        extra = self._extra(self._take(extra_length), name)
        if name.casefold() in {seen.name.casefold() for seen in self._seen}:
            raise BundleError(self.source, f'it holds {name} twice, or in two cases', id='bundle-unsafe')
        if len(self._seen) == MAX_MEMBERS:
            raise BundleError(self.source, f'it holds more than {MAX_MEMBERS} members', id='not-a-bundle')
        self._readable(name, flags, method)
        if FULL32 in (compressed, size):
            size, compressed, _ = self._zip64(extra, name, size, compressed)
        if flags & BEHIND and method == 0 and not 0 < size == compressed:
            raise BundleError(self.source, f'{name} is stored without its size in front', id='not-a-bundle')
        if flags & BEHIND:
            told = (crc, compressed, size)
            self._member = Member(name, None, None, method, None, flags, offset, told)
        else:
            restarts = Restarts.parsed(extra[KIND], size, compressed) if method == 8 and KIND in extra else None
            self._member = Member(name, size, crc, method, compressed, flags, offset, restarts=restarts)
        return self._member

    def need(self) -> Member:
        """As :meth:`next`. :raises BundleError: there is none, too."""
        member = self.next()
        if member is None:
            raise BundleError(self.source, 'a member is missing', id='not-a-bundle')
        return member

    @property
    def position(self) -> int:
        """How far it was read: after :meth:`next`, where the content of the member begins."""
        return self._position

    def content(self, limit: int, unpacked: Unpacked | None = None) -> Iterator[bytes | memoryview]:
        """Yield the present member's content, and check its size and CRC at the end.

        With ``unpacked`` the pieces go on after the member's head where that ends: at one of its :class:`Restarts`.

        :raises BundleError: it is longer than ``limit`` bytes, damaged, or not as long as it says.
        """
        member = self._member
        if member is None:
            raise RuntimeError('there is no member to read')
        if member.size is not None and member.size > limit:
            raise BundleError(
                self.source, f'{member.name} has {member.size} bytes, more than the {limit} allowed', id='bundle-unsafe'
            )
        if member.size is not None and member.compressed is not None:
            self._ratio(member.name, member.size, member.compressed)
        size = crc = 0
        start = self._position
        most = limit + limit // 8 + SMALL
        for data in self._inflate(member, unpacked, most) if member.method == 8 else self._stored(member):
            size += len(data)
            if size > limit:
                raise BundleError(
                    self.source, f'{member.name} has more than the {limit} bytes allowed', id='bundle-unsafe'
                )
            self._ratio(member.name, size, self._position - start)
            crc = deflate.crc32(data, crc)
            yield data
        compressed = self._position - start
        if member.size is None:
            self._descriptor(member, crc, compressed, size)
        elif (size, crc, compressed) != (member.size, member.crc, member.compressed):
            raise BundleError(self.source, f'{member.name} is damaged: size or CRC differ')
        self._seen.append(_Read(member.name, member.flags, member.method, crc, compressed, size, member.offset))
        self._member = None

    def _readable(self, name: str, flags: int, method: int) -> None:
        if flags & ENCRYPTED:
            raise BundleError(self.source, f'{name} is encrypted', id='not-a-bundle')
        if method not in (0, 8):
            raise BundleError(
                self.source,
                f'{name} uses compression method {method}; only store and deflate are read',
                id='not-a-bundle',
            )
        if flags & ~KNOWN:
            raise BundleError(self.source, f'{name} uses features of zip that no bundle needs', id='not-a-bundle')

    def _ratio(self, name: str, size: int, received: int) -> None:
        if size > SMALL and size > self.limits.max_ratio * received:
            raise BundleError(
                self.source,
                f'{name} becomes more than {self.limits.max_ratio} times as large as what was received '
                '([image] max_ratio)',
                id='image-limit',
            )

    def _stored(self, member: Member) -> Iterator[memoryview]:
        left = member.told[1] if member.compressed is None else member.compressed  # bsdtar tells it twice
        while left:
            data = self._some(min(left, OUT))
            left -= len(data)
            yield data

    def _inflate(self, member: Member, unpacked: Unpacked | None, most: int) -> Iterator[bytes]:
        """Inflate at most so many bytes: blocks without content could go on for ever, and become nothing."""
        engine = deflate.decompressor()
        left = member.compressed
        consumed = 0
        if unpacked is not None:
            consumed = unpacked.packed
            self._position += consumed
            yield from unpacked.content
        while not engine.eof:
            data = engine.unconsumed_tail
            if not data:
                want = IN if left is None else min(IN, left - consumed)
                # Without more input the engine may still hold output that did not fit into the last piece.
                data = self._some(want) if want > 0 else b''
                consumed += len(data)
                if consumed > most:
                    raise BundleError(
                        self.source, f'{member.name} is packed into more bytes than it may have', id='bundle-unsafe'
                    )
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
        self._position -= len(engine.unused_data)
        if left is not None and consumed != left:
            raise BundleError(self.source, f'{member.name} is damaged: it ends before its end')

    def _descriptor(self, member: Member, crc: int, compressed: int, size: int) -> None:
        """Take what follows the data. Writers leave the signature out or not, and use 4 or 8 bytes for a size."""
        found = (crc, compressed, size)
        if any(told not in (0, FULL32, right) for told, right in zip(member.told, found, strict=True)):
            raise BundleError(self.source, f'{member.name} is damaged: size or CRC differ')
        for form in ('<IQQ', '<III'):
            if form == '<III' and max(found) > FULL32:
                continue
            data = struct.pack(form, *found)
            for descriptor in (DESCRIPTOR + data, data):
                if self._next_is(descriptor):
                    self._take(len(descriptor))
                    return
        raise BundleError(self.source, f'{member.name} is damaged: size or CRC differ')

    def _extra(self, data: bytes, name: str) -> dict[int, bytes]:
        """The extra fields by their kind."""
        found: dict[int, bytes] = {}
        position = 0
        while position + 4 <= len(data):
            kind, length = struct.unpack_from('<HH', data, position)
            value = data[position + 4 : position + 4 + length]
            if len(value) != length or kind in found:
                raise BundleError(self.source, f'{name}: its extra fields are damaged', id='not-a-bundle')
            found[kind] = value
            position += 4 + length
        if any(data[position:]):
            raise BundleError(self.source, f'{name}: its extra fields are damaged', id='not-a-bundle')
        if (other := found.get(0x7075, b'')[5:]) and other != name.encode():
            raise BundleError(self.source, f'{name} has another name for other programs', id='bundle-unsafe')
        return found

    def _zip64(
        self, extra: dict[int, bytes], name: str, size: int, compressed: int, offset: int = 0
    ) -> tuple[int, int, int]:
        """Return the three numbers, those from the extra field that are too large for their own."""
        data = extra.get(1, b'')
        values = iter(struct.unpack(f'<{len(data) // 8}Q', data[: len(data) // 8 * 8]))
        try:
            size = next(values) if size == FULL32 else size
            compressed = next(values) if compressed == FULL32 else compressed
            offset = next(values) if offset == FULL32 else offset
        except StopIteration:
            raise BundleError(self.source, f'{name}: its zip64 sizes are missing', id='not-a-bundle') from None
        return size, compressed, offset

    def _name(self, length: int) -> str:
        """Take the name of a member."""
        if not 0 < length <= MAX_NAME:
            raise BundleError(self.source, 'a member has no name, or one longer than 255 bytes', id='not-a-bundle')
        try:
            name = self._take(length).decode('utf-8')
        except UnicodeDecodeError as exc:
            raise BundleError(self.source, 'a member has a name that is not UTF-8', id='bundle-unsafe') from exc
        what = 'holds a backslash' if '\\' in name else flaw(name)
        if what is not None:
            raise BundleError(self.source, f'the member {name[:80]!r} {what}', id='bundle-unsafe')
        return name

    def _finish(self, start: int) -> None:
        """Check the directory, which begins at ``start``, against what was read, and that nothing follows it."""
        for number, seen in enumerate(self._seen):
            if number and self._take(4) != CENTRAL:
                raise BundleError(self.source, 'its directory lists fewer members than it holds', id='bundle-unsafe')
            self._compare(self._listed(), seen)
        end = self._position
        signature = self._take(4)
        if signature == CENTRAL:
            raise BundleError(self.source, 'its directory lists members that it does not hold', id='bundle-unsafe')
        right = (0, 0, len(self._seen), len(self._seen), end - start, start)
        large = signature == END64
        if large:
            signature = self._end64(end, right)
        if signature != END:
            raise BundleError(self.source, 'its end is damaged')
        *told, comment = struct.unpack('<HHHHIIH', self._take(18))
        full = (FULL16,) * 4 + (FULL32,) * 2
        if any(t != r and not (large and t == f) for t, r, f in zip(told, right, full, strict=True)):
            raise BundleError(self.source, 'its end tells another directory than it has', id='bundle-unsafe')
        if END in self._take(comment):
            raise BundleError(self.source, 'its comment holds another end', id='bundle-unsafe')
        if self._buffer or any(self._chunks):
            raise BundleError(self.source, 'there are bytes after its end')

    def _listed(self) -> _Read:
        """Read an entry of the directory, after its signature."""
        fields = struct.unpack('<HHHHHHIIIHHHHHII', self._take(42))
        maker, _, flags, method, _, _, crc, compressed, size = fields[:9]
        name_length, extra_length, comment, disk, _, attributes, offset = fields[9:]
        name = self._name(name_length)
        extra = self._extra(self._take(extra_length), name)
        self._take(comment)
        if FULL32 in (size, compressed, offset):
            size, compressed, offset = self._zip64(extra, name, size, compressed, offset)
        kind = stat.S_IFMT(attributes >> 16) if maker >> 8 in UNIX else 0
        if kind not in (0, stat.S_IFREG) or attributes & 0x10:
            raise BundleError(self.source, f'{name} is no file, but a link, folder or device', id='bundle-unsafe')
        if disk not in (0, FULL16):
            raise BundleError(self.source, 'it is one of several parts of a zip', id='not-a-bundle')
        return _Read(name, flags, method, crc, compressed, size, offset)

    def _compare(self, listed: _Read, seen: _Read) -> None:
        pairs = {
            'name': (listed.name, seen.name),
            'place': (listed.offset, seen.offset),
            'size': ((listed.size, listed.compressed), (seen.size, seen.compressed)),
            'CRC': (listed.crc, seen.crc),
            'method': (listed.method, seen.method),
            'set of flags': (listed.flags & ~HINTS, seen.flags & ~HINTS),
        }
        for what, (told, right) in pairs.items():
            if told != right:
                raise BundleError(
                    self.source, f'its directory tells another {what} of {seen.name} than is there', id='bundle-unsafe'
                )

    def _end64(self, start: int, right: tuple[int, ...]) -> bytes:
        """Read the end of a zip64, and return the signature that follows."""
        (length,) = struct.unpack('<Q', self._take(8))
        if not 44 <= length <= MAX_END:
            raise BundleError(self.source, 'its end is damaged')
        told = struct.unpack_from('<IIQQQQ', self._take(length), 4)
        if told != right:
            raise BundleError(self.source, 'its end tells another directory than it has', id='bundle-unsafe')
        if self._take(4) != LOCATOR64 or struct.unpack('<IQI', self._take(16)) != (0, start, 1):
            raise BundleError(self.source, 'its end is damaged')
        return self._take(4)

    def _next_is(self, data: bytes) -> bool:
        """Whether these bytes come next; nothing is taken."""
        while len(self._buffer) < len(data):
            more = next(self._chunks, b'')
            if not more:
                return False
            self._buffer = memoryview(bytes(self._buffer) + more)
        return self._buffer[: len(data)] == data

    def _some(self, limit: int) -> memoryview:
        if not self._buffer:
            self._buffer = memoryview(next(self._chunks, b''))
            if not self._buffer:
                raise BundleError(self.source, 'it ends too early')
        data, self._buffer = self._buffer[:limit], self._buffer[limit:]
        self._position += len(data)
        return data

    def _take(self, count: int) -> bytes:
        parts = []
        while count:
            data = self._some(count)
            parts.append(data)
            count -= len(data)
        return b''.join(parts)
