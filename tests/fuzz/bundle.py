"""The reader of bundles, for any bytes: python -m tests.fuzz.bundle [corpus]"""

from __future__ import annotations

from tests.fuzz.driver import drive, harmless

LIMIT = 1 << 20
"""How many bytes a member may become here."""
PLACES = 8
"""At how many places a member is taken up here."""


def check(data: bytes) -> None:
    """Read a zip in large pieces and in small ones.

    It is refused by a ``BundleError`` or read, in both ways alike; names are harmless; no more comes out than is
    allowed. Taken up at a place that its head tells, it is refused or the same.
    """
    whole = _read(data, len(data) or 1)
    assert whole == _read(data, 61), 'what is read depends on how it arrives'
    if whole is not None:
        _take_up(data)


def _take_up(data: bytes) -> None:
    from ovca.image.bundle import Bundle, Unpacked
    from ovca.image.errors import BundleError

    bundle = Bundle(iter([data]), 'fuzz')
    while (member := bundle.next()) is not None:
        begin, content = bundle.position, b''.join(bundle.content(LIMIT))
        if member.restarts is None:
            continue
        for size in range(0, len(content), max(member.restarts.step, len(content) // PLACES, 1)):
            plain, packed = member.restarts.before(size)
            assert plain <= size
            assert packed < len(data)
            if not plain:
                continue
            again = Bundle(iter([data[:begin], data[begin + packed :]]), 'fuzz')
            try:
                while (found := again.next()) is not None and found.name != member.name:
                    b''.join(again.content(LIMIT))
                assert b''.join(again.content(LIMIT, Unpacked(iter([content[:plain]]), packed))) == content
            except BundleError as exc:
                assert harmless(exc)


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
