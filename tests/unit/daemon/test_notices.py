"""Who is told what, and that no restart, outage or take-over loses a message."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select

from ovca import conf
from ovca.daemon.notices import ATTEMPTS, HELD, Notices
from ovca.db import events
from ovca.db.models import Event, Lease
from ovca.notify.fake import FakeNotifier
from tests.operated import Operated


class Site:
    """Two nodes that follow one journal, each with a notifier of its own; mn1 acts as master."""

    def __init__(self, operated: Operated, folder: Path) -> None:
        self.operated, self.folder, self.now = operated, folder, 0.0
        self.master: str | None = 'mn1'
        self.told = {name: FakeNotifier(conf.load(str(operated.config_file))) for name in ('mn1', 'mn2')}

    def node(self, name: str) -> Notices:
        """The node's service, as it is after a start."""
        self.operated.configure(name, f'[provision]\nstate_path = {self.folder / name}\n')
        return Notices(
            conf.load(str(self.operated.config_file)),
            self.operated.database,
            [self.told[name]],
            epoch=lambda: 3 if self.master == name else None,
            clock=lambda: self.now,
        )

    def take_over(self, name: str | None) -> None:
        """Another node acts as master, or none."""
        with self.operated.database.write() as session:
            lease = session.scalars(select(Lease)).one()
            lease.holder, lease.acting = name or 'mn1', name is not None
        self.master = name

    def alarm(self, text: str) -> None:
        """Something goes wrong."""
        with self.operated.database.write() as session:
            events.append(session, kind='alarm', node='mn2', actor='mn1', detail=text)

    def hours_pass(self) -> None:
        """What happened is long ago."""
        with self.operated.database.write() as session:
            for event in session.scalars(select(Event)):
                event.at -= dt.timedelta(seconds=2 * HELD)

    def texts(self, name: str) -> list[str]:
        """What people were told by a node."""
        return [message.text for message in self.told[name].sent]


@pytest.fixture
def site(operated: Operated, tmp_path: Path) -> Site:
    return Site(operated, tmp_path)


def test_alarms_and_ends_are_told_once_by_the_master_alone(site: Site, operated: Operated) -> None:
    mn1, mn2 = site.node('mn1'), site.node('mn2')
    update = operated.image().update('VERIFY_2')
    operated.move(update, 'DONE', 'both nodes are healthy', reason='both nodes are healthy')
    site.alarm('mn2 is off and silent')

    for _ in range(3):
        mn1.step()
        mn2.step()

    done, alarm = site.told['mn1'].sent
    assert (done.kind, done.state, done.update_id) == ('ended', 'DONE', update)
    assert done.text == f'update {update} is done: both nodes run 1.1.0; nothing is to be done'
    assert (alarm.kind, alarm.node, alarm.text) == ('alarm', 'mn2', 'mn2 is off and silent')
    assert site.texts('mn2') == []


@pytest.mark.parametrize(
    ('state', 'kind'), [('ABORTED', 'ended'), ('FAILED_ROLLED_BACK', 'alarm'), ('FAILED_FORWARD', 'alarm')]
)
def test_an_end_that_leaves_one_node_is_an_alarm_whatever_led_to_it(
    site: Site, operated: Operated, state: str, kind: str
) -> None:
    mn1 = site.node('mn1')
    operated.move(operated.image().update('INSTALL_2'), state, 'an abort is asked for')

    mn1.step()

    assert [(each.kind, each.state) for each in site.told['mn1'].sent] == [(kind, state)]


def test_a_step_of_an_update_is_told_to_nobody(site: Site, operated: Operated) -> None:
    mn1 = site.node('mn1')
    operated.move(operated.image().update('INSTALL_1'), 'VERIFY_1', 'installed')

    mn1.step()

    assert site.texts('mn1') == []


def test_a_failed_update_is_an_alarm_that_says_what_to_do(site: Site, operated: Operated) -> None:
    mn1, update = site.node('mn1'), operated.image().update('FAILED_DEGRADED', reason='mn2 was never healthy')
    with operated.database.write() as session:
        events.append(session, kind='alarm', node='mn1', update_id=update, to_state='FAILED_DEGRADED', detail='ill')

    mn1.step()

    (message,) = site.told['mn1'].sent
    assert (message.kind, message.state) == ('alarm', 'FAILED_DEGRADED')
    assert 'ended FAILED_DEGRADED: mn2 was never healthy; mn1 is the node to trust' in message.text


def test_a_restart_tells_what_happened_meanwhile_and_nothing_twice(site: Site) -> None:
    first = site.node('mn1')
    for text in ('one', 'two'):
        site.alarm(text)
        first.step()
    site.alarm('three')
    site.hours_pass()
    site.master = None  # the lease says that it acts, but the new service does not yet
    second = site.node('mn1')
    second.step()
    site.master = 'mn1'

    second.step()

    assert site.texts('mn1') == ['one', 'two', 'three']


