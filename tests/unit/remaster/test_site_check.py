"""The check of the site settings, and the line of the plan: what a wipe would lose."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import time

import pytest

from ovca.db.models import Node
from ovca.provision.site import state
from ovca.provision.site.state import ItemState, SiteState
from ovca.provision.site.survey import Loss, Why
from ovca.remaster import site_check
from ovca.remaster.checks import Check, CheckContext, Result
from ovca.remaster.site_check import SiteSettings
from ovca.testing import contracts

GOOD = SiteState('mn1', '1.0.0', 'x', (ItemState('files', state.SAVED),), ())
LOSSES = tuple(Loss(f'etc/{name}', Why.ADDED) for name in ('a', 'b', 'c', 'd'))


@pytest.fixture
def saved(ovca_config, ovca_database):
    def save(**nodes: SiteState) -> CheckContext:
        for node, found in nodes.items():
            state.save(dataclasses.replace(found, node=node), ovca_config.shared)
        return CheckContext(ovca_config.load(), ovca_database, None)

    return save


def test_it_passes_when_nothing_would_be_lost(saved) -> None:
    context = saved(mn1=GOOD, mn2=GOOD)

    assert SiteSettings(context).check().result is Result.PASSED


@pytest.mark.parametrize(
    ('bad', 'text'),
    [
        (
            {'losses': LOSSES, 'losses_total': 4},
            'mn2: 4 files would not be carried over: etc/a, etc/b, etc/c and others',
        ),
        ({'losses': LOSSES[:1], 'losses_total': 1}, 'mn2: 1 file would not be carried over: etc/a'),
        (
            {'losses': (Loss('etc/M\udcfcller', Why.ADDED),), 'losses_total': 1},
            'mn2: 1 file would not be carried over: etc/M\\udcfcller',
        ),
        ({'items': (ItemState('lights', state.FAILED, 'x'),)}, 'mn2: the site items lights could not be saved'),
        ({'compared': 'no list'}, 'mn2: which files would not be carried over is not known: no list'),
    ],
)
def test_it_warns_of_the_node_that_would_lose_something(saved, bad, text) -> None:
    context = saved(mn1=GOOD, mn2=dataclasses.replace(GOOD, **bad))

    answer = SiteSettings(context).check()

    assert (answer.result, answer.detail) == (Result.WARNING, text)
    assert answer.remedy.endswith('a node looks anew every minute')


def test_a_node_of_which_nothing_was_saved_is_named(saved) -> None:
    answer = SiteSettings(saved(mn1=GOOD)).check()

    assert answer.result is Result.WARNING
    assert answer.detail.startswith('mn2: ') and answer.detail.endswith('site.json does not exist')


@pytest.mark.parametrize('runs', [True, False])
def test_it_warns_of_a_node_that_runs_on_without_saving(saved, runs, ovca_config, ovca_database) -> None:
    context = saved(mn1=GOOD, mn2=GOOD)
    days_ago = time.time() - 3 * 86400
    os.utime(state.folder(ovca_config.shared, 'mn2') / state.NEWEST, (days_ago, days_ago))
    with ovca_database.write() as session:
        node = session.get_one(Node, 'mn2')
        node.last_seen_at = ovca_database.now(session) - dt.timedelta(days=0 if runs else 3)

    answer = SiteSettings(context).check()

    assert answer.result is (Result.WARNING if runs else Result.PASSED)
    if runs:  # what a dead one had is all that there is
        last = dt.datetime.fromtimestamp(days_ago, dt.UTC)
        assert answer.detail.startswith(
            f'mn2: its settings are those of {last:%Y-%m-%dT%H:%M:%SZ}, and it has run until '
        )
        assert 'all site settings' not in answer.detail


def test_of_what_older_software_saved_it_is_not_known_when_it_looked_last(ovca_config, ovca_database) -> None:
    for node in ('mn1', 'mn2'):
        place = state.folder(ovca_config.shared, node)
        place.mkdir(parents=True)
        (place / state.NEWEST).write_text('[]')  # a list of files; written when one of them changed
        os.utime(place / state.NEWEST, (0, 0))

    answer = SiteSettings(CheckContext(ovca_config.load(), ovca_database, None)).check()

    assert answer.result is Result.PASSED


class TestSite(contracts.CheckContract):
    name = 'site'

    def make_passing(self) -> Check:
        return self.saved(GOOD)

    def make_failing(self) -> Check:
        return self.saved(dataclasses.replace(GOOD, losses=LOSSES, losses_total=4))

    def saved(self, found: SiteState) -> Check:
        for node in ('mn1', 'mn2'):
            state.save(dataclasses.replace(found, node=node), self.config.shared)
        return site_check.SiteSettings(self.context())
