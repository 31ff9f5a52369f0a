from __future__ import annotations

from ovca.daemon.meter import Meter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_speed_and_time_left_come_from_the_last_seconds() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    told = []
    for second in range(31):
        clock.now = float(second)
        done = second * 100 if second <= 15 else 1500 + (second - 15) * 10
        told.append(meter.read('download', done, 2000))

    assert told[0] == (None, None)
    assert told[10] == (100, 10)
    assert told[30] == (10, 35)


def test_a_new_stage_and_a_new_beginning_are_measured_anew() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    meter.read('download', 0, None)
    clock.now = 1.0
    assert meter.read('download', 500, None) == (500, None)

    assert meter.read('unpack', 10, 100) == (None, None)
    clock.now = 2.0
    assert meter.read('unpack', 5, 100) == (None, None)


def test_what_stands_still_has_no_end() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    meter.read('download', 500, 1000)
    clock.now = 5.0

    assert meter.read('download', 500, 1000) == (0, None)
