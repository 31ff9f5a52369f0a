"""``ovca site-show``."""

from __future__ import annotations

import dataclasses

import pytest

from ovca.provision.authority import SiteFile
from ovca.provision.site import state
from ovca.provision.site.state import ItemState, SiteState
from ovca.provision.site.survey import Loss, Why
from ovca.testing import run

STATE = SiteState(
    node='mn1',
    version='1.0.0',
    installation='x',
    items=(
        ItemState('configuration', state.SAVED),
        ItemState('network', state.SAVED, notes={'card eth0': '52:54:00:00:00:01'}),
        ItemState('files', state.FAILED, 'site item files could not be saved'),
    ),
    files=(SiteFile('etc/ovca.conf', 0o600, b'geheim', 'configuration', 'root', 'adm'),),
    losses=(Loss('etc/motd', Why.CHANGED),),
    losses_total=2,
    report={
        'items': [
            {'name': 'configuration', 'outcome': 'carried over', 'detail': ''},
            {'name': 'lights', 'outcome': 'failed', 'detail': 'no answer'},
        ],
        'lost': ['etc/before (added)'],
    },
)


@pytest.fixture
def saved(ovca_config):
    for node in ('mn1', 'mn2'):
        state.save(dataclasses.replace(STATE, node=node), ovca_config.shared)
    return ovca_config


def test_items_losses_and_the_last_install_are_shown(saved) -> None:
    rows = run(['site-show', '-f', 'json'], config_file=saved).json

    assert [(r['item'], r['state'], r['path'], r['last_install']) for r in rows] == [
        ('configuration', 'saved', None, 'carried over'),
        ('network', 'saved', None, None),
        ('files', 'failed', None, None),
        ('lights', 'no item of this system', None, 'failed: no answer'),
        (None, 'not carried over', 'etc/motd', None),
        (None, 'not carried over', None, None),
        (None, 'lost', 'etc/before (added)', None),
    ]
    assert rows[1]['detail'] == 'card eth0: 52:54:00:00:00:01'
    assert (rows[0]['node'], rows[0]['files'], rows[5]['files']) == ('mn1', 1, 1)


def test_a_name_of_no_node_is_not_told_to_start_its_service(saved) -> None:
    result = run(['site-show', 'mn9'], config_file=saved)

    assert result.code == 2
    assert result.err.startswith("ovca: nothing was saved of 'mn9', which is no management node; known are: mn1")


def test_files_are_listed_and_their_content_never(saved) -> None:
    done = run(['site-show', 'mn2', '--files', '-f', 'json'], config_file=saved)

    (file,) = [row for row in done.json if row['path'] == 'etc/ovca.conf']
    assert (file['node'], file['detail']) == ('mn2', '6 bytes, mode 0600, root:adm')
    assert 'geheim' not in done.out and 'Z2VoZWlt' not in done.out


def test_a_node_that_has_saved_nothing_is_an_error(ovca_config) -> None:
    done = run(['site-show', 'mn2'], config_file=ovca_config)

    assert done.code == 11
    assert done.err.rstrip().endswith('[no-site-files]')
