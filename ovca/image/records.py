"""Directory records of ISO 9660 (ECMA-119, 9.1), and what is wrong with them. Standard library only."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ovca.image.names import shown

SECTOR = 2048
DAMAGED, UNSAFE, UNSUPPORTED, LIMIT = 'iso-damaged', 'iso-unsafe', 'iso-unsupported', 'image-limit'
LITTLE, BIG = struct.Struct('<xBI4xI11xBBB4xB'), struct.Struct('>6xI4xI')
"""The numbers of a record that count, those of 32 bits in each byte order."""
SELF, PARENT = b'\0', b'\1'


class IsoError(OSError):
    """The image is not an ISO that can be read safely; the text says where, ``id`` names the situation."""

    def __init__(self, text: str, id: str = DAMAGED) -> None:
        super().__init__(shown(text))
        self.id = id


def both(data: bytes, at: int, where: str) -> int:
    """Return a number that is there in both byte orders. :raises IsoError: they differ."""
    if len(data) < at + 8:
        raise IsoError(f'{where}: a record is too short')
    little, big = struct.unpack_from('<I', data, at)[0], struct.unpack_from('>I', data, at + 4)[0]
    if little != big:
        raise IsoError(f'{where}: a number is {little} in one byte order and {big} in the other')
    return int(little)


@dataclass(frozen=True)
class Record:
    """One entry of a folder, as it is on the disk; a file of several extents has as many."""

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
        """Whether another extent of the same file follows."""
        return bool(self.flags & 0x80)

    @classmethod
    def parse(cls, data: bytes, where: str) -> Record:
        """:raises IsoError: it is damaged, or uses what no usual writer does."""
        attributes, extent, size, flags, unit, gap, length = LITTLE.unpack_from(data)
        if (extent, size) != BIG.unpack_from(data):
            both(data, 2, where)
            both(data, 10, where)
        if 33 + length > len(data) or not length:
            raise IsoError(f'{where}: a name is longer than its record')
        if attributes or unit or gap or flags & 4:
            raise IsoError(f'{where}: a file is interleaved, or has extended attributes or a second part', UNSUPPORTED)
        after = 33 + length + (1 - length % 2)
        return cls(data[33 : 33 + length], extent, size, flags, data[after:])
