from __future__ import annotations

import datetime as dt
import io

import pytest

from ovca.cli import live
from ovca.remaster.views import EntryView, EventView
from tests.operated import Operated

AT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


class Terminal(io.StringIO):
    """A person's screen."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_download_is_a_line_for_every_tenth() -> None:
    out = io.StringIO()

    with live.RequestView(out, clock=Clock()) as view:
        for done in range(0, 101):
            view({'stage': 'download', 'done': done * 1_000_000, 'total': 100_000_000, 'text': 'x'})

    lines = out.getvalue().splitlines()
    assert lines[:2] == ['download: 0 % of 100 MB', 'download: 10 % of 100 MB']
    assert (len(lines), lines[-1]) == (11, 'download: 100 % of 100 MB')


def test_why_a_download_does_not_go_on_is_said_each_time_it_is_new() -> None:
    out, download = io.StringIO(), {'stage': 'download', 'done': 5_000_000, 'total': 100_000_000, 'text': 'x'}

    with live.RequestView(out, clock=Clock()) as view:
        for progress in ({'notice': 'busy'}, download, *2 * [{**download, 'notice': 'busy'}], download):
            view(progress)

    assert out.getvalue().splitlines() == ['busy', 'download: 5 % of 100 MB', 'busy']


def test_a_slow_download_gives_a_sign_of_life() -> None:
    out, clock = io.StringIO(), Clock()

    with live.RequestView(out, clock=clock) as view:
        for done in (1, 2, 3):
            view({'stage': 'download', 'done': done * 1_000_000, 'total': None, 'text': 'x'})
            clock.now += 20

    assert out.getvalue().splitlines() == ['download: 1.00 MB', 'download: 3.00 MB']


def test_a_line_tells_the_speed_and_the_time_that_is_left() -> None:
    out = io.StringIO()

    with live.RequestView(out, clock=Clock()) as view:
        view(
            {
                'stage': 'download',
                'done': 1_000_000,
                'total': 10_000_000,
                'bytes_per_second': 90_000,
                'seconds_left': 100,
            }
        )
        view(
            {
                'stage': 'download',
                'done': 10_000_000,
                'total': 10_000_000,
                'bytes_per_second': 90_000,
                'seconds_left': 0,
            }
        )

    assert out.getvalue().splitlines() == [
        'download: 10 % of 10.0 MB, 90.0 kB/s, 1:40 left',
        'download: 100 % of 10.0 MB, 90.0 kB/s',
    ]


def test_on_a_terminal_each_stage_has_a_bar() -> None:
    screen = Terminal()

    with live.RequestView(screen) as view:
        view({'stage': 'download', 'done': 50, 'total': 100, 'text': 'x'})
        view({'stage': 'unpack', 'done': 1, 'total': 2, 'text': 'y'})
        view.say('the database [x] is away')

    assert 'download' in screen.getvalue()
    assert 'unpack' in screen.getvalue()
    assert 'the database [x] is away' in screen.getvalue()


def test_an_event_is_one_line_and_an_alarm_stands_out() -> None:
    moved = EventView(1, AT, 'mn1', 'mn1', 'state', 'PROVING', 'INSTALL_2', 'proven')
    alarm = EventView(2, AT, None, 'mn1', 'alarm', None, None, 'the BMC is silent')

    assert live.event_line(moved) == '03:04:05Z PROVING -> INSTALL_2: proven'
    assert live.event_line(alarm) == '03:04:05Z ALARM the BMC is silent'


def test_the_node_is_named_once() -> None:
    one = EventView(1, AT, 'mn2', 'mn1', 'power', None, None, 'mn2: power cycle')
    two = EventView(2, AT, 'mn2', 'mn1', 'power', None, None, 'power cycle')

    assert live.event_line(one) == live.event_line(two)


def test_a_stage_without_an_amount_is_one_line() -> None:
    out = io.StringIO()

    with live.RequestView(out, clock=Clock()) as view:
        for _ in range(3):
            view({'stage': 'publish', 'done': 1, 'total': 1, 'text': '1.1.0'})

    assert out.getvalue() == 'publish 1.1.0\n'


def test_a_stage_is_complete_when_the_next_one_begins() -> None:
    screen = Terminal()

    with live.RequestView(screen) as view:
        view({'stage': 'download', 'done': 50, 'total': 100, 'text': 'x'})
        view({'stage': 'unpack', 'done': 10, 'total': 100, 'text': 'x'})

    assert screen.getvalue().rpartition('download')[2].count('100%') == 2


def test_a_stage_is_complete_when_the_next_one_is_but_a_moment() -> None:
    screen = Terminal()

    with pytest.raises(KeyboardInterrupt), live.RequestView(screen) as view:
        view({'stage': 'download', 'done': 50, 'total': 100, 'text': 'x'})
        view({'stage': 'publish', 'done': 1, 'total': 1, 'text': '1.1.0'})
        raise KeyboardInterrupt

    assert '100%' in screen.getvalue().rpartition('download')[2]


def test_what_could_steer_a_terminal_is_made_visible() -> None:
    out = io.StringIO()

    live.UpdateView(out).say('bad \x1b[2J words')

    assert out.getvalue() == 'bad \\x1b[2J words\n'


@pytest.mark.parametrize(
    ('entry', 'text'),
    [
        (None, '-'),
        (EntryView('mn2', '1', 1, 'waiting', None, None, AT, None), 'waiting'),
        (EntryView('mn2', '1', 2, 'installing', 41.6, 'usr', AT, None), 'installing 42 %, attempt 2 (usr)'),
        (EntryView('mn2', '1', 1, 'final', 100.0, None, AT, AT), 'final'),
    ],
)
def test_the_step_of_an_entry_in_words(entry: EntryView | None, text: str) -> None:
    assert live.step_text(entry) == text


@pytest.mark.parametrize(('seconds', 'text'), [(0, '0:00'), (61.9, '1:01'), (3725, '1 h 02 min')])
def test_a_duration_in_words(seconds: float, text: str) -> None:
    assert live.duration(seconds) == text


def test_a_long_install_without_a_terminal_gives_a_sign_of_life(operated: Operated) -> None:
    number = operated.started().update('INSTALL_1')
    service, out, clock = operated.service(), io.StringIO(), Clock()

    with live.UpdateView(out, clock=clock) as view:
        for percent in (10.0, 20.0, 30.0):
            operated.entry(number, step='installing', percent=percent)
            view(service.snapshot(number))
            clock.now += 20

    (line,) = out.getvalue().splitlines()
    assert line.endswith('INSTALL_1: mn2 installing 30 %')
