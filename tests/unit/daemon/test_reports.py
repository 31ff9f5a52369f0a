"""The report of an update, beside the images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ovca import conf
from ovca.cluster.lease import Lease
from ovca.daemon import reports
from ovca.daemon.reports import Reports
from tests.operated import Operated

DAY = 86_400


class Site:
    """The services of both nodes."""

    def __init__(self, operated: Operated) -> None:
        self.operated, self.epoch, self.now = operated, 3, 0.0
        self.folder = operated.folder / 'shared/report'

    def service(self, incarnation: str = 'this run', epoch: int | None = 3) -> Reports:
        return Reports(
            conf.load(str(self.operated.config_file)),
            Lease(self.operated.database, 'mn1', incarnation, ttl=30),
            epoch=lambda: epoch,
            clock=lambda: self.now,
        )

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    def told(self) -> list[tuple[int | None, str]]:
        return [(e.update_id, e.detail) for e in self.operated.service().journal(kind='report', limit=100)]

    def ended(self, state: str = 'DONE') -> int:
        number = self.operated.update('VERIFY_2')
        self.operated.move(number, state, 'it is over', reason='it is over')
        return number


@pytest.fixture
def site(operated: Operated) -> Site:
    return Site(operated)


@pytest.mark.parametrize('state', ['DONE', 'ABORTED', 'FAILED_FORWARD'])
def test_at_its_end_an_update_gets_a_report_whose_digest_is_in_the_journal(site: Site, state: str) -> None:
    number, service = site.ended(state), site.service()

    service.step()
    service.step()

    data = (site.folder / f'update-{number}.json').read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert site.files() == [f'update-{number}.json', f'update-{number}.json.sha256']
    assert (site.folder / f'update-{number}.json.sha256').read_text() == f'{digest}  update-{number}.json\n'
    assert [(id, digest in text) for id, text in site.told()] == [(number, True)]
    found = json.loads(data)
    assert (found['format'], found['state'], found['events'][-1]['to_state']) == (1, state, state)
    assert digest in (site.operated.service().story(number).report or '')


def test_while_the_update_goes_on_there_is_none(site: Site) -> None:
    site.operated.update('INSTALL_1')

    site.service().step()

    assert (site.files(), site.told()) == ([], [])


def test_a_standby_writes_none(site: Site) -> None:
    site.ended()

    site.service(epoch=None).step()

    assert site.files() == []


def test_after_a_take_over_or_a_restart_it_is_written_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    number = site.ended()
    monkeypatch.setattr(Reports, '_note', lambda *_: None)
    site.service().step()  # and dies before it can note it
    before = (site.folder / f'update-{number}.json').read_bytes()
    monkeypatch.undo()

    site.service().step()
    site.service().step()

    assert len(site.told()) == 1
    assert (site.folder / f'update-{number}.json').read_bytes() == before


def test_one_that_lost_the_lease_notes_nothing(site: Site) -> None:
    site.ended()

    site.service(incarnation='an older run').step()

    assert site.told() == []


def test_an_update_of_before_gets_none(site: Site) -> None:
    from datetime import timedelta

    from ovca.db.models import Update

    number = site.ended()
    with site.operated.database.write() as session:
        row = session.get_one(Update, number)
        row.finished_at = site.operated.database.now(session) - timedelta(seconds=DAY)
    service = site.service()

    service.step()
    later = site.ended()
    service.step()
    site.service().step()

    assert [id for id, _ in site.told()] == [later]


def test_a_full_storage_is_tried_again_and_no_report_is_left_out(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    first = site.ended('FAILED_FORWARD')
    site.folder.parent.mkdir(exist_ok=True)
    site.folder.write_text('in the way')
    service = site.service()
    service.step()
    second = site.ended()
    service.step()
    assert caplog.text.count('cannot be written') == 1

    site.folder.unlink()
    site.now += reports.PAUSE
    service.step()

    assert [id for id, _ in site.told()] == [first, second]
    assert [name for name in site.files() if name.endswith('.json')] == [
        f'update-{first}.json',
        f'update-{second}.json',
    ]


def test_a_report_is_whole_or_not_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.ended()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'replace', full)
    site.service().step()

    assert (site.files(), site.told()) == ([], [])
