"""What becomes of the trees beside the nodes' own software, once both nodes run the image."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ovca import conf
from ovca.cluster.lease import Lease
from ovca.daemon.components import ATTEMPTS, ComponentCare
from ovca.db import models
from ovca.exceptions import DatabaseError
from ovca.remaster.components import ComponentError
from ovca.remaster.fakes import FakeComponent, FakeDevice
from tests.operated import NEW, OLD, Operated


class Site:
    """An appliance whose image 1.1.0 brings the component ``hmp``, and the service of its master."""

    def __init__(self, operated: Operated) -> None:
        self.operated, self.device, self.epoch, self.now = operated.image(), FakeDevice('1.0.0'), 3, 0.0
        self.tree = operated.folder / 'shared/hmp_image/1.1.0'
        self.tree.mkdir(parents=True)

    def service(self, name: str = 'hmp', digest: str = NEW) -> ComponentCare:
        """The master's care, as it is after a start."""
        config = conf.load(str(self.operated.config_file))
        return ComponentCare(
            config,
            Lease(self.operated.database, 'mn1', 'this run', ttl=30),
            {name: FakeComponent(config, device=self.device)},
            epoch=lambda: self.epoch,
            running_digest=digest,
            clock=lambda: self.now,
        )

    def lease(self, **facts: Any) -> None:
        """What the lease's row says from now on."""
        with self.operated.database.write() as session:
            row = session.scalars(select(models.Lease)).one()
            for name, value in facts.items():
                setattr(row, name, value)

    def journal(self) -> list[tuple[str, str]]:
        return [(e.kind, e.detail) for e in self.operated.service().journal(limit=100)]


@pytest.fixture
def site(operated: Operated) -> Site:
    return Site(operated)


def test_a_component_is_applied_once_when_both_nodes_run_the_image(site: Site) -> None:
    service, update = site.service(), site.operated.update('VERIFY_2')
    service.step()
    assert site.device.orders == []
    site.operated.move(update, 'DONE', 'both nodes are healthy', reason='both nodes are healthy')

    service.step()
    service.step()

    assert site.device.orders == [('1.1.0', site.tree)]
    assert site.device.asked == 2, 'it was asked before and after, and never again'
    assert site.journal()[1:] == [('component', 'hmp: 1.1.0 is in force (before: 1.0.0)')]


def test_what_is_in_force_already_is_left_alone(site: Site) -> None:
    site.operated.update('DONE')
    site.device.version = '1.1.0'

    site.service().step()
    site.service().step()

    assert site.device.orders == []
    assert site.journal() == [('component', 'hmp: 1.1.0 was in force already, so nothing was done')]


@pytest.mark.parametrize('state', ['ABORTED', 'FAILED_FORWARD', 'INSTALL_1'])
def test_nothing_is_applied_while_the_nodes_do_not_both_run_the_image(site: Site, state: str) -> None:
    site.operated.update('DONE', version='1.0.0', digest=OLD)
    site.operated.update(state)

    site.service().step()

    assert site.device.orders == []


def test_a_standby_and_a_node_with_other_software_apply_nothing(site: Site) -> None:
    site.operated.update('DONE')
    site.service(digest=OLD).step()
    standby = site.service()
    site.epoch = None

    standby.step()

    assert site.device.orders == []


def test_a_component_that_the_image_does_not_bring_is_left_alone(site: Site) -> None:
    site.operated.update('DONE')

    site.service('switches').step()

    assert (site.device.orders, site.journal()) == ([], [])


def test_a_failure_in_the_middle_is_mended_by_the_next_attempt(site: Site) -> None:
    service = site.service()
    site.operated.update('DONE')
    site.device.failures = 1
    service.step()
    service.step()
    assert len(site.device.orders) == 1
    site.now += 60

    service.step()

    assert site.device.version == '1.1.0'
    assert site.journal() == [
        (
            'component',
            f'hmp: 1.1.0 could not be applied, attempt 1 of {ATTEMPTS}: the fake device fails in the middle; try '
            'again; tried again in 60 s [component-not-applied]',
        ),
        ('component', 'hmp: 1.1.0 is in force (before: 1.0.0)'),
    ]


def test_after_the_last_attempt_there_is_an_alarm_and_peace_until_a_restart(site: Site) -> None:
    service = site.service()
    site.operated.update('DONE')
    site.device.forgetful = True
    for _ in range(ATTEMPTS + 3):
        service.step()
        site.now += 100_000
    assert len(site.device.orders) == ATTEMPTS
    kind, detail = site.journal()[-1]
    assert kind == 'alarm'
    assert 'it was applied without an error, but 1.0.0 is in force; mend the cause, then restart ovca.service' in detail
    site.device.forgetful = False

    site.service().step()

    assert site.device.version == '1.1.0'


@pytest.mark.parametrize('meanwhile', ['it stops serving', 'its lease expires', 'it has claimed the lease anew'])
def test_what_the_journal_could_not_take_at_once_is_in_it_later(
    site: Site, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = site.service()
    site.operated.update('DONE')
    site.device.unreachable = True
    for _ in range(ATTEMPTS - 1):
        service.step()
        site.now += 100_000

    def lost(self: FakeComponent) -> str:
        if meanwhile == 'it stops serving':
            site.epoch = None  # type: ignore[assignment]
        elif meanwhile == 'its lease expires':
            site.lease(renewed_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        else:
            site.lease(epoch=4)
        raise ComponentError('the switch does not answer')

    with monkeypatch.context() as outage, contextlib.suppress(DatabaseError):
        outage.setattr(FakeComponent, 'applied', lost)
        service.step()
    assert not [detail for kind, detail in site.journal() if kind == 'alarm']

    site.epoch = 4 if meanwhile == 'it has claimed the lease anew' else 3
    with site.operated.database.read() as session:
        site.lease(renewed_at=site.operated.database.now(session))
    for _ in range(ATTEMPTS):
        service.step()
        site.now += 100_000

    (alarm,) = [detail for kind, detail in site.journal() if kind == 'alarm']
    assert 'hmp: 1.1.0 is not in force, tried 4 times' in alarm


def test_a_missing_tree_is_told_and_not_passed_over(site: Site) -> None:
    site.operated.update('DONE')
    site.tree.rmdir()

    site.service().step()

    assert f'{site.tree} is not there; see to the shared storage' in site.journal()[-1][1]


def test_a_mistake_in_a_component_does_not_end_the_service(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self: FakeComponent, version: str, tree: Path) -> None:
        raise KeyError('rack')

    monkeypatch.setattr(FakeComponent, 'apply', apply)
    site.operated.update('DONE')

    site.service().step()

    assert "attempt 1 of 4: KeyError: 'rack'" in site.journal()[-1][1]


def test_the_next_image_is_applied_by_the_same_service(site: Site) -> None:
    site.operated.update('DONE')
    service = site.service()
    service.step()
    (site.operated.folder / 'shared/hmp_image/1.2.0').mkdir()
    site.operated.image('1.2.0', 'c' * 64).update('DONE', version='1.2.0', digest='c' * 64)
    service.running_digest = 'c' * 64

    service.step()

    assert site.device.version == '1.2.0'