def test_what_happens_after_a_restore_is_told_though_its_number_was_told_before(site: Site) -> None:
    site.alarm('before the backup')
    first = site.node('mn1')
    first.step()
    with site.operated.database.read() as session:
        backed_up = session.scalars(select(func.max(Event.id))).one()
    site.alarm('it fails')
    first.step()
    with site.operated.database.write() as session:  # the backup is put back, and numbers are given again
        session.execute(delete(Event).where(Event.id > backed_up))
    site.alarm('it fails again')

    site.node('mn1').step()

    assert site.texts('mn1') == ['before the backup', 'it fails', 'it fails again']


def test_what_happened_while_nobody_led_is_told_by_the_next_master(site: Site) -> None:
    mn2 = site.node('mn2')
    mn2.step()
    site.take_over(None)
    site.alarm('both nodes lost power')
    site.hours_pass()
    mn2.step()
    site.take_over('mn2')

    mn2.step()

    assert site.texts('mn2') == ['both nodes lost power']


def test_what_a_master_could_not_tell_its_successor_tells(site: Site) -> None:
    mn1, mn2 = site.node('mn1'), site.node('mn2')
    site.told['mn1'].broken = 'no line'
    site.alarm('the storage is full')
    mn1.step()
    mn2.step()
    site.take_over('mn2')

    mn2.step()
    mn1.step()

    assert (site.texts('mn1'), site.texts('mn2')) == ([], ['the storage is full'])


def test_a_successor_does_not_tell_what_is_long_past(site: Site) -> None:
    mn2 = site.node('mn2')
    site.alarm('long ago')
    mn2.step()
    site.hours_pass()
    mn2.step()
    site.take_over('mn2')

    mn2.step()

    assert site.texts('mn2') == []


def test_a_fresh_node_does_not_tell_what_is_long_past(site: Site) -> None:
    site.alarm('long ago')
    site.hours_pass()
    site.alarm('now')

    site.node('mn1').step()

    assert site.texts('mn1') == ['now']


def test_a_failing_notifier_is_tried_again_after_a_pause_and_logged_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    mn1 = site.node('mn1')
    site.told['mn1'].broken = 'no line'
    site.alarm('one')
    site.alarm('two')
    mn1.step()
    mn1.step()
    assert site.told['mn1'].tried == 1
    site.now += 3600
    site.hours_pass()
    mn1.step()
    site.told['mn1'].broken = None
    site.now += 3600

    mn1.step()

    assert site.texts('mn1') == ['one', 'two']
    assert [r.message for r in caplog.records if r.levelno == logging.ERROR] == [
        'notifier FakeNotifier: ConnectionRefusedError: no line; see [notify], then try `ovca notify-test` '
        '[not-notified]'
    ]


def test_a_message_that_nobody_takes_is_given_up_and_the_next_one_is_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    mn1 = site.node('mn1')
    site.told['mn1'].broken = 'no line'
    site.alarm('one')
    for _ in range(ATTEMPTS + 3):
        mn1.step()
        site.now += 3600
    site.told['mn1'].broken = None
    site.alarm('two')

    mn1.step()

    assert site.texts('mn1') == ['two']
    assert site.told['mn1'].tried == ATTEMPTS + 1
    assert f'ALARM: FakeNotifier did not take event 1 in {ATTEMPTS} attempts: one' in caplog.text


def test_of_two_notifiers_the_broken_one_does_not_silence_the_other(site: Site, operated: Operated) -> None:
    mn1, broken = site.node('mn1'), FakeNotifier(conf.load(str(operated.config_file)))
    broken.name, broken.broken = 'pager', 'no line'
    mn1.notifiers = [broken, *mn1.notifiers]
    site.alarm('one')
    site.alarm('two')

    mn1.step()

    assert site.texts('mn1') == ['one', 'two']


def test_an_event_that_becomes_visible_after_a_later_one_is_told(site: Site, operated: Operated) -> None:
    mn1 = site.node('mn1')
    with operated.database.write() as session:
        session.add(Event(id=7, kind='alarm', actor='mn1', detail='later', at=operated.database.now(session)))
    mn1.step()
    with operated.database.write() as session:
        session.add(Event(id=6, kind='alarm', actor='mn2', detail='slow', at=operated.database.now(session)))

    mn1.step()

    assert site.texts('mn1') == ['later', 'slow']


def test_a_position_that_cannot_be_kept_delays_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    (site.folder / 'mn1').write_text('no folder')
    mn1 = site.node('mn1')
    site.alarm('one')

    mn1.step()
    mn1.step()

    assert site.texts('mn1') == ['one']
    assert caplog.text.count('notices.json cannot be written') == 1


@pytest.mark.parametrize(
    'content', ['', '{"settled": 0', '[]', '{"settled": "x", "told": {}}', '{"settled": 999, "told": {}}']
)
def test_an_unusable_position_is_begun_anew(site: Site, content: str) -> None:
    (site.folder / 'mn1').mkdir()
    (site.folder / 'mn1/notices.json').write_text(content)
    site.alarm('one')

    site.node('mn1').step()

    assert site.texts('mn1') == ['one']
