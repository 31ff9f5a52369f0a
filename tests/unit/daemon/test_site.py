"""A node looks after its own site settings: while it runs, when it is asked to, and after an install."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from ovca import conf
from ovca.daemon import site as site_module
from ovca.daemon.service import Ovcad
from ovca.daemon.site import SiteCare, ask_node
from ovca.db.models import Event, Node
from ovca.files import write_json
from ovca.provision.site import items, state
from ovca.provision.site.fake import FakeItem
from tests.conftest import free_port
from tests.operated import Operated, saving


class Site:
    """The node mn1 with one setting in memory, and its settings in files."""

    def __init__(self, folder: Path) -> None:
        self.root, self.shared = folder / 'root', folder / 'shared'
        self.operated = Operated(folder)
        self.operated.configure('mn1', f'[provision]\nroot = {self.root}\nsite_files = etc/x\n')
        self.operated.started()
        self.lay('etc/ovca.conf', 'c')
        self.fake = FakeItem(self.conf)
        self.fake.name = 'lights'
        self.care = self.restarted()

    @property
    def conf(self):
        return conf.load(str(self.operated.config_file))

    def restarted(self) -> SiteCare:
        return SiteCare(self.conf, self.operated.database, [*items.load(self.conf), self.fake])

    def lay(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def saved(self) -> dict[str, bytes]:
        return {file.path: file.content for file in state.load(self.shared, 'mn1').files}

    def told(self) -> list[tuple[str, str]]:
        with self.operated.database.read() as session:
            return [(event.kind, event.detail) for event in session.scalars(select(Event).order_by(Event.id))]

    def report(self) -> dict[str, str]:
        rows = json.loads((self.root / 'var/lib/ovca/site-report.json').read_text())['items']
        return {row['name']: row['outcome'] for row in rows}

    def installed(self, update: int, data: bytes = b'on') -> None:
        """An installer has just put this system here, and left the setting in memory to the service."""
        rows = [
            {'name': 'configuration', 'outcome': 'carried over', 'files': 1, 'detail': ''},
            {'name': 'network', 'outcome': 'failed', 'files': 0, 'detail': 'etc/x: no space'},
            {'name': 'lights', 'outcome': 'pending', 'files': 0, 'detail': ''},
        ]
        lost = {'lost': ['etc/motd (changed)'], 'lost_total': 1, 'compared': ''}
        self.lay('var/lib/ovca/site-report.json', json.dumps({'items': rows, 'update': update, 'told': False, **lost}))
        pending = {'lights': base64.b64encode(data).decode()}
        self.lay('var/lib/ovca/site-pending.json', json.dumps(pending))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.operated.close()


def test_what_is_edited_is_saved_by_the_next_step(site: Site) -> None:
    site.care.step()
    site.lay('etc/ovca.conf', 'edited')
    site.care.step()

    assert site.saved() == {'etc/ovca.conf': b'edited'}
    assert site.told() == []


def test_what_cannot_be_saved_is_an_alarm_once_for_each_cause(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    (site.shared / '.ovca-site').write_text('in the way')
    for _ in range(3):
        site.care.step()
    site.fake.settings, site.fake.broken = 'on', 'no answer'
    (site.shared / '.ovca-site').unlink()
    for _ in range(3):
        site.care.step()

    (storage, item) = site.told()
    assert storage[0] == item[0] == 'alarm'
    assert storage[1].startswith('mn1: the site files could not be saved: ')
    assert item[1].startswith('mn1: the site item lights could not be saved: ')
    logged = [r for r in caplog.records if r.levelno == logging.ERROR and r.getMessage().startswith('ALARM: ')]
    assert len(logged) == 2


def test_a_mount_point_with_nothing_mounted_gets_no_settings(site: Site, not_mounted: None) -> None:
    site.operated.configure('mn1', f'shared_storage_mounted = true\n[provision]\nroot = {site.root}\n')

    site.restarted().step()

    assert [detail for kind, detail in site.told() if kind == 'alarm' and 'is not mounted' in detail]
    assert not (site.shared / '.ovca-site').exists()


def test_a_cause_that_comes_back_is_told_again(site: Site) -> None:
    site.fake.settings = 'on'
    for broken in ('no answer', None, 'no answer'):
        site.fake.broken = broken
        site.care.step()

    assert len(site.told()) == 2


def test_an_alarm_waits_for_the_database(site: Site, tmp_path: Path) -> None:
    site.care.step()
    (tmp_path / 'ovca.sqlite').rename(tmp_path / 'away')
    site.operated.database.dispose()
    (tmp_path / 'ovca.sqlite').mkdir()
    site.fake.broken = 'no answer'
    site.care.step()
    (tmp_path / 'ovca.sqlite').rmdir()
    (tmp_path / 'away').rename(tmp_path / 'ovca.sqlite')

    site.care.step()

    assert [kind for kind, _ in site.told()] == ['alarm']


def test_the_service_puts_back_what_no_file_holds_and_tells_of_all_items_once(site: Site) -> None:
    site.installed(site.operated.update('INSTALL_1'))
    site.care.step()
    site.restarted().step()

    assert site.fake.settings == 'on'
    assert site.report() == {'configuration': 'carried over', 'network': 'failed', 'lights': 'carried over'}
    assert not (site.root / 'var/lib/ovca/site-pending.json').exists()
    assert site.told() == [
        (
            'site',
            'mn1: site items after the installation: 2 carried over, 1 failed; not carried over were 1 files, as '
            'etc/motd (changed); see `ovca site-show mn1`',
        ),
        ('site', 'mn1: the site item network failed: etc/x: no space'),
    ]
    assert state.load(site.shared, 'mn1').report['lost'] == ['etc/motd (changed)']


def test_names_that_are_not_utf_8_are_saved_and_told(site: Site) -> None:
    name = os.fsdecode(b'etc/x\xfc')
    site.operated.configure('mn1', f'[provision]\nroot = {site.root}\nsite_files = etc/x*\n')
    site.lay(name, 'x')
    site.installed(site.operated.update('INSTALL_1'))
    report = json.loads((site.root / 'var/lib/ovca/site-report.json').read_text())
    report['lost'] = [f'{name} (added)']
    report['items'][1]['detail'] = f'{name}: no space'
    site.lay('var/lib/ovca/site-report.json', json.dumps(report))

    site.restarted().step()

    assert site.saved()[name] == b'x'
    first, second = site.told()
    assert 'as etc/x\\udcfc (added)' in first[1]
    assert second == ('site', 'mn1: the site item network failed: etc/x\\udcfc: no space')


@pytest.mark.parametrize('writes', [0, 1])
def test_a_kill_after_an_item_was_put_back_does_not_leave_it_pending(
    site: Site, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    site.installed(site.operated.update('INSTALL_1'))
    left = [writes]

    class Killed(BaseException):
        pass

    def write(path: Path, value: object, mode: int) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        write_json(path, value, mode)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(site_module, 'write_json', write)
        site.care.step()
    site.restarted().step()

    assert (site.fake.settings, site.report()['lights']) == ('on', 'carried over')
    assert not (site.root / 'var/lib/ovca/site-pending.json').exists()


def test_an_item_that_cannot_be_put_back_is_kept_and_tried_at_the_next_start(site: Site) -> None:
    site.installed(site.operated.update('INSTALL_1'))
    site.fake.broken = 'no answer'
    for _ in range(2):
        site.care.step()
    failed = site.report()['lights']
    site.fake.broken = None
    site.care.step()
    still = site.report()['lights']

    site.restarted().step()

    assert (failed, still, site.report()['lights'], site.fake.settings) == ('failed', 'failed', 'carried over', 'on')


def test_an_item_that_the_new_system_does_not_have_is_named(site: Site) -> None:
    site.installed(site.operated.update('INSTALL_1'))
    site.fake.name = 'other'

    site.care.step()

    assert site.report()['lights'] == 'failed'
    assert any('site item lights is not installed here' in detail for kind, detail in site.told() if kind == 'alarm')
    assert (site.root / 'var/lib/ovca/site-pending.json').exists()


def test_a_node_that_is_asked_saves_now_however_many_ask(site: Site) -> None:
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            site.care.wait(stopped)
            site.care.step()

    site.care.step()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    site.lay('etc/ovca.conf', 'edited a moment ago')
    answers: list[dict[str, object]] = []
    asking = [threading.Thread(target=lambda: answers.append(site.care.save_now(30))) for _ in range(8)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    stopped.set()
    site.care.wake()
    thread.join(10)

    assert [answer.get('error') for answer in answers] == [None] * 8
    assert site.saved() == {'etc/ovca.conf': b'edited a moment ago'}


def test_who_asks_waits_no_longer_than_said(site: Site) -> None:
    assert 'not saved within 0.01 s' in site.care.save_now(0.01)['error']


@pytest.fixture
def standby(site: Site) -> Iterator[dict[str, object]]:
    """The status server of mn2, whose answer can be changed."""
    answer: dict[str, object] = {'saved_at': 'now'}
    with saving(site.operated, answer):
        yield answer


def test_the_master_asks_a_live_node_and_notes_it_in_the_updates_journal(
    site: Site, standby: dict[str, object]
) -> None:
    number = site.operated.update('INSTALL_1')

    assert ask_node(site.conf, site.operated.database, 'mn2')
    with site.operated.database.read() as session:
        event = session.scalars(select(Event)).one()
    assert (event.kind, event.update_id, event.detail) == ('site', number, 'mn2: the site settings are saved')


def test_a_node_is_asked_directly_whatever_proxies_the_machine_has(
    site: Site, standby: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy'):
        monkeypatch.setenv(name, f'http://127.0.0.1:{free_port()}')
    for name in ('no_proxy', 'NO_PROXY'):
        monkeypatch.delenv(name, raising=False)

    assert ask_node(site.conf, site.operated.database, 'mn2')


def test_what_was_not_saved_is_said_with_what_is_put_back_instead(site: Site, standby: dict[str, object]) -> None:
    standby['error'] = 'the storage is full'

    assert not ask_node(site.conf, site.operated.database, 'mn2')
    (told,) = site.told()
    assert told[1].startswith('mn2 did not save its site settings: the storage is full; ')
    assert 'site.json does not exist' in told[1]


def test_another_node_that_answers_in_its_place_is_named(site: Site, standby: dict[str, object]) -> None:
    standby.update(node='mn1', digest='d')  # [cluster] address is 127.0.0.1 on both, as it is by default

    assert not ask_node(site.conf, site.operated.database, 'mn2')

    (told,) = site.told()
    assert re.match(r'mn2 did not save its site settings: at http://\S+ it is mn1 that answers, see to \[clu', told[1])


def test_a_dead_node_is_not_asked(site: Site, standby: dict[str, object]) -> None:
    with site.operated.database.write() as session:
        session.get_one(Node, 'mn2').last_seen_at = None

    assert not ask_node(site.conf, site.operated.database, 'mn2')
    assert 'it is silent, so it was not asked' in site.told()[0][1]


def test_the_service_has_all_items_and_saves_them(site: Site) -> None:
    service = Ovcad(site.conf)

    service.site.step()

    assert site.saved() == {'etc/ovca.conf': b'c'}
    assert [item.name for item in service.site.items] == items.configured(site.conf)


def test_who_asks_without_end_has_it_saved_half_of_the_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0.0)
            return False

    moments = iter([100.0, 100.7, 200.0])
    monkeypatch.setattr(site_module, 'time', SimpleNamespace(monotonic=lambda: next(moments)))
    site.care.step()  # it takes 0.7 s
    site.care.wake()  # somebody has asked again meanwhile

    site.care.wait(Stopped())

    assert rests == [pytest.approx(0.7)]
