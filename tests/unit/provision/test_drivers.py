"""What a machine's firmware is given."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile

import pytest

from ovca import conf as configuration
from ovca.exceptions import ProvisionError
from ovca.lab.machine import parse
from ovca.provision.authority import Order
from ovca.provision.base import load
from ovca.provision.installer import joined, kernel_words
from ovca.provision.ipxe import IpxeDriver
from ovca.provision.pack import pack
from ovca.provision.process import ProcessDriver

ORDER = Order(
    node='mn2',
    update=7,
    attempt=1,
    version='1.1.0',
    digest='d' * 64,
    boot_token='-t0ken',
    boot_url='http://192.0.2.10:6641',
    tls_url='https://192.0.2.10:6642',
    tls_fingerprint='f' * 64,
    iso='mgmt_image/1.1.0/ovca-1.1.0.iso',
    shared_storage='/nfs/shared_storage',
    root='/',
)


def settings(**overrides):
    return configuration.load(overrides=[f'provision.{key}={value}' for key, value in overrides.items()])


@pytest.mark.parametrize(('name', 'kind'), [('ipxe', IpxeDriver), ('process', ProcessDriver)])
def test_the_configuration_names_the_driver(name, kind):
    assert type(load(settings(driver=name))) is kind


def test_an_ipxe_script_carries_the_whole_order_on_the_kernels_line():
    script = IpxeDriver(settings(kernel_args='console=ttyS0 quiet')).install_script(ORDER)

    lines = script.splitlines()
    kernel = next(line for line in lines if line.startswith('kernel '))
    assert lines[0] == '#!ipxe'
    assert kernel.startswith('kernel http://192.0.2.10:6641/image/1.1.0/boot/vmlinuz initrd=initrd ')
    assert kernel.endswith(' console=ttyS0 quiet || goto local')
    words = {f'--{f.name.replace("_", "-")}={getattr(ORDER, f.name)}' for f in dataclasses.fields(ORDER)}
    assert set(kernel_words(kernel)) == words


def test_each_way_an_ipxe_script_can_fail_ends_at_the_local_disk():
    driver = IpxeDriver(settings())

    steps = [
        line for line in driver.install_script(ORDER).splitlines() if line.split()[0] in ('kernel', 'initrd', 'boot')
    ]

    assert [step.endswith('|| goto local') for step in steps] == [True, True, True]
    assert driver.install_script(ORDER).endswith(':local\nsanboot --no-describe --drive 0x80 || exit\n')
    assert driver.local_script() == '#!ipxe\nsanboot --no-describe --drive 0x80 || exit\n'


def test_a_process_script_is_what_the_labs_firmware_reads():
    driver = ProcessDriver(settings())

    installer, arguments = parse(driver.install_script(ORDER))

    assert installer == 'http://192.0.2.10:6641/image/1.1.0/boot/installer.pyz'
    assert arguments == {key: str(value) for key, value in dataclasses.asdict(ORDER).items()}
    assert parse(driver.local_script()) == (None, {})


@pytest.mark.parametrize('driver', [IpxeDriver, ProcessDriver])
@pytest.mark.parametrize('value', ['', 'two words', 'line\nbreak', ' x', 'x\t', 'bell\a'])
def test_a_fact_that_is_not_a_single_word_makes_no_script(driver, value):
    with pytest.raises(ProvisionError, match='iso of its install order'):
        driver(settings()).install_script(dataclasses.replace(ORDER, iso=value))


def test_secrets_are_not_in_an_orders_repr():
    assert ORDER.boot_token not in repr(ORDER)


def test_pairs_are_joined_so_that_a_value_may_begin_with_a_dash():
    words = ['--boot-token', '-x', '--real', '--root', '/r', '--a=b', '--last']

    assert joined(words) == ['--boot-token=-x', '--real', '--root=/r', '--a=b', '--last']


def test_packing_twice_gives_the_same_bytes(tmp_path):
    pack(tmp_path / 'one')
    pack(tmp_path / 'two')

    assert (tmp_path / 'one').read_bytes() == (tmp_path / 'two').read_bytes()


def test_the_packed_installer_needs_nothing_but_the_standard_library(tmp_path):
    pack(tmp_path / 'installer.pyz')

    done = subprocess.run(
        [sys.executable, '-I', '-S', str(tmp_path / 'installer.pyz'), '--help'],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert (done.returncode, '--tls-fingerprint' in done.stdout) == (0, True)
    with zipfile.ZipFile(tmp_path / 'installer.pyz') as archive:
        assert all(name.startswith('ovca/') or name == '__main__.py' for name in archive.namelist())
