"""The promises of the base, shown on the fake machine."""

import pytest

from ovca.exceptions import ConfigError, PowerError
from ovca.power import bmc_of
from ovca.power.base import Bmc, BootDevice, NotCapable, NotOff, PowerDriver, PowerState
from ovca.power.fake import FakeMachine, FakePower, Vices

BMC = Bmc('mn1', 'https://operator:hunter2@bmc1.example.com/redfish/v1/Systems/1', 'operator', 'hunter2')


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += max(seconds, 0.01)


@pytest.fixture
def machine():
    return FakeMachine(power=PowerState.ON)


@pytest.fixture
def power(machine):
    time = Time()
    return FakePower(BMC, machine=machine, clock=time, sleep=time.sleep)


def test_a_machine_that_is_off_is_not_ordered_off(machine, power):
    machine.power = PowerState.OFF

    power.off_and_wait(10)

    assert machine.orders == []


def test_off_is_waited_for_until_it_is_read(machine, power):
    machine.vices.off_delay = 7

    power.off_and_wait(10)

    assert machine.power is PowerState.OFF


def test_an_accepted_order_without_effect_is_repeated_and_then_an_error(machine, power):
    machine.vices.stuck_on = True

    with pytest.raises(NotOff, match=r'mn1: BMC https://bmc1.example.com.* 30 s later it says on'):
        power.off_and_wait(30)

    assert machine.orders.count('off') > 1


def test_an_unreachable_bmc_never_counts_as_off(machine, power):
    machine.power = PowerState.OFF
    machine.vices.unreachable = True

    with pytest.raises(NotOff, match='refused'):
        power.off_and_wait(5)


def test_a_bmc_that_does_not_answer_is_named_once_in_the_sentence(machine, power):
    machine.vices.unreachable = True

    with pytest.raises(NotOff) as caught:
        power.off_and_wait(5)

    assert str(caught.value).count('BMC https://bmc1.example.com') == str(caught.value).count('mn1') == 1
    assert '5 s later reading the power state failed: ' in str(caught.value)


def test_a_lost_reply_to_an_order_that_was_carried_out_is_no_error(machine, power):
    machine.vices.lose_replies = 1

    power.off_and_wait(5)

    assert machine.orders == ['off']


def test_a_boot_device_holds_for_one_boot(machine, power):
    power.set_boot_once(BootDevice.NETWORK)
    power.cycle(5)
    power.cycle(5)

    assert machine.boots == [BootDevice.NETWORK, BootDevice.DISK]


def test_a_vice_makes_it_hold_for_ever(machine, power):
    machine.vices = Vices(repeat_network_boot=True)
    power.set_boot_once(BootDevice.NETWORK)
    power.cycle(5)
    power.cycle(5)

    assert machine.boots == [BootDevice.NETWORK, BootDevice.NETWORK]


def test_errors_name_node_and_bmc_and_hold_no_secret(machine, power):
    machine.vices.unreachable = True

    with pytest.raises(PowerError) as caught:
        power.state()

    text = str(caught.value)
    assert text.startswith('mn1: BMC https://bmc1.example.com/redfish/v1/Systems/1: reading the power state failed')
    assert 'hunter2' not in text
    assert 'hunter2' not in repr(BMC).replace(BMC.address, '')


def test_what_a_driver_lacks_is_said_before_anything_is_touched():
    class Plain(PowerDriver):
        def _state(self):
            return PowerState.ON

        def _on(self): ...

        def _off(self): ...

    with pytest.raises(NotCapable, match='virtual media'):
        Plain(BMC).insert_media('http://example.com/x.iso')


def test_the_bmc_of_a_node_comes_from_the_configuration(tmp_path):
    import ovca.conf

    (tmp_path / 'secret').write_text('hunter2\n')
    (tmp_path / 'secret').chmod(0o600)
    (tmp_path / 'ovca.conf').write_text(
        f'[power]\nbmc = mn1:https://a/redfish/v1/Systems/1,mn2:http://b\nuser = op\n'
        f'password_file = {tmp_path / "secret"}\n'
    )
    conf = ovca.conf.load(str(tmp_path / 'ovca.conf'))

    found = bmc_of(conf, 'mn1')

    assert (found.address, found.user, found.password) == ('https://a/redfish/v1/Systems/1', 'op', 'hunter2')
    with pytest.raises(ConfigError, match='no BMC for mn3'):
        bmc_of(conf, 'mn3')


def test_a_driver_is_found_by_its_name(tmp_path):
    import ovca.conf
    from ovca.power import load

    (tmp_path / 'ovca.conf').write_text('[power]\ndriver = fake\nbmc = mn1:nowhere\n')

    assert isinstance(load(ovca.conf.load(str(tmp_path / 'ovca.conf')), 'mn1'), FakePower)
