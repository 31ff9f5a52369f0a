"""The long run of all proofs: shares of the time, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.soak import PARTS, ROOT, Part, run, share


def test_each_part_gets_its_share_of_what_is_left() -> None:
    parts = [Part('a', ('a',), 3), Part('b', ('b',), 1)]

    assert share(80, parts[0], parts[1:]) == 60
    assert share(50, parts[1], []) == 50, 'what the first one left goes to the second'


def test_a_part_that_fails_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    good = run(Part('good', ('timeit', '-n', '1', 'pass'), 1, timed=False), 60)
    bad = run(Part('bad', ('timeit', '--no-such-option'), 1, timed=False), 60)

    assert (good.bad, bad.bad) == (False, True)
    assert 'FAILED' in str(bad)


def test_a_part_that_does_not_know_its_time_is_cut_off() -> None:
    long = run(Part('long', ('timeit', '-n', '1', 'import time; time.sleep(60)'), 1, timed=False), 0.5)

    assert (long.status, long.bad) == (None, False)
    assert 'cut off' in str(long)


@pytest.mark.extra('lab')
@pytest.mark.parametrize('part', PARTS, ids=lambda part: part.words[0])
def test_each_part_is_built_and_takes_seconds(part: Part) -> None:
    done = subprocess.run([sys.executable, '-m', *part.words, '--help'], cwd=ROOT, capture_output=True, text=True)

    assert (part.here, done.returncode) == (True, 0), done.stderr
    assert '--seconds' in done.stdout
