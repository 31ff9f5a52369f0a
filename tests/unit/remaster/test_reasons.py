"""What is written down when an update ends: why, for whoever has to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.db.models import Entry, Node, Update
from tests.mastered import Master
from tests.operated import NEW, Operated


@pytest.fixture
def operated(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    appliance = Operated(tmp_path, url=database_url).started().image('1.1.0', NEW)
    yield appliance
    appliance.close()


def test_a_node_that_stays_ill_is_told_with_what_ails_it(operated: Operated) -> None:
    master = Master(operated)
    operated.update('VERIFY_1')
    operated.entry(1, final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    master.change(
        Node,
        'mn2',
        health='unhealthy',
        unhealthy_since=master.now(),
        health_detail={'storage': 'read only'},
        ready=False,
    )
    master.later(301)
    master.run()

    assert master.update().state == 'FAILED_DEGRADED'
    assert master.update().reason == 'the target stays unhealthy (mn2: storage: read only)'
    assert master.node('mn2').quarantine_reason == 'update 1: the target stays unhealthy (mn2: storage: read only)'


def test_the_end_of_a_roll_back_tells_why_it_began(operated: Operated) -> None:
    master = Master(operated, runs=NEW, version='1.1.0', rollback_deadline=60)
    operated.update('PROVING', first='mn1', second='mn2')
    operated.entry(1, 'mn1', final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    master.change(
        Node, 'mn1', health='unhealthy', unhealthy_since=master.now(), health_detail={'broken': 'it is broken'}
    )
    master.alive = {'mn1'}
    master.later(301)
    master.run()
    assert master.update().state == 'ROLLBACK'
    master.later(61)
    master.run()

    assert (master.update().state, master.update().reason) == (
        'FAILED_DEGRADED',
        'the old node is not ready by the deadline; it was rolled back because: the new master stays unhealthy '
        '(mn1: broken: it is broken)',
    )


def test_when_the_old_node_leads_again_the_reason_is_why_it_had_to(operated: Operated) -> None:
    master = Master(operated)
    operated.update('PROVING')
    master.run()

    assert (master.update().state, master.update().reason) == ('FAILED_ROLLED_BACK', 'the old node leads')
    assert master.node('mn2').quarantine_reason == 'update 1: the old node leads'


@pytest.mark.parametrize(
    ('facts', 'words'),
    [
        ({'step': 'power cycle'}, 'power cycle'),
        ({'step': 'installing', 'percent': 40.2}, 'installing 40 %'),
        ({'step': 'failed', 'step_detail': 'no space on /'}, 'failed, no space on /'),
    ],
)
def test_used_up_attempts_tell_the_last_that_was_heard(
    operated: Operated, facts: dict[str, object], words: str
) -> None:
    master = Master(operated, attempts=1, install_deadline=60, order_interval=5)
    operated.update('INSTALL_1')
    operated.entry(1)
    master.run()
    master.change(Entry, (1, 'mn2'), step_at=master.now(), **facts)
    master.later(61)
    master.run()

    assert (master.update().state, master.update().reason) == (
        'FAILED_DEGRADED',
        f'the attempts are used up (the last that was heard of mn2, attempt 1: {words})',
    )


def test_an_abort_tells_who_wanted_it(operated: Operated) -> None:
    master = Master(operated)
    operated.update('INSTALL_1')
    operated.entry(1)
    operated.wiped(1)
    master.change(Update, 1, abort_requested_at=master.now(), abort_reason='the rack must be moved')
    master.run()

    assert master.update().reason == 'an abort is asked for under the old master: the rack must be moved'
