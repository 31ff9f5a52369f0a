"""What a soak of fault runs says in the end."""

from __future__ import annotations

from dataclasses import replace

from tests.faults.__main__ import summary
from tests.faults.plan import plan
from tests.faults.run import Report


def test_the_summary_counts_and_names_what_failed() -> None:
    plans = [replace(plan(seed), faults=plan(seed).faults[:1]) for seed in (0, 1, 2)]
    reports = [
        Report(plans[0], 'DONE', list(plans[0].faults)),
        Report(plans[1], 'DONE'),
        Report(plans[2], 'FAILED_FORWARD', list(plans[2].faults), ['two served']),
    ]

    lines = summary(reports).splitlines()

    assert lines == [
        '3 runs: 1 postgresql, 2 sqlite',
        '2 faults of 3 planned: 1 kill, 1 pause',
        'ends: 2 DONE, 1 FAILED_FORWARD',
        '1 wrong',
        '  python -m tests.faults --runs 1 --seed 2 --engine sqlite',
    ]


def test_a_run_that_failed_tells_its_story_and_how_to_repeat_it() -> None:
    bad = Report(plan(7), 'DONE', problems=['two served'], story=['12:00 it began'])
    good = Report(plan(7), 'DONE', story=['12:00 it began'])

    for line in ('WRONG: two served', '12:00 it began', '--seed 7'):
        assert line in str(bad)
        assert line not in str(good)
