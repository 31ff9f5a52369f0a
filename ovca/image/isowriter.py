"""Writes ISO 9660 images (ECMA-119) with Rock Ridge names (IEEE P1282): the same bytes for the same trees.

The plain names are numbers; every reader that knows Rock Ridge, the Linux kernel's among them, shows the true ones.
Directory records lie before the file data, so that a reader of a stream meets a name before its content.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ovca.exceptions import UsageError
from ovca.image.iso9660 import SECTOR
from ovca.image.names import flaw, link_flaw, shown

CHUNK = 256 * 1024
SECTION = 0xFFFFFFFF // SECTOR * SECTOR
"""The most bytes that one record tells of a file; a larger file has several, each of whole sectors but the last."""
MORE = 0x80
"""The flag of a record after which there is another one of the same file."""
MAX_RECORD = 254
DATE = bytes((100, 1, 1, 0, 0, 0, 0))
LONG_DATE = b'2000010100000000\0'
NO_DATE = b'0' * 16 + b'\0'


@dataclass
class Node:
    """A file, folder or link of the image to be; ``sha256`` is known once it is written."""

    path: str
    mode: int
    source: Path | None = None
    size: int = 0
    link: str | None = None
    children: dict[str, Node] = field(default_factory=dict)
    extent: int = 0
    sha256: str = ''
    number: int = 0
    parent: Node | None = None

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def name(self) -> str:
        return self.path.rpartition('/')[2]


def folder_node(path: str, mode: int = 0o755) -> Node:
    """An empty folder."""
    return Node(path, stat.S_IFDIR | mode)


def add_file(parent: Node, name: str, source: Path) -> None:
    """Put one file into a folder. :raises UsageError: it is no file that an image can hold."""
    _need_name(name, source)
    path = f'{parent.path}/{name}' if parent.path else name
    facts = source.lstat()
    if stat.S_ISLNK(facts.st_mode):
        link = os.readlink(source)  # noqa: PTH115 pathlib would change a/./b
        problem = link_flaw(link) if _is_text(link) else 'points to a path that is not UTF-8'
        if problem is None and len(link.encode()) > 1024:
            problem = 'points to a path longer than 1024 bytes'
        if problem is not None:
            raise _unfit(source, f'{problem}; change it')
        node = Node(path, stat.S_IFLNK | 0o777, link=link)
    elif stat.S_ISREG(facts.st_mode):
        node = Node(path, stat.S_IFREG | stat.S_IMODE(facts.st_mode) & 0o777, source, facts.st_size)
    else:
        raise _unfit(source, 'is neither file, folder nor link; take it out of the tree')
    parent.children[name] = node


def add_tree(parent: Node, name: str, source: Path) -> None:
    """Put a folder with all that is in it into another. :raises UsageError: it holds what an image cannot hold."""
    if not source.is_dir():
        raise UsageError(f'{source} is not a folder; name the folder whose content becomes {name}', id='no-such-path')
    path = f'{parent.path}/{name}' if parent.path else name
    node = parent.children[name] = folder_node(path, stat.S_IMODE(source.stat().st_mode) & 0o777)
    for child in sorted(source.iterdir()):
        if not child.is_symlink() and child.is_dir():  # who follows a link may be refused
            _need_name(child.name, child)
            add_tree(node, child.name, child)
        else:
            add_file(node, child.name, child)


def _need_name(name: str, source: Path) -> None:
    """Let the name of a file or folder pass. :raises UsageError: no image can hold it."""
    if not _is_text(name):
        raise _unfit(source, 'has a name that is not UTF-8; rename it')
    if len(name.encode()) > 255:
        raise _unfit(source, 'has a name longer than 255 bytes; shorten it')
    if (problem := flaw(name)) is not None:
        raise _unfit(source, f'{problem}; rename it')


def _is_text(text: str) -> bool:
    """Whether a name is UTF-8; Python has halves of characters for bytes that are not (PEP 383)."""
    return not any('\ud800' <= char <= '\udfff' for char in text)


def _unfit(source: Path, what: str) -> UsageError:
    return UsageError(f'{shown(str(source))} {what}', id='unfit-tree')


def write_iso(root: Node, stream: BinaryIO, volume_id: str, *, section: int = SECTION) -> tuple[int, str, list[Node]]:
    """Write the image; return its size, its SHA-256 in hex, and its files and links with theirs.

    A file of more than ``section`` bytes becomes several sections that follow each other (ECMA-119, 6.5.1).

    :raises UsageError: the trees are too large for an image, or a file changed while it was read.
    """
    folders, files = _ordered(root)
    tables = [_path_table(folders, '<'), _path_table(folders, '>')]  # the lengths are right before the extents are
    position = 18
    table_extents = []
    for table in tables:
        table_extents.append(position)
        position += _sectors(len(table))
    sizes: dict[str, int] = {}
    for node in folders:
        area = _Area(0)
        sizes[node.path] = len(_directory(node, sizes, area, section))
    for node in folders:
        node.extent, node.size = position, sizes[node.path]
        position += node.size // SECTOR
    area = _Area(position)
    for node in folders:
        _directory(node, sizes, area, section)
    position += len(area.data) // SECTOR
    for node in files:
        if node.link is None and node.size:
            node.extent = position
            position += _sectors(node.size)
    if position > 0xFFFFFFFF:
        raise UsageError('the trees are larger together than 8 TiB; an image cannot hold them', id='unfit-tree')
    area = _Area(folders[-1].extent + folders[-1].size // SECTOR)
    output = _Hashed(stream)
    output.write(bytes(16 * SECTOR))
    output.write(_volume(root, volume_id, position, len(tables[0]), table_extents))
    output.write(_pad(b'\xffCD001\x01'))
    for order in '<>':
        output.write(_pad(_path_table(folders, order)))
    for node in folders:
        output.write(_directory(node, sizes, area, section))
    output.write(area.data)
    for node in files:
        if node.link is None:
            _copy(node, output)
    return output.size, output.digest.hexdigest(), files


class _Hashed:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.size, self.digest = stream, 0, hashlib.sha256()

    def write(self, data: bytes | bytearray) -> None:
        self._stream.write(data)
        self.digest.update(data)
        self.size += len(data)


class _Area:
    """The continuation areas: what does not fit into a directory record. None of them crosses a sector."""

    def __init__(self, extent: int) -> None:
        self.extent, self.data, self._at = extent, bytearray(), 0

    def put(self, fields: list[bytes]) -> bytes:
        """Store fields; return the field ``CE`` that leads to them."""
        data = b''.join(fields)
        if len(data) > SECTOR:
            raise UsageError(
                'a name and link are longer together than an image can hold; shorten the link', id='unfit-tree'
            )
        if self._at + len(data) > len(self.data):
            self._at = len(self.data)
            self.data += bytes(SECTOR)
        self.data[self._at : self._at + len(data)] = data
        block, offset = divmod(self._at, SECTOR)
        self._at += len(data)
        return b'CE\x1c\x01' + _both(self.extent + block) + _both(offset) + _both(len(data))


def _ordered(root: Node) -> tuple[list[Node], list[Node]]:
    folders = [root]
    files: list[Node] = []
    for node in folders:  # it grows: breadth first, as the path table wants it
        for number, (_, child) in enumerate(sorted(node.children.items(), key=lambda item: item[0].encode()), 1):
            child.number, child.parent = number, node
            (folders if child.is_dir else files).append(child)
    return folders, sorted(files, key=lambda n: n.path.encode())


def _directory(node: Node, sizes: dict[str, int], area: _Area, section: int) -> bytes:
    """A folder's records. Their size does not depend on the extents, so it can be asked for before they are known."""
    parent = node.parent or node
    dot = [_field(b'PX', _px(node))]
    if node.parent is None:
        marker = b'RRIP_1991A'
        dot = [_field(b'SP', b'\xbe\xef\0'), *dot, area.put([_field(b'ER', bytes((len(marker), 0, 0, 1)) + marker)])]
    records = [
        _record(b'\0', node.extent, sizes.get(node.path, 0), 2, dot),
        _record(b'\1', parent.extent, sizes.get(parent.path, 0), 2, [_field(b'PX', _px(parent))]),
    ]
    for child in sorted(node.children.values(), key=lambda n: n.number):
        fields = [_field(b'PX', _px(child))]
        rest = [*_names(child.name), *(_links(child.link) if child.link is not None else ())]
        identifier = b'%08d' % child.number + (b'' if child.is_dir else b'.;1')
        room = MAX_RECORD - 34 - len(identifier) - sum(map(len, fields))
        fields += rest if sum(map(len, rest)) <= room else [area.put(rest)]
        if child.is_dir:
            records.append(_record(identifier, child.extent, sizes.get(child.path, 0), 2, fields))
            continue
        # Readers differ in whether they take the name from the first or the last record; so it is in each.
        for start in range(0, child.size or 1, section):
            size = min(section, child.size - start)
            more = MORE if start + size < child.size else 0
            records.append(_record(identifier, child.extent + start // SECTOR, size, more, fields))
    data = bytearray()
    for record in records:
        if len(data) % SECTOR + len(record) > SECTOR:
            data += bytes(-len(data) % SECTOR)
        data += record
    return _pad(bytes(data))


def _record(identifier: bytes, extent: int, size: int, flags: int, fields: list[bytes]) -> bytes:
    body = (
        _both(extent) + _both(size) + DATE + bytes((flags, 0, 0)) + _both16(1) + bytes((len(identifier),)) + identifier
    )
    body += bytes(len(body) % 2) + b''.join(fields)  # two bytes come before it, so the parity is that of the whole
    body += bytes(len(body) % 2)
    return bytes((len(body) + 2, 0)) + body


def _field(signature: bytes, data: bytes) -> bytes:
    return signature + bytes((len(data) + 4, 1)) + data


def _px(node: Node) -> bytes:
    links = 2 + sum(c.is_dir for c in node.children.values()) if node.is_dir else 1
    return _both(node.mode) + _both(links) + _both(0) + _both(0)


def _names(name: str) -> Iterator[bytes]:
    data = name.encode()
    while len(data) > 250:
        yield _field(b'NM', b'\1' + data[:250])
        data = data[250:]
    yield _field(b'NM', b'\0' + data)


def _links(target: str) -> list[bytes]:
    """The fields ``SL`` of a link: its target by components, a long one in several pieces."""
    components: list[bytes] = []
    for place, part in enumerate(target.split('/')):
        if not part:  # the root, or one slash more, which is part of the link
            components.append(b'\0\0' if place else b'\x08\0')
            continue
        data = part.encode()
        flags = {b'.': 2, b'..': 4}.get(data, 0)
        if flags:
            components.append(bytes((flags, 0)))
            continue
        while len(data) > 240:
            components.append(bytes((1, 240)) + data[:240])
            data = data[240:]
        components.append(bytes((0, len(data))) + data)
    packed, current = [], b''
    for component in components:
        if len(current) + len(component) > 248:
            packed.append(current)
            current = b''
        current += component
    packed.append(current)
    return [_field(b'SL', bytes((place < len(packed) - 1,)) + data) for place, data in enumerate(packed)]


def _path_table(folders: list[Node], order: str) -> bytes:
    places = {id(node): place for place, node in enumerate(folders, 1)}
    table = bytearray()
    for node in folders:
        name = b'%08d' % node.number if node.parent else b'\0'
        parent = min(places[id(node.parent or node)], 0xFFFF)
        table += struct.pack(f'{order}BBIH', len(name), 0, node.extent, parent) + name + bytes(len(name) % 2)
    return bytes(table)


def _volume(root: Node, volume_id: str, sectors: int, table_size: int, tables: list[int]) -> bytes:
    space = b' ' * 128
    name = volume_id.upper().encode('ascii', 'replace')[:32].ljust(32)
    data = b'\1CD001\1\0' + b' ' * 32 + name + bytes(8) + _both(sectors) + bytes(32)
    data += _both16(1) + _both16(1) + _both16(SECTOR) + _both(table_size)
    data += struct.pack('<II', tables[0], 0) + struct.pack('>II', tables[1], 0)
    data += _record(b'\0', root.extent, root.size, 2, [])
    data += space * 4 + b' ' * 37 * 3 + LONG_DATE * 2 + NO_DATE * 2 + b'\1\0'
    return _pad(data)


def _copy(node: Node, output: _Hashed) -> None:
    digest, size = hashlib.sha256(), 0
    assert node.source is not None
    with node.source.open('rb') as source:
        while data := source.read(CHUNK):
            size += len(data)
            if size > node.size:
                break
            digest.update(data)
            output.write(data)
    if size != node.size:
        raise UsageError(
            f'{node.source} changed while the image was made; repeat when nobody writes to the tree', id='tree-changed'
        )
    output.write(bytes(-size % SECTOR))
    node.sha256 = digest.hexdigest()


def _sectors(size: int) -> int:
    return -(-size // SECTOR)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % SECTOR)


def _both(value: int) -> bytes:
    return struct.pack('<I', value) + struct.pack('>I', value)


def _both16(value: int) -> bytes:
    return struct.pack('<H', value) + struct.pack('>H', value)
