"""The reader of bundles, for any bytes: python -m tests.fuzz.bundle [corpus]"""

from __future__ import annotations

from tests.fuzz.driver import drive, harmless

LIMIT = 1 << 20
"""How many bytes a member may become here."""


def check(data: bytes) -> None:
    """Read a zip in large pieces and in small ones.

    It is refused by a ``BundleError`` or read, in both ways alike; names are harmless; no more comes out than is
    allowed.
    """
    whole = _read(data, len(data) or 1)
    assert whole == _read(data, 61), 'what is read depends on how it arrives'


def _read(data: bytes, size: int) -> list[tuple[str, int, int]] | None:
    from ovca.image.bundle import MAX_MEMBERS, OUT, Bundle
    from ovca.image.deflate import crc32
    from ovca.image.errors import BundleError
    from ovca.image.limits import Limits
    from ovca.image.names import flaw

    found: list[tuple[str, int, int]] = []
    bundle = Bundle((data[at : at + size] for at in range(0, len(data), size)), 'fuzz', Limits(max_ratio=100))
    try:
        while (member := bundle.next()) is not None:
            assert flaw(member.name) is None
            assert len(found) < MAX_MEMBERS
            length = crc = 0
            for piece in bundle.content(LIMIT):
                assert len(piece) <= OUT
                length += len(piece)
                crc = crc32(piece, crc)
            assert length <= LIMIT
            found.append((member.name, length, crc))
    except BundleError as exc:
        assert harmless(exc), 'the sentence would disturb a terminal'
        return None
    return found


if __name__ == '__main__':
    drive(check, 'ovca.image.bundle')
