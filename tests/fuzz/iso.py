"""The reader of ISOs, for any bytes: python -m tests.fuzz.iso [corpus]"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path
from typing import Any

from tests.fuzz.driver import drive, harmless

SECTOR = 2048
BOTH = re.compile(rb'(?=(?!\0{4})(.)(.)(.)(.)\4\3\2\1)', re.DOTALL)
"""A number in both byte orders, other than 0."""
STRUCTURES = 64 * SECTOR
"""Where the structures of the kept images end, more or less."""
READ = 4 * 1024 * 1024
"""How much content of files is read."""
LEAST = 34
"""The shortest record of an entry."""


def check(data: bytes) -> None:
    """Walk through an image twice.

    It is refused by an ``IsoError`` or read; paths are harmless and there once, folders come before what is in them;
    the work is no more than a small multiple of the image.
    """
    descriptor = os.memfd_create('fuzz')
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        first, second = _walk(descriptor, len(data)), _walk(descriptor, len(data))
        assert first == second
    finally:
        os.close(descriptor)


def _walk(descriptor: int, length: int) -> list[Any] | None:
    from ovca.image.iso9660 import Iso, IsoError
    from ovca.image.limits import Limits

    taken = 0

    class Counted(Iso):
        def _bytes(self, offset: int, length: int, *, free: bool = False) -> bytes:
            nonlocal taken
            taken += length
            return super()._bytes(offset, length, free=free)

    limits, entries, left = Limits(), [], READ
    try:
        with Counted(Path(f'/proc/self/fd/{descriptor}'), limits) as iso:
            for entry in iso.walk():
                entries.append(entry)
                left -= entry.size
                if left > 0:
                    assert sum(map(len, iso.read(entry))) == entry.size
    except IsoError as exc:
        assert harmless(exc), 'the sentence would disturb a terminal'
        entries = []
        found = None
    else:
        found = entries
    assert taken <= 6 * length + 64 * 2048, f'{taken} bytes of structures were read from {length}'
    assert len(entries) <= 4 * length // LEAST
    _judge(entries, length, limits)
    return found


def _judge(entries: list[Any], length: int, limits: Any) -> None:
    from ovca.image.names import MAX_PATH, flaw, link_flaw

    folders, paths = {''}, set()
    for entry in entries:
        parts = entry.path.split('/')
        assert not any(flaw(part) for part in parts)
        assert len(entry.path.encode()) <= MAX_PATH
        assert entry.path not in paths
        assert '/'.join(parts[:-1]) in folders
        assert entry.link is None or link_flaw(entry.link) is None
        assert entry.mode & ~0o777 == 0
        assert all(offset >= 0 and offset + size <= length for offset, size in entry.extents)
        assert entry.size == sum(size for _, size in entry.extents)
        paths.add(entry.path)
        if entry.is_dir:
            folders.add(entry.path)
    assert sum(entry.size for entry in entries) <= limits.max_ratio * length


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Change a number in both of its byte orders, or copy one structure over another."""
    changed = bytearray(data)
    if len(changed) < 17 * SECTOR:
        return data
    places = [found.start() for found in BOTH.finditer(data, 16 * SECTOR, STRUCTURES)]
    if places and chance.random() < 0.7:
        at = chance.choice(places)
        near = int.from_bytes(changed[at : at + 4], 'little') + chance.choice([-1, 1, 2048, -2048])
        value = chance.choice(
            [0, 1, 2047, 2**31, 2**32 - 1, chance.randrange(64), near % 2**32, _other(changed, chance, places)]
        )
        changed[at : at + 4], changed[at + 4 : at + 8] = value.to_bytes(4, 'little'), value.to_bytes(4, 'big')
    else:
        length = chance.choice([4, 28, 36, SECTOR])
        start, target = (chance.randrange(16 * SECTOR, len(changed) - length + 1) for _ in range(2))
        if length == SECTOR:
            start, target = start // SECTOR * SECTOR, target // SECTOR * SECTOR
        changed[target : target + length] = changed[start : start + length]
    return bytes(changed)


def _other(data: bytearray, chance: random.Random, places: list[int]) -> int:
    at = chance.choice(places)
    return int.from_bytes(data[at : at + 4], 'little')


if __name__ == '__main__':
    modules = ('ovca.image.iso9660', 'ovca.image.rockridge', 'ovca.image.records', 'ovca.image.names')
    drive(check, *modules, mutate=mutate)
