"""The check of the BMCs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovca.power.base import Bmc, PowerDriver, PowerState
from ovca.power.fake import FakeMachine, FakePower
from ovca.remaster.checks import Result, power
from tests.sessions import few_sessions

from .conftest import Checked


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeMachine]:
    """The machines behind the BMCs."""
    found = {'mn1': FakeMachine(PowerState.ON), 'mn2': FakeMachine(PowerState.ON)}

    def power_of(conf: object, database: object, node: str) -> PowerDriver:
        return FakePower(Bmc(node, f'fake://{node}'), machine=found[node])

    monkeypatch.setattr(power, 'power_of', power_of)
    return found


def test_both_bmcs_answer(checked: Checked, machines: dict[str, FakeMachine]) -> None:
    machines['mn2'].power = PowerState.OFF

    found = checked.check('bmc')

    assert (found.result, found.detail) == ('passed', 'the BMCs of both nodes answer')
    assert (found.facts['mn1']['power'], found.facts['mn2']['power']) == ('on', 'off')


def test_each_bmc_that_is_dead_is_named(checked: Checked, machines: dict[str, FakeMachine]) -> None:
    for machine in machines.values():
        machine.vices.unreachable = True

    found = checked.check('bmc')

    assert found.result is Result.FAILED
    assert 'mn1: BMC fake://mn1' in found.detail and 'mn2: BMC fake://mn2' in found.detail
    assert {facts['error_id'] for facts in found.facts.values()} == {'bmc-silent'}


def test_one_dead_bmc_leaves_the_other_looked_at(checked: Checked, machines: dict[str, FakeMachine]) -> None:
    machines['mn1'].vices.unreachable = True

    found = checked.check('bmc')

    assert (found.result, found.facts['mn2']['power'], 'mn2' in found.detail) == ('failed', 'on', False)


def test_a_bmc_that_does_not_tell_the_state_fails(checked: Checked, machines: dict[str, FakeMachine]) -> None:
    machines['mn2'].power = PowerState.UNKNOWN

    assert checked.check('bmc').detail == 'mn2: its BMC does not tell the power state'


@pytest.mark.extra('redfish')
def test_a_check_that_is_asked_again_and_again_leaves_no_sessions_at_the_bmcs(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / 'bmc').write_text('s3cret')
    with few_sessions(2) as (address, bmc):
        checked.config.set(
            'power',
            driver='redfish',
            user='admin',
            password_file=tmp_path / 'bmc',
            bmc=f'mn1:{address},mn2:{address}',
        )
        (tmp_path / 'bmc').chmod(0o600)

        found = [checked.check('bmc').result for _ in range(3)]

    assert (found, bmc.opened, bmc.live) == ([Result.PASSED] * 3, 6, {})
