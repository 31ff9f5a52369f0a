"""Rock Ridge (IEEE P1282) in its system use fields (SUSP, P1281): names, modes, links. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ovca.image.records import SECTOR, SELF, UNSAFE, UNSUPPORTED, IsoError, Record, both

MAX_CONTINUATIONS = 32
MAX_AREA = 4 * SECTOR
Read = Callable[[int, int], bytes]


@dataclass
class Facts:
    """What the fields of one entry say; None is what they do not."""

    name: bytes | None = None
    mode: int | None = None
    links: list[bytes] | None = None
    child: int | None = None
    """The extent of a folder that stands here, but is written elsewhere (CL)."""
    parent: int | None = None
    """In ``..`` of such a folder: the extent of the one that it belongs to (PL)."""
    moved: bool = False
    """This folder is only written here, and belongs elsewhere (RE)."""
    _rooted: bool = field(default=False, repr=False)
    _joined: bool = field(default=False, repr=False)

    @property
    def link(self) -> bytes | None:
        if self.links is None:
            return None
        return b'/' if self._rooted and len(self.links) == 1 else b'/'.join(self.links)


def skipped(record: Record) -> int | None:
    """How many bytes come before the fields, told by the first record of the root; None: there is no Rock Ridge."""
    area = record.system_use
    if record.name == SELF and len(area) >= 7 and area[:2] == b'SP' and area[4:6] == b'\xbe\xef':
        return area[6]
    return None


def facts(record: Record, skip: int, read: Read, where: str) -> Facts:
    """Return what the fields of a record say. :raises IsoError: they are damaged or go in circles."""
    found = Facts()
    for signature, data in _fields(record.system_use[skip:], read, where):
        if signature == b'NM':
            if not data or data[0] & 6:
                raise IsoError(f'{where}: an entry has the name of its folder or of the one above', UNSAFE)
            found.name = (found.name or b'') + data[1:]
        elif signature == b'PX':
            found.mode = both(data, 0, where)
        elif signature == b'SL':
            _link(data[1:], found, where)
        elif signature == b'CL':
            found.child = both(data, 0, where)
        elif signature == b'PL':
            found.parent = both(data, 0, where)
        elif signature == b'RE':
            found.moved = True
        elif signature in (b'ZF', b'SF'):
            raise IsoError(f'{where}: a file is compressed or sparse within the image', UNSUPPORTED)
    return found


def _fields(area: bytes, read: Read, where: str) -> Iterator[tuple[bytes, bytes]]:
    areas: set[tuple[int, int]] = set()
    for _ in range(MAX_CONTINUATIONS):
        further = None
        position = 0
        while position + 4 <= len(area):
            signature, length = area[position : position + 2], area[position + 2]
            if signature == b'ST' or not any(area[position:]):
                break
            if length < 4 or position + length > len(area):
                raise IsoError(f'{where}: the Rock Ridge fields are damaged')
            data = area[position + 4 : position + length]
            if signature == b'CE':
                if further is not None:
                    raise IsoError(f'{where}: the Rock Ridge fields go on in two places')
                further = (both(data, 0, where) * SECTOR + both(data, 8, where), both(data, 16, where))
            else:
                yield signature, data
            position += length
        if further is None:
            return
        if further[1] > MAX_AREA:
            raise IsoError(f'{where}: a continuation area is too long')
        if further in areas:
            break
        areas.add(further)
        area = read(*further)
    raise IsoError(f'{where}: the continuation areas go in circles', UNSAFE)


def _link(data: bytes, found: Facts, where: str) -> None:
    """Add the components of one field to a link; a component may go on in the next."""
    links = found.links = [] if found.links is None else found.links
    position = 0
    while position < len(data):
        if position + 2 > len(data) or position + 2 + data[position + 1] > len(data):
            raise IsoError(f'{where}: the target of a link is damaged')
        flags, length = data[position], data[position + 1]
        if flags & ~0x0F:
            raise IsoError(f'{where}: a link points to the root of another volume', UNSUPPORTED)
        text = {2: b'.', 4: b'..', 8: b''}.get(flags & 0x0E, data[position + 2 : position + 2 + length])
        found._rooted = found._rooted or (not links and bool(flags & 8))
        if found._joined and links:
            links[-1] += text
        else:
            links.append(text)
        found._joined = bool(flags & 1)
        position += 2 + length
