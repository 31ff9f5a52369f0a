"""Network settings stay with the card, whatever the next system calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovca.provision.site.network import Network, by_address, cards
from ovca.testing.appliance import Config

KNOWN = {'eth0': '52:54:00:00:00:01', 'eth1': '52:54:00:00:00:02'}
NETWORKD = 'etc/systemd/network/10-lan.network'
MANAGER = 'etc/NetworkManager/system-connections/lan.nmconnection'


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    folder = tmp_path / 'sys/class/net'

    def lay(card: str, address: str, kind: str, *more: tuple[str, str]) -> None:
        (folder / card).mkdir(parents=True)
        for name, text in (('address', address), ('addr_assign_type', kind), *more):
            (folder / card / name).parent.mkdir(exist_ok=True)
            (folder / card / name).write_text(f'{text}\n')

    lay('eth0', '52:54:00:00:00:01', '0', ('device/x', ''))
    lay('eth1', '52:54:00:00:00:01', '2', ('device/x', ''), ('bonding_slave/perm_hwaddr', '52:54:00:00:00:02'))
    lay('eth2', '52:54:00:00:00:03', '3', ('device/x', ''))
    lay('bond0', '52:54:00:00:00:01', '2')
    lay('lo', '00:00:00:00:00:00', '0')
    return folder


def test_cards_are_known_by_the_address_that_was_burnt_in(sysfs: Path) -> None:
    assert cards(sysfs) == KNOWN, 'a card in a bond, one with a changed address, and what is no card'


def test_a_networkd_file_names_the_card_by_its_own_address() -> None:
    text = '# lan\n[Match]\nName = eth0 eth1\n\n[Network]\nName=not this\nDHCP=yes\n'

    assert by_address(NETWORKD, text, KNOWN) == (
        '# lan\n[Match]\nPermanentMACAddress=52:54:00:00:00:01 52:54:00:00:00:02\n\n'
        '[Network]\nName=not this\nDHCP=yes\n'
    )


@pytest.mark.parametrize(
    'text',
    [
        '[Match]\nName=en*\n',
        '[Match]\nName=br0\n',
        '[Match]\nName=eth0 br0\n',
        '[Match]\nMACAddress=52:54:00:00:00:09\nName=eth0\n',
        '[Network]\nName=eth0\n',
        '[Match]\nName=!eth0\n',
        '',
    ],
)
def test_what_does_not_mean_one_card_is_carried_over_as_it_is(text: str) -> None:
    assert by_address(NETWORKD, text, KNOWN) is None
    assert by_address('etc/systemd/network/10-lan.netdev', '[Match]\nName=eth0\n', KNOWN) is None
    assert by_address('etc/network/interfaces', 'auto eth0\n', KNOWN) is None


def test_a_keyfile_of_networkmanager_names_the_card_by_its_own_address() -> None:
    text = '[connection]\nid=lan\ntype=ethernet\ninterface-name=eth0\n\n[ethernet]\n\n[ipv4]\nmethod=auto\n'

    assert by_address(MANAGER, text, KNOWN) == (
        '[connection]\nid=lan\ntype=ethernet\n\n[ethernet]\nmac-address=52:54:00:00:00:01\n\n[ipv4]\nmethod=auto\n'
    )
    assert by_address(MANAGER, text.replace('[ethernet]\n\n', '').rstrip(), KNOWN) == (
        '[connection]\nid=lan\ntype=ethernet\n\n[ipv4]\nmethod=auto\n\n[ethernet]\nmac-address=52:54:00:00:00:01\n'
    )


@pytest.mark.parametrize(
    'text',
    [
        '[connection]\ntype=bridge\ninterface-name=eth0\n',
        '[connection]\ntype=ethernet\ninterface-name=eth9\n',
        '[connection]\ntype=ethernet\n',
        '[connection]\ntype=ethernet\ninterface-name=eth0\n[ethernet]\nmac-address=52:54:00:00:00:09\n',
    ],
)
def test_a_keyfile_for_something_else_is_carried_over_as_it_is(text: str) -> None:
    assert by_address(MANAGER, text, KNOWN) is None


def test_it_is_told_which_file_names_its_card_how(sysfs: Path, tmp_path: Path) -> None:
    files = {
        NETWORKD: '[Match]\nName=eth0\n',
        'etc/systemd/network/20-br0.network': '[Match]\nName=br0\n',
        'etc/systemd/network/20-br0.netdev': '[NetDev]\nName=br0\nKind=bridge\n',
        'etc/systemd/network/30.link': '[Match]\nMACAddress=52:54:00:00:00:02\n[Link]\nName=back\n',
        'etc/network/interfaces': 'auto eth0\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    item = Network(Config(tmp_path / 'appliance').load())
    item.name = 'network'

    found = item.files(tmp_path)
    notes = item.notes(tmp_path, [file.path for file in found])

    assert {file.path for file in found} == set(files)
    assert {file.path: file.content for file in found}[NETWORKD] == b'[Match]\nPermanentMACAddress=52:54:00:00:00:01\n'
    assert notes == {
        'card eth0': '52:54:00:00:00:01',
        'card eth1': '52:54:00:00:00:02',
        NETWORKD: 'by the address of the card',
        'etc/systemd/network/20-br0.network': 'by the name of the card',
        'etc/systemd/network/30.link': 'by the address of the card',
        'etc/network/interfaces': 'by the name of the card',
    }
