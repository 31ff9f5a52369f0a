"""Places in a bundle's ISO at which it can be inflated afresh: a download is taken up there without what came before.

Deflate looks back up to 32 KiB, so that whoever begins in its middle gets nonsense. After a full flush (zlib's manual,
``Z_FULL_FLUSH``) it looks back no further, and begins at a whole byte. ``image-build`` flushes after so many bytes of
the ISO each time, and writes where that is into an extra field of the member's own head (APPNOTE 6.3.10, 4.5). Other
programs pass over it. It is a hint, and signed by nobody: who follows a wrong one gets bytes that the digests refuse.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass

KIND = 0x764F
"""The extra field's id; of those that others use, none is this."""
STEP = 2 * 1024 * 1024
"""Bytes of the ISO: what an interruption costs at most of what is unpacked. A bundle of programs gets 0.07 % longer."""
_HEAD = struct.Struct('<Q')
_MOST = 15_000
"""A head has room for no more: its extra fields have 65,535 bytes, and each place takes four."""


@dataclass(frozen=True)
class Restarts:
    """``packed[n]`` is where the content's byte ``(n + 1) * step`` begins, both from the member's first byte on."""

    step: int
    packed: tuple[int, ...]

    def before(self, size: int) -> tuple[int, int]:
        """The last place of which all of ``size`` bytes are behind: in the content, and in what is packed."""
        number = min(size // self.step, len(self.packed))
        return (number * self.step, self.packed[number - 1]) if number else (0, 0)

    def field(self) -> bytes:
        """The extra field that tells them."""
        lengths = [after - before for before, after in itertools.pairwise((0, *self.packed))]
        data = _HEAD.pack(self.step) + struct.pack(f'<{len(lengths)}I', *lengths)
        return struct.pack('<HH', KIND, len(data)) + data

    @classmethod
    def parsed(cls, data: bytes, size: int, compressed: int) -> Restarts | None:
        """What a field's data tell of a member of these lengths; None if they cannot be true of it."""
        if len(data) < _HEAD.size or len(data) % 4:
            return None
        (step,) = _HEAD.unpack_from(data)
        lengths = struct.unpack_from(f'<{(len(data) - _HEAD.size) // 4}I', data, _HEAD.size)
        packed = tuple(itertools.accumulate(lengths))
        if not step or not packed or 0 in lengths or len(packed) * step >= size or packed[-1] >= compressed:
            return None
        return cls(step, packed)


def step_of(size: int, wanted: int = STEP) -> int:
    """The bytes from one place to the next in an ISO of ``size`` bytes: those wanted, or a multiple of them."""
    return wanted * max(1, -(-size // (wanted * _MOST)))


class Compressor:
    """Deflates like zlib's own, and makes a place after each ``step`` bytes but the last."""

    def __init__(self, level: int, size: int, step: int) -> None:
        self._engine = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._step, self._left, self._places = step, step, max(0, size - 1) // step
        self._length = 0
        self._packed: list[int] = []

    @property
    def blank(self) -> bytes:
        """As long as the field will be, which is written when all places are known; nothing if there will be none."""
        return Restarts(self._step, (0,) * self._places).field() if self._places else b''

    def compress(self, data: bytes | memoryview) -> bytes:
        """What comes of these bytes and is there already."""
        view, made = memoryview(data), []
        while view:
            made.append(self._engine.compress(view[: self._left]))
            taken = min(len(view), self._left)
            view, self._left = view[taken:], self._left - taken
            if not self._left:
                self._left = self._step
                if len(self._packed) < self._places:
                    made.append(self._engine.flush(zlib.Z_FULL_FLUSH))
                    self._packed.append(self._length + sum(map(len, made)))
        return self._counted(b''.join(made))

    def flush(self) -> bytes:
        """The rest."""
        return self._counted(self._engine.flush())

    def _counted(self, data: bytes) -> bytes:
        self._length += len(data)
        return data

    @property
    def restarts(self) -> Restarts:
        """The places so far."""
        return Restarts(self._step, tuple(self._packed))
