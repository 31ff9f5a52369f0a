"""The Redfish driver against the emulator: a peer that is not ours, with vices."""

import dataclasses
import re
import time

import pytest
from labkit import log, starts, until

from ovca.cluster.health import HealthContext
from ovca.cluster.health_checks import PeerBmc
from ovca.exceptions import PowerError
from ovca.lab import config, spec
from ovca.lab.lab import Lab
from ovca.power.base import BootDevice, NotOff, PowerState
from ovca.power.redfish import BadAddress, RedfishPower
from tests.sessions import few_sessions

pytestmark = pytest.mark.extra('lab')


@pytest.fixture
def appliance(lab):
    found = Lab(lab)
    try:
        found.start(power=False)
        yield found
    finally:
        found.stop()


@pytest.fixture
def power(appliance):
    driver = appliance.power('mn1')
    driver.bmc = dataclasses.replace(driver.bmc, poll=0.05)
    return driver


def test_a_machine_is_switched_on_and_off_and_seen_to_be_so(appliance, power):
    assert power.state() is PowerState.OFF

    power.on()
    until(lambda: starts(appliance.node('mn1')))
    assert power.state() is PowerState.ON

    power.off_and_wait(10)
    assert power.state() is PowerState.OFF
    assert appliance.power('mn2').state() is PowerState.OFF


def test_a_boot_device_is_taken_once_even_if_the_bmc_says_continuous(appliance, power):
    power.set_boot_once(BootDevice.NETWORK)
    power.on()
    until(lambda: starts(appliance.node('mn1')))
    power.cycle(10)
    until(lambda: len(starts(appliance.node('mn1'))) == 2)

    text = log(appliance.node('mn1'))
    assert [line.split()[-1] for line in text.splitlines() if ': boot ' in line] == ['network', 'disk']


def test_off_comes_late_and_is_waited_for(appliance, power):
    power.on()
    appliance.set_vice('mn1', 'off_delay', 0.5)
    before = time.monotonic()

    power.off_and_wait(10)

    assert power.state() is PowerState.OFF
    assert time.monotonic() - before >= 0.5


def test_a_machine_that_stays_on_is_an_error_and_stays_on(appliance, power):
    power.on()
    appliance.set_vice('mn1', 'stuck_on', True)

    with pytest.raises(NotOff, match='it says on'):
        power.off_and_wait(0.3)

    assert power.state() is PowerState.ON
    appliance.set_vice('mn1', 'stuck_on', False)
    power.off_and_wait(10)


def test_an_unreachable_bmc_is_an_error_that_names_it(appliance, power):
    appliance.set_vice('mn1', 'unreachable', True)

    with pytest.raises(PowerError, match=f'mn1: BMC http://{appliance.node("mn1").bmc}:8000'):
        power.state()

    appliance.set_vice('mn1', 'unreachable', None)
    assert power.state() is PowerState.OFF


def test_a_bmc_that_does_not_listen_is_an_error(lab):
    with pytest.raises(PowerError, match='refused'):
        Lab(lab).power('mn1').state()


def test_a_wrong_password_is_said_without_it(appliance, power):
    wrong = RedfishPower(dataclasses.replace(power.bmc, password='open-sesame'))

    with pytest.raises(PowerError, match='refuses user admin; set') as caught:
        wrong.state()

    assert 'open-sesame' not in str(caught.value)


def test_a_wrong_system_is_said(appliance, power):
    wrong = RedfishPower(dataclasses.replace(power.bmc, address=f'{power.bmc.address}x'))

    with pytest.raises(PowerError, match='no such system'):
        wrong.state()


def test_without_a_system_in_the_address_the_only_one_is_taken(appliance, power):
    short = RedfishPower(dataclasses.replace(power.bmc, address=f'http://{appliance.node("mn1").bmc}:{spec.BMC_PORT}'))

    assert short.state() is PowerState.OFF


