"""People are told once that the appliance runs on one node, and once that it does not any more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from ovca import conf
from ovca.cluster.lease import Lease
from ovca.daemon.company import Company
from ovca.daemon.notices import Notices
from ovca.db.models import Node
from ovca.exceptions import DatabaseUnavailable
from ovca.notify.fake import FakeNotifier
from tests.operated import Operated


class Watch:
    """The acting master's look at the other node; time passes only when it is told to."""

    def __init__(self, operated: Operated) -> None:
        self.operated, self.time, self.epoch = operated, 0.0, 3
        self.company = self.restarted()

    def restarted(self) -> Company:
        self.company = Company(
            conf.load(str(self.operated.config_file)),
            Lease(self.operated.database, 'mn1', 'this run', ttl=30),
            epoch=lambda: self.epoch,
            clock=lambda: self.time,
        )
        return self.company

    def look(self, seconds: float = 0.0) -> None:
        self.time += seconds + 5
        self.company.step()

    def standby(self, *, seen: bool) -> None:
        """It is heard of, or has not been for ten minutes."""
        with self.operated.database.write() as session:
            age = dt.timedelta(seconds=0 if seen else 600)
            session.get_one(Node, 'mn2').last_seen_at = self.operated.database.now(session) - age

    def master(self, health: str) -> None:
        """How mn1, the master, is."""
        with self.operated.database.write() as session:
            node = session.get_one(Node, 'mn1')
            node.role, node.health = 'master', health
            node.health_detail = {'storage': 'it takes no file'} if health == 'unhealthy' else None

    def alarms(self) -> list[str]:
        return [event.detail for event in self.operated.service().journal(kind='alarm', limit=100)]


@pytest.fixture
def watch(operated: Operated) -> Watch:
    return Watch(operated)


def test_it_is_told_once_when_it_begins_and_once_when_it_ends(watch: Watch) -> None:
    watch.look()
    watch.standby(seen=False)
    for _ in range(4):
        watch.look(30)
    alone = watch.company.seen
    watch.standby(seen=True)
    for _ in range(4):
        watch.look(30)

    begin, end = watch.alarms()
    assert begin == str(alone)
    assert begin.startswith('running on one node, mn1, since ')
    assert end.startswith('both nodes run again; this ends the alarm of ')
    assert watch.company.seen is None


def test_a_short_absence_is_no_alarm_but_is_seen(watch: Watch) -> None:
    watch.standby(seen=False)
    watch.look()
    watch.look(20)
    seen = watch.company.seen
    watch.standby(seen=True)
    watch.look(60)

    assert seen is not None
    assert watch.alarms() == []


def test_a_restart_and_a_new_epoch_repeat_nothing(watch: Watch, operated: Operated) -> None:
    watch.standby(seen=False)
    watch.look()
    watch.look(60)
    watch.restarted()
    watch.look(60)
    watch.look(60)
    watch.standby(seen=True)
    watch.restarted()
    watch.look()
    watch.look(60)

    assert [text.split(';')[0][:16] for text in watch.alarms()] == ['running on one n', 'both nodes run a']


def test_an_update_takes_a_node_away_without_an_alarm_and_what_it_leaves_is_one(
    watch: Watch, operated: Operated
) -> None:
    number = operated.update('INSTALL_1')
    operated.wiped(number)
    watch.look()
    watch.look(60)
    during = watch.alarms()
    operated.move(number, 'FAILED_DEGRADED', 'no attempts left', reason='no attempts left')
    watch.look(60)

    assert during == []
    (alarm,) = watch.alarms()
    assert alarm.endswith(': mn2 was wiped and is not back yet')


def test_what_the_database_did_not_take_is_told_at_the_next_look(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.standby(seen=False)
    watch.look()
    real = Lease.fenced

    @contextmanager
    def lost(lease: Lease, epoch: int) -> Iterator[Session]:
        with real(lease, epoch) as session:
            yield session
            raise DatabaseUnavailable('the connection is lost before the commit')

    with monkeypatch.context() as outage:
        outage.setattr(Lease, 'fenced', lost)
        with pytest.raises(DatabaseUnavailable):
            watch.look(60)
    watch.look(60)

    assert len(watch.alarms()) == 1


def test_a_standby_looks_and_writes_nothing(watch: Watch, operated: Operated) -> None:
    watch.epoch = None  # type: ignore[assignment]
    watch.standby(seen=False)
    watch.look()
    watch.look(60)

    assert watch.company.seen is not None
    assert watch.alarms() == []


def test_a_master_that_ails_alone_is_not_told_to_hand_over(watch: Watch) -> None:
    watch.standby(seen=False)
    watch.master('unhealthy')
    watch.look()
    watch.look(60)

    ill = next(text for text in watch.alarms() if text.startswith('the master'))
    assert ill == 'the master, mn1, is unhealthy (storage: it takes no file); mend that'


@pytest.mark.parametrize('how', [{'health': 'unknown', 'role': 'standby'}, {'health': 'unknown'}, {'role': 'standby'}])
def test_a_master_whose_service_has_just_started_is_not_told_to_be_healthy(
    watch: Watch, operated: Operated, how: dict[str, str]
) -> None:
    watch.master('unhealthy')
    watch.look()
    watch.look(60)
    with operated.database.write() as session:  # as it registers, before the checks have answered
        for name, value in how.items():
            setattr(session.get_one(Node, 'mn1'), name, value)
    watch.restarted()
    watch.look()
    watch.look(60)
    during = watch.alarms()
    watch.master('healthy')
    watch.look()

    assert [text.split(',')[0] for text in during] == ['the master']
    assert watch.alarms()[1].startswith('the master, mn1, is healthy; this ends the alarm of ')


def test_that_there_is_no_other_node_any_more_is_not_told_as_its_return(watch: Watch, operated: Operated) -> None:
    watch.standby(seen=False)
    watch.look()
    watch.look(60)
    operated.config_file.write_text(operated.config_file.read_text().replace('peer = mn2\n', ''))
    watch.restarted()
    for _ in range(3):
        watch.look(60)

    _, end = watch.alarms()
    assert end.startswith('mn1 has no other node, [cluster] peer is not set; this ends the alarm of ')


def test_the_notifiers_tell_both(watch: Watch, operated: Operated, tmp_path: Path) -> None:
    settings = conf.load(str(operated.config_file))
    settings.set_override('state_path', str(tmp_path / 'state'), 'provision')
    notifier = FakeNotifier(settings)
    notices = Notices(settings, operated.database, [notifier], epoch=lambda: 3)
    watch.standby(seen=False)
    watch.look()
    watch.look(60)
    watch.standby(seen=True)
    watch.look()

    notices.step()

    assert [(message.kind, message.text) for message in notifier.sent] == [('alarm', text) for text in watch.alarms()]
    assert len(notifier.sent) == 2
