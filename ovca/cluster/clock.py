"""Time and boot of this machine, as they count for the lease."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')


def boottime() -> float:
    """Seconds since boot, suspension included; never set back, and without meaning on another machine."""
    clock = getattr(time, 'CLOCK_BOOTTIME', None)
    if clock is None:
        return time.monotonic()
    return time.clock_gettime(clock)


def boot_id(environ: Mapping[str, str] = os.environ) -> str:
    """What changes with each boot of this node: ``OVCA_BOOT_ID`` where a lab sets it, else the kernel's."""
    given = environ.get('OVCA_BOOT_ID')
    return given if given else _BOOT_ID.read_text(encoding='ascii').strip()
