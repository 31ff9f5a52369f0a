"""Reads the memory of other processes again and again, so that it does not sleep: python bench/awake.py SECONDS PID...

The host of a virtual machine may take back what its guest has not used for a second or two. Whoever uses it next waits
for the host, and that wait counts as processor time of the guest's process. What is read by this process is awake, and
the cost of reading it is this process's own.
"""

from __future__ import annotations

import array
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PAUSE = 0.3
"""Seconds between two rounds."""
PRESENT = 1 << 63
"""Of an entry in /proc/PID/pagemap: the page is in memory (proc_pid_pagemap(5))."""


def resident(pid: int) -> Iterator[tuple[int, int]]:
    """Address and length of what a process has in memory."""
    page = os.sysconf('SC_PAGE_SIZE')
    with Path(f'/proc/{pid}/pagemap').open('rb', buffering=0) as entries:
        for line in Path(f'/proc/{pid}/maps').read_text().splitlines():
            if line.endswith(('[vvar]', '[vsyscall]', '[vvar_vclock]')):
                continue
            start, end = (int(part, 16) for part in line.split()[0].split('-'))
            entries.seek(start // page * 8)
            there = array.array('Q', entries.read((end - start) // page * 8))
            begun = None
            for number, entry in enumerate([*there, 0]):
                if entry & PRESENT:
                    begun = number if begun is None else begun
                elif begun is not None:
                    yield start + begun * page, (number - begun) * page
                    begun = None


def main() -> None:
    """Read for so long."""
    end, pids = time.monotonic() + float(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    memories = [(os.open(f'/proc/{pid}/mem', os.O_RDONLY), list(resident(pid))) for pid in pids]
    while time.monotonic() < end:
        for memory, ranges in memories:
            for address, length in ranges:
                with contextlib.suppress(OSError):  # given back meanwhile
                    os.pread(memory, length, address)
        time.sleep(PAUSE)


if __name__ == '__main__':
    main()
