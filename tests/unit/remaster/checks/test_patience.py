"""What hangs is not waited for, and is not asked again: neither a call, nor a check, nor what the loop looks at."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ovca import conf
from ovca.db.models import Image, Request
from ovca.image import Store
from ovca.remaster.checks import Check, CheckContext, CheckResult, Result, answer, run_all
from ovca.remaster.checks.patience import NoAnswer, Patience
from ovca.remaster.checks.stages import stage_checks
from ovca.remaster.protocol import State
from tests.hanging import calls, dead

from .conftest import Checked

Install = Callable[..., None]
ASKED = {'args': {}, 'created_by': 'otto', 'created_at': dt.datetime(2026, 11, 30, tzinfo=dt.UTC)}
VENDOR = """
import threading

from ovca.remaster.checks import Check

RELEASE, CALLS = threading.Event(), []


class Hangs(Check):
    api = 1
    id = 'hangs'

    def patience(self):
        return 0.3  # the others have as long as a busy machine needs

    def check(self):
        CALLS.append(self)
        RELEASE.wait(60)
        return self.passed('it answers again')


class Slow(Hangs):
    id = 'slow'

    def patience(self):
        return 60.0

    def check(self):
        threading.Event().wait(0.6)
        return self.passed('it took its time')
"""


def test_what_answers_is_passed_on_and_so_is_what_it_raises() -> None:
    patience = Patience()

    assert patience.call('x', lambda: 7, 30) == 7
    with pytest.raises(TimeoutError, match='its own'):
        patience.call('x', raises, 30)


def raises() -> None:
    raise TimeoutError('its own')


def test_a_call_that_hangs_is_made_again_only_when_it_has_returned() -> None:
    patience, release, made = Patience(), threading.Event(), list[str]()

    def work() -> str:
        made.append(threading.current_thread().name)
        release.wait(60)
        return 'back'

    for _ in range(3):
        with pytest.raises(NoAnswer, match=r'it did not answer within 0\.1 s'):
            patience.call('storage', work, 0.1)
    during = len(made)
    other = patience.call('another', lambda: 'well', 30)
    release.set()
    patience._hanging['storage'].join(30)

    assert (during, other) == (1, 'well')
    assert patience.call('storage', work, 30) == 'back'


def test_a_check_that_hangs_has_failed_and_the_others_are_answered(checked: Checked, install: Install) -> None:
    entries = {'hangs': 'vendorchecks:Hangs', 'slow': 'vendorchecks:Slow'}
    install('vendor', {'ovca.check': entries}, vendorchecks=VENDOR)
    checked.config.set('check', enabled=['hangs', 'slow'])
    patience, only = Patience(), ['hangs', 'lease', 'slow']
    settings = checked.config.load()
    import vendorchecks

    rounds = [run_all(settings, checked.database, None, only=only, patience=patience) for _ in range(2)]
    asked = len(vendorchecks.CALLS)
    vendorchecks.RELEASE.set()
    patience._hanging['hangs'].join(30)
    vendorchecks.Hangs.patience = lambda self: 60.0
    again = run_all(settings, checked.database, None, only=['hangs'], patience=patience)

    for lease, hangs, slow in rounds:
        assert (lease.result, slow.result) == (Result.PASSED, Result.PASSED)
        assert (hangs.result, hangs.detail) == (Result.FAILED, 'it did not answer within 0.3 s')
        assert 'raise [check] timeout' in hangs.remedy
    assert (asked, again[0].detail) == (1, 'it answers again')


def test_what_a_check_says_can_be_shown_and_kept_whatever_is_in_it(checked: Checked) -> None:
    class Odd(Check):
        id = 'odd'

        def check(self) -> CheckResult:
            return self.warning('rack "Süd" has a file etc/M\udcfcller', 'look\0 \x1b[2Jthere')

    found = answer('odd', lambda: Odd(CheckContext(checked.config.load(), checked.database, None)), Patience())

    assert found.detail == 'rack "Süd" has a file etc/M\\udcfcller'
    assert found.remedy == 'look\\x00 \\x1b[2Jthere'
    with checked.database.write() as session:
        session.add(Request(kind='update', state='failed', error=f'{found.detail}; {found.remedy}', **ASKED))


@pytest.fixture
def published(checked: Checked) -> Path:
    """The list of files of an image that is here, with nothing unusual about it."""
    checked.image()
    checked.config.set('check', timeout=1)
    return Store.from_conf(checked.config.load()).files_json('1.1.0')


def test_dead_storage_fails_the_checks_before_a_stage_and_no_threads_pile_up(checked: Checked, published: Path) -> None:
    patience, settings, before = Patience(), checked.config.load(), calls('image')

    def image() -> str:
        results = stage_checks(settings, checked.database, '1.1.0', State.PROVING, patience=patience)
        return next(result.detail for result in results if result.id == 'image')

    with dead(published):
        found = [image() for _ in range(4)]
        threads = calls('image') - before
    patience._hanging['image'].join(30)
    settings.set_override('timeout', 60.0, 'check')

    assert found == 4 * ['it did not answer within 1 s']
    assert threads == 1
    assert image() == 'the files of image 1.1.0 are there'


def test_the_check_that_reads_all_of_an_image_has_time_for_it(checked: Checked, published: Path) -> None:
    from ovca.remaster.checks import CheckContext
    from ovca.remaster.checks.image import ImageVerified

    with checked.database.write() as session:
        session.get_one(Image, '1.1.0').size = 4_000_000_000
    settings = conf.load(str(checked.config.path))

    assert ImageVerified(CheckContext(settings, checked.database, '1.1.0')).patience() == pytest.approx(801)
    assert ImageVerified(CheckContext(settings, checked.database, None)).patience() == pytest.approx(1)
