"""The checks of both machines, with the other node's status server over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovca.daemon.status import status_app
from ovca.remaster.checks import Result

from .conftest import MACS, Checked


def test_the_status_server_of_the_other_node_tells(checked: Checked) -> None:
    checked.tell()

    assert (checked.check('peer-status').result, checked.check('peer-status').facts['node']) == ('passed', 'mn2')


def test_without_a_url_nobody_is_asked(checked: Checked) -> None:
    found = checked.check('peer-status')

    assert (found.result, found.detail) == ('skipped', '[cluster] peer_url is not set')


def test_a_status_server_of_older_software_tells_nothing(checked: Checked) -> None:
    checked.serve(status_app(dict, lambda: None))

    found = checked.check('peer-status')

    assert (found.result, 'older software' in found.detail) == ('skipped', True)


def test_a_status_server_that_is_gone_is_warned_of_once(checked: Checked) -> None:
    checked.config.set('cluster', peer_url='http://127.0.0.1:1')

    assert checked.check('peer-status').result is Result.WARNING
    assert checked.check('peer-status', retry=True).result is Result.SKIPPED
    assert [checked.check(id).result for id in ('clocks', 'space')] == ['skipped', 'passed']


def test_the_status_server_of_a_wrong_node_does_not_count(checked: Checked) -> None:
    checked.tell(lambda facts: facts.update(node='mn7'))

    found = checked.check('peer-status')

    assert (found.result, 'it is the one of mn7, and not of mn2' in found.detail) == ('warning', True)


@pytest.mark.parametrize(
    ('ahead', 'result', 'words'),
    [
        (0, 'passed', 'the clocks are within'),
        (20, 'warning', ' s ahead of the database'),
        (-90, 'failed', ' s behind the database'),
    ],
)
def test_the_clock_of_the_other_node(checked: Checked, ahead: float, result: str, words: str) -> None:
    def wrong(facts: dict[str, Any]) -> None:
        facts['time'] += ahead

    checked.config.set('check', clock_warning=10)
    checked.tell(wrong)

    found = checked.check('clocks')

    assert (found.result, words in found.detail) == (result, True), found
    assert ('the clock of mn2 is ' in found.detail) == (result != 'passed')
    assert abs(found.facts['seconds']['mn2'] - ahead) < 10


def test_the_clock_of_the_other_node_is_not_known(checked: Checked) -> None:
    found = checked.check('clocks')

    assert (found.result, 'peer_url is not set' in found.detail) == ('skipped', True)
    assert set(found.facts['seconds']) == {'mn1'}


def test_room_on_both_nodes_passes_with_each_file_system(checked: Checked) -> None:
    checked.tell()

    found = checked.check('space')

    assert found.result is Result.PASSED
    assert {row['node'] for row in found.facts['file_systems']} == {'mn1', 'mn2'}


def test_a_full_disk_of_the_other_node_fails(checked: Checked) -> None:
    full = {'path': '/var/log', 'free': 5, 'total': 100, 'shared': False}
    checked.config.set('check', space_reserve=10)
    checked.tell(lambda facts: facts['file_systems'].append(full))

    found = checked.check('space')

    assert found.result is Result.FAILED
    assert found.detail == '/var/log of mn2 has 5 bytes free, fewer than [check] space_reserve = 10'


def test_a_shared_storage_without_its_reserve_fails(checked: Checked) -> None:
    checked.config.set('image', space_reserve=2**50)

    found = checked.check('space')

    assert (found.result, '[image] space_reserve' in found.detail) == ('failed', True)


def test_a_shared_storage_that_is_not_there_fails(checked: Checked, tmp_path: Path) -> None:
    checked.config.set('image', shared_storage=tmp_path / 'nowhere')

    assert checked.check('space').result is Result.FAILED


def test_a_shared_storage_that_is_not_mounted_fails(checked: Checked, not_mounted: None) -> None:
    checked.config.set('image', shared_storage_mounted=True)

    found = checked.check('space')

    assert (found.result, 'is not mounted' in found.detail) == ('failed', True)


def test_cards_with_link_pass_on_both_nodes(checked: Checked) -> None:
    checked.config.set('provision', mac=MACS)
    checked.card()
    checked.tell(lambda facts: facts.update(cards=[{'name': 'eth1', 'mac': MACS['mn2'], 'link': True}]))

    found = checked.check('network-cards')

    assert (found.result, found.detail) == ('passed', 'the network cards of mn1 and mn2 have link')
    assert found.facts['mn2'] == {'mac': MACS['mn2'], 'card': 'eth1', 'link': True}


def test_a_card_without_link_fails(checked: Checked) -> None:
    checked.config.set('provision', mac=MACS)
    checked.card(link=False)

    found = checked.check('network-cards')

    assert found.result is Result.FAILED
    assert found.detail == f'the network card eth0 ({MACS["mn1"]}) of mn1 has no link'


def test_a_card_that_is_not_in_the_machine_fails(checked: Checked) -> None:
    checked.config.set('provision', mac=MACS)
    checked.card()
    checked.tell(lambda facts: facts.update(cards=[]))

    found = checked.check('network-cards')

    assert found.detail == f'mn2 has no network card {MACS["mn2"]}'
    assert 'name the right card in [provision] mac' in found.remedy


def test_where_no_card_is_known_none_is_looked_for(checked: Checked) -> None:
    found = checked.check('network-cards')

    assert (found.result, found.detail) == ('skipped', 'no card of mn1 is known; no card of mn2 is known')
