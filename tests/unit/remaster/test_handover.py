"""The hand-over to the new software: what is looked at again after the giver has stopped its roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovca.db.models import Node
from ovca.exceptions import Refused
from tests.mastered import Master
from tests.operated import NEW, Operated


@pytest.fixture
def operated(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    appliance = Operated(tmp_path, url=database_url).started().image('1.1.0', NEW)
    yield appliance
    appliance.close()


def due(operated: Operated, meanwhile: Callable[[Master], None]) -> Master:
    """mn2 runs the new software for longer than the soak; this happens to it while mn1 stops its roles."""
    master = Master(operated)
    operated.update('VERIFY_1')
    operated.entry(1, final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    master.change(Node, 'mn2', running_digest=NEW)
    master.later(130)
    master.while_stopping = lambda: meanwhile(master)
    return master


def proving(operated: Operated) -> Master:
    """mn2 leads on the new software, and has been healthy for longer than the soak."""
    master = Master(operated, here='mn2', runs=NEW, version='1.1.0')
    operated.update('PROVING')
    operated.entry(1, final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    master.later(610)
    return master


def reboots(master: Master) -> None:
    """The node starts anew, and says "ready" at once; its soak begins now."""
    if master.stopped == ['stopped']:
        master.change(Node, 'mn2', incarnation='mn2 runs again', boot_id='another', healthy_since=master.now())


def test_a_node_that_rebooted_while_the_giver_stopped_its_roles_is_not_given_the_lease(operated: Operated) -> None:
    master = due(operated, reboots)

    master.run()

    assert master.stopped == ['stopped', 'serves again']
    assert (master.lease.read().holder, master.update().state) == ('mn1', 'VERIFY_1')


def test_it_is_given_the_lease_after_another_soak(operated: Operated) -> None:
    master = due(operated, reboots)
    master.run()

    master.later(130)
    master.run()

    view = master.lease.read()
    assert (view.holder, view.incarnation, master.update().state) == ('mn2', 'mn2 runs again', 'PROVING')


def test_a_role_that_does_not_stop_is_told_and_tried_again_later(operated: Operated) -> None:
    master = due(operated, Master.stuck_role)

    master.run()

    assert master.stopped == ['stopped', 'serves again']
    assert master.story('alarm') == [
        'VERIFY_1: the hand-over to mn2 was given up, mn1 serves again; it is tried anew after 30 s: '
        'virtual-ip still runs [role-still-runs]'
    ]


def test_a_node_that_gave_the_lease_away_and_cannot_reboot_says_that_and_not_that_it_gave_up(
    operated: Operated, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stays(self: Master, epoch: int, reboot: bool) -> None:
        self.epoch = None
        raise Refused('the reboot command ends with status 1')

    monkeypatch.setattr(Master, '_gave_away', stays)
    master = due(operated, lambda _: None)

    with pytest.raises(Refused, match='reboot command'):
        master.run()

    assert (master.lease.read().holder, master.stopped) == ('mn2', ['stopped'])
    assert 'given up' not in caplog.text


def test_the_hand_over_goes_on_once_the_role_stops(operated: Operated) -> None:
    master = due(operated, Master.stuck_role)
    master.run()
    master.while_stopping = lambda: None
    master.run()
    assert master.update().state == 'VERIFY_1'  # the pause is not over

    master.later(31)
    master.run()

    assert (master.lease.read().holder, master.update().state) == ('mn2', 'PROVING')


def test_the_commit_point_is_not_passed_by_a_node_that_cannot_prove_its_system(operated: Operated) -> None:
    master = proving(operated)

    master.run()

    assert master.update().state == 'PROVING'
    assert master.story('alarm') == [
        'PROVING: the commit point is not passed: mn2 has no record that image 1.1.0 was installed on it [not-proven]'
    ]


def test_a_soak_as_long_as_it_has_to_be_is_not_told_as_slow(operated: Operated) -> None:
    master = proving(operated)
    master.installed('1.1.0', NEW)

    master.run()

    assert (master.update().state, master.story('alarm')) == ('INSTALL_2', [])


def test_it_is_passed_once_the_record_can_be_read(operated: Operated) -> None:
    master = proving(operated)
    master.installed('1.1.0', NEW)
    (master.root / 'etc/ovca/installed.json').write_text('{"version": "1.1')
    master.run()
    assert 'cannot be read' in master.story('alarm')[0]

    master.installed('1.1.0', NEW)
    master.run()

    assert master.update().state == 'INSTALL_2'


def test_a_configured_node_that_was_never_seen_is_not_said_to_be_none(operated: Operated) -> None:
    master = Master(operated)
    with operated.database.write() as session:
        session.delete(session.get_one(Node, 'mn2'))
    master.alive = {'mn1'}

    request = master.ask('failover', epoch=3)

    assert (request.result or {}).get('error_id') == 'peer-not-ready'
    assert str(request.error).startswith('mn2 cannot take over: it was never seen; see to ovca.service there')
