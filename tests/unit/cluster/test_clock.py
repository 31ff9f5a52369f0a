from __future__ import annotations

from pathlib import Path

import pytest

from ovca.cluster import clock


def test_time_since_boot_goes_on_and_is_the_kernels() -> None:
    first = clock.boottime()
    second = clock.boottime()

    assert 0 < first <= second


def test_without_the_kernels_clock_the_monotonic_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr('time.CLOCK_BOOTTIME', raising=False)

    assert clock.boottime() > 0


def test_a_lab_sets_the_boot_of_each_of_its_nodes() -> None:
    assert clock.boot_id({'OVCA_BOOT_ID': 'second'}) == 'second'
    assert clock.boot_id({}) == Path('/proc/sys/kernel/random/boot_id').read_text().strip()
