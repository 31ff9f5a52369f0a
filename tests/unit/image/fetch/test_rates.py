"""The limit for the rate, and the rate below which a source is given up."""

from __future__ import annotations

import pytest

from ovca.image.fetch.rates import BURST, LowSpeed, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize('piece', [1, 999, 1000, 4096, 250_000])
def test_over_time_it_is_exactly_the_rate(piece: int) -> None:
    clock = Clock()
    pace = Pace(1000, clock=clock)

    for _ in range(200):
        clock.now += pace.spend(piece)

    assert clock.now - 100 == pytest.approx(200 * piece / 1000)


def test_sleeping_too_long_is_made_up_for() -> None:
    clock = Clock()
    pace = Pace(1000, clock=clock)

    for _ in range(1000):
        clock.now += pace.spend(100) + 0.01

    assert clock.now - 100 == pytest.approx(100, abs=0.02)


def test_after_a_pause_there_is_no_storm() -> None:
    clock = Clock()
    pace = Pace(1000, clock=clock)
    pace.spend(1000)

    clock.now += 3600
    waits = [pace.spend(100) for _ in range(10)]

    assert waits[-1] == pytest.approx(1.0 - BURST)


def test_several_who_spend_share_the_rate() -> None:
    clock = Clock()
    pace = Pace(1000, clock=clock)

    waits = [pace.spend(500) for _ in range(4)]

    assert waits == pytest.approx([0.5, 1.0, 1.5, 2.0])


def test_without_a_limit_nobody_waits() -> None:
    pace = Pace(0)

    assert pace.spend(10**12) == 0.0
    assert pace.piece(4096) == 4096


def test_with_a_low_limit_pieces_are_small() -> None:
    assert Pace(100_000).piece(10**6) == 12_500
    assert Pace(1).piece(10**6) == 1024


def test_a_source_that_gives_too_little_is_found() -> None:
    watch = LowSpeed(1000, 10)
    watch.saw(10_000, 10.0)
    watch.saw(4999, 5.0)

    with pytest.raises(TimeoutError, match='less than 1000 bytes a second came for 10 s'):
        watch.saw(4999, 5.0)


def test_the_time_in_which_nobody_asked_does_not_count() -> None:
    watch = LowSpeed(1000, 10)

    for _ in range(1000):
        watch.saw(1, 0.001)


def test_without_a_limit_no_source_is_too_slow() -> None:
    LowSpeed(0, 1).saw(0, 3600)
