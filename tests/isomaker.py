"""ISO 9660 images made by hand, in which every number can be a lie."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable
from pathlib import Path

SECTOR = 2048
DATE = bytes((124, 1, 1, 0, 0, 0, 0))
ROOT = 20


def both(value: int) -> bytes:
    return struct.pack('<I', value & 0xFFFFFFFF) + struct.pack('>I', value & 0xFFFFFFFF)


def field(signature: bytes, data: bytes = b'') -> bytes:
    return signature + bytes((len(data) + 4, 1)) + data


def named(name: bytes, flags: int = 0) -> bytes:
    return field(b'NM', bytes((flags,)) + name)


def mode(value: int) -> bytes:
    return field(b'PX', both(value) + both(1) + both(0) + both(0))


def link(*components: bytes, flags: int = 0) -> bytes:
    """A field ``SL`` of raw components; see :func:`part`."""
    return field(b'SL', bytes((flags,)) + b''.join(components))


def part(text: bytes, flags: int = 0) -> bytes:
    return bytes((flags, len(text))) + text


def further(sector: int, offset: int, size: int) -> bytes:
    return field(b'CE', both(sector) + both(offset) + both(size))


SHARING = field(b'SP', b'\xbe\xef\0')
FILE, FOLDER, LINK = mode(stat.S_IFREG | 0o644), mode(stat.S_IFDIR | 0o755), mode(stat.S_IFLNK | 0o777)


def record(
    identifier: bytes,
    extent: int,
    size: int,
    flags: int = 0,
    fields: bytes = b'',
    *,
    attributes: int = 0,
    unit: int = 0,
    gap: int = 0,
) -> bytes:
    body = both(extent) + both(size) + DATE + bytes((flags, unit, gap)) + struct.pack('<H', 1) + struct.pack('>H', 1)
    body += bytes((len(identifier),)) + identifier
    body += bytes(len(body) % 2) + fields
    body += bytes(len(body) % 2)
    return bytes((len(body) + 2, attributes)) + body


def file(name: bytes, extent: int, size: int, fields: bytes = b'', flags: int = 0) -> bytes:
    return record(name.upper()[:8] + b';1', extent, size, flags, named(name) + FILE + fields)


def folder(name: bytes, extent: int, size: int = SECTOR, fields: bytes = b'') -> bytes:
    return record(name.upper()[:8], extent, size, 2, named(name) + FOLDER + fields)


def listing(own: int, parent: int, *records: bytes, first: bytes = b'', above: bytes = b'') -> bytes:
    """The sectors of a folder."""
    data = record(b'\0', own, SECTOR, 2, first) + record(b'\1', parent, SECTOR, 2, above)
    for each in records:
        if len(data) % SECTOR + len(each) > SECTOR:
            data += bytes(-len(data) % SECTOR)
        data += each
    return data + bytes(-len(data) % SECTOR)


def volume(root: int, size: int, sectors: int, kind: int = 1, escape: bytes = b'') -> bytes:
    data = bytearray(SECTOR)
    data[0:7] = bytes((kind,)) + b'CD001\1'
    data[40:72] = b'BY_HAND'.ljust(32)
    data[80:88] = both(sectors)
    data[88:91] = escape.ljust(3, b'\0')
    data[128:132] = struct.pack('<H', SECTOR) + struct.pack('>H', SECTOR)
    data[156:190] = record(b'\0', root, size, 2)
    return bytes(data)


TERMINATOR = b'\xffCD001\1'.ljust(SECTOR, b'\0')


def image(
    records: Iterable[bytes] = (),
    others: dict[int, bytes] | None = None,
    *,
    rock_ridge: bool = True,
    joliet: int | None = None,
    sectors: int = 64,
) -> bytes:
    """An image whose root (at sector 20) holds ``records``; ``others`` lie at their sectors."""
    root = listing(ROOT, ROOT, *records, first=SHARING if rock_ridge else b'')
    data = bytearray(sectors * SECTOR)
    descriptors = [volume(ROOT, len(root), sectors)]
    if joliet is not None:
        descriptors.append(volume(joliet, SECTOR, sectors, 2, b'%/E'))
    parts = {16: b''.join([*descriptors, TERMINATOR]), ROOT: root, **(others or {})}
    for sector, content in parts.items():
        data[sector * SECTOR : sector * SECTOR + len(content)] = content
    return bytes(data)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
