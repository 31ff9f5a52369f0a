"""The static configuration of dnsmasq."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from ovca import conf as configuration
from ovca.exceptions import ConfigError
from ovca.provision.dnsmasq import Host, hosts_of, render

HOSTS = [Host('mn1', '52:54:00:00:00:01', '10.77.0.11'), Host('mn2', '52:54:00:00:00:02', '10.77.0.12')]
GOOD = {
    'interface': 'eth1',
    'network': '10.77.0.0/24',
    'tftp_root': '/usr/lib/ipxe',
    'boot_url': 'http://10.77.0.10:6641/',
    'hosts': HOSTS,
}


def test_known_machines_get_their_address_and_ipxe_gets_the_boot_service():
    lines = render(**GOOD).splitlines()

    assert 'dhcp-range=10.77.0.0,static,255.255.255.0,1h' in lines
    assert [line for line in lines if line.startswith('dhcp-host')] == [
        'dhcp-host=52:54:00:00:00:01,set:mn1,10.77.0.11',
        'dhcp-host=52:54:00:00:00:02,set:mn2,10.77.0.12',
    ]
    assert 'dhcp-ignore=tag:!known' in lines
    assert 'dhcp-boot=tag:ipxe,http://10.77.0.10:6641/boot/${net0/mac:hexhyp}' in lines
    assert 'dhcp-boot=tag:!ipxe,tag:efihttp,http://10.77.0.10:6641/files/snponly.efi' in lines
    assert not [line for line in lines if line != line.strip() or not line]


def test_nothing_in_it_changes_from_one_update_to_the_next():
    assert render(**GOOD) == render(**GOOD)
    assert not {'dhcp-hostsfile', 'dhcp-hostsdir'} & {line.split('=')[0] for line in render(**GOOD).splitlines()}


def test_dnsmasq_takes_it(tmp_path):
    program = shutil.which('dnsmasq') or shutil.which('dnsmasq', path='/usr/sbin')
    if program is None:
        reason = 'dnsmasq is not installed (Debian: apt-get install dnsmasq-base)'
        if os.environ.get('OVCA_REQUIRE_PEERS') == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    path = tmp_path / 'dnsmasq.conf'
    path.write_text(render(**{**GOOD, 'interface': 'lo', 'tftp_root': str(tmp_path)}))

    done = subprocess.run([program, '--test', f'--conf-file={path}'], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ('wrong', 'said'),
    [
        ({'interface': 'eth1\nport=53'}, 'interface'),
        ({'interface': ''}, 'interface'),
        ({'tftp_root': '/a,b'}, 'tftp_root'),
        ({'boot_url': 'http://x #'}, 'boot_url'),
        ({'network': '10.77.0.1/24'}, 'boot network'),
        ({'hosts': []}, 'no machine'),
        ({'hosts': [Host('mn 1', '52:54:00:00:00:01', '10.77.0.11')]}, 'not a name'),
        ({'hosts': [Host('mn1', '52:54', '10.77.0.11')]}, 'network card'),
        ({'hosts': [Host('mn1', '52:54:00:00:00:01', '10.78.0.11')]}, 'no address of the boot network'),
        ({'hosts': [Host('mn1', '52:54:00:00:00:01', 'x')]}, 'no address of the boot network'),
        ({'hosts': [HOSTS[0], Host('mn2', HOSTS[0].mac, '10.77.0.12')]}, 'the same mac'),
    ],
)
def test_what_dnsmasq_would_read_as_something_else_is_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        render(**{**GOOD, **wrong})


def test_the_machines_are_those_of_the_configuration():
    conf = configuration.load(overrides=['provision.mac=mn2:52-54-00-00-00-02,mn1:52-54-00-00-00-01'])

    assert hosts_of(conf, {'mn1': '10.77.0.11', 'mn2': '10.77.0.12'}) == HOSTS
    with pytest.raises(ConfigError, match='mn2'):
        hosts_of(conf, {'mn1': '10.77.0.11'})
