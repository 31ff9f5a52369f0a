"""Inflates: with ISA-L where the extra ``fast`` is installed, else with zlib. Both give the same bytes."""

from __future__ import annotations

import importlib
import zlib
from typing import Any


def _chosen() -> tuple[str, Any]:
    try:
        return 'isal', importlib.import_module('isal.isal_zlib')
    except ImportError:
        return 'zlib', zlib


NAME, _ENGINE = _chosen()
"""``isal`` or ``zlib``: what inflates here."""
DAMAGED: tuple[type[Exception], ...] = (zlib.error, _ENGINE.error)
"""What an engine raises when the data are damaged."""


def decompressor() -> Any:
    """An engine for one member of a zip, with the methods of ``zlib.decompressobj``."""
    return _ENGINE.decompressobj(-15)


def crc32(data: bytes | memoryview, value: int = 0) -> int:
    """The CRC-32 of a zip, going on from ``value``."""
    return int(_ENGINE.crc32(data, value))