def test_an_address_that_is_none_is_refused_at_once(power):
    with pytest.raises(BadAddress):
        RedfishPower(dataclasses.replace(power.bmc, address='10.0.0.1'))


@pytest.fixture
def node_looks(appliance):
    """Makes a health check of mn1, which looks at the BMC of mn2."""
    node = appliance.node('mn1')
    for name, text in (
        ('etc/ovca.conf', config.text(config.sections(appliance.spec, node, None))),
        (config.BMC_PASSWORD, appliance.spec.bmc_password),
    ):
        (node.root / name).parent.mkdir(parents=True, exist_ok=True)
        (node.root / name).touch(0o600)
        (node.root / name).write_text(text)
    return lambda conf, acting: PeerBmc(HealthContext(conf, appliance.database(), 'mn1', acting))


@pytest.fixture
def look(appliance, node_looks):
    """One that looks each time it is asked."""
    return node_looks(appliance.conf('mn1'), lambda: True)


def asked(appliance):
    """What was asked of the BMC of mn2, in order."""
    return re.findall(r'"GET (\S+) HTTP', (appliance.folder / 'log/bmc-mn2.log').read_text())


def test_a_second_look_at_the_peer_asks_for_the_system_only(appliance, look):
    assert look.check() is None
    first = len(asked(appliance))

    assert look.check() is None

    assert first > 1
    assert asked(appliance)[first:] == [appliance.node('mn2').system]


def test_a_good_answer_counts_for_a_while_but_not_for_another_role_or_another_bmc(appliance, node_looks):
    acting, conf = [False], appliance.conf('mn1')
    conf.set_override('bmc_interval', 3600, group='health')
    look = node_looks(conf, lambda: acting[0])
    system = appliance.node('mn2').system

    assert (look.check(), look.check()) == (None, None)
    before = len(asked(appliance))

    acting[0] = True
    assert (look.check(), look.check()) == (None, None)
    assert asked(appliance)[before:] == [system]

    conf.set_override('bmc', {'mn2': f'{conf.power.bmc["mn2"]}x'}, group='power')
    before = len(asked(appliance))
    for _ in range(2):  # no good answer is none that counts
        with pytest.raises(PowerError, match='no such system'):
            look.check()
    assert asked(appliance)[before:] == ['/redfish/v1/', '/redfish/v1/']


def test_a_bmc_that_was_restarted_between_two_looks_is_no_trouble(appliance, look):
    assert look.check() is None

    appliance.stop()
    appliance.start(power=False)

    assert look.check() is None


def test_a_bmc_that_answers_now_and_then_keeps_no_session_for_each_time(appliance, node_looks):
    with few_sessions(2) as (address, bmc):
        conf = appliance.conf('mn1')
        conf.set_override('bmc', {'mn2': address}, group='power')
        look = node_looks(conf, lambda: True)
        for _ in range(5):
            assert look.check() is None
            bmc.deaf = True

    assert (bmc.opened, len(bmc.live)) == (5, 1)


def test_a_service_that_stops_leaves_no_session_at_the_bmc(appliance, node_looks):
    with few_sessions(2) as (address, bmc):
        conf = appliance.conf('mn1')
        conf.set_override('bmc', {'mn2': address}, group='power')
        for _ in range(3):  # each run of a service opens one, and there is room for two
            look = node_looks(conf, lambda: True)
            assert look.check() is None
            look.close()
            assert len(bmc.live) == 0
        assert look.check() is None  # a call that was under way when it was closed
        assert len(bmc.live) == 0


def test_another_password_is_taken_at_the_next_look(appliance, look):
    assert look.check() is None
    secret = appliance.node('mn1').root / config.BMC_PASSWORD

    secret.write_text('wrong')
    with pytest.raises(PowerError, match='refuses user'):
        look.check()
    secret.write_text(appliance.spec.bmc_password)

    assert look.check() is None
