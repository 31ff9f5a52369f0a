"""The checks before the later stages of an update."""

from __future__ import annotations

import pytest

from ovca.db.models import Lease, Operation, Update
from ovca.power.base import Bmc, PowerDriver, PowerState
from ovca.power.fake import FakeMachine, FakePower
from ovca.remaster.checks import Result, failures, power
from ovca.remaster.checks.stages import stage_checks
from ovca.remaster.protocol import State

from .conftest import Checked

STATES = {State.PROVING: 'VERIFY_1', State.INSTALL_2: 'PROVING'}


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeMachine]:
    found = {'mn1': FakeMachine(PowerState.ON), 'mn2': FakeMachine(PowerState.ON)}

    def power_of(conf: object, database: object, node: str) -> PowerDriver:
        return FakePower(Bmc(node, f'fake://{node}'), machine=found[node])

    monkeypatch.setattr(power, 'power_of', power_of)
    return found


@pytest.fixture(params=STATES)
def stage(request: pytest.FixtureRequest, checked: Checked, machines: dict[str, FakeMachine]) -> State:
    """A stage that an open update is about to enter."""
    checked.image()
    with checked.database.write() as session:
        now = checked.database.now(session)
        session.add(
            Update(
                state=STATES[request.param],
                version='1.1.0',
                digest='b' * 64,
                first='mn2',
                second='mn1',
                created_at=now,
                state_since=now,
                deadline_from=now,
                handovers=0,
            )
        )
    return State(request.param)


def failed(checked: Checked, stage: State) -> list[str]:
    results = stage_checks(checked.config.load(), checked.database, '1.1.0', stage)
    return [r.id for r in results if r.result is not Result.PASSED]


def test_the_open_update_itself_is_in_nobodys_way(checked: Checked, stage: State) -> None:
    assert failed(checked, stage) == []


def test_the_bmcs_that_are_needed_have_to_answer(
    checked: Checked, stage: State, machines: dict[str, FakeMachine]
) -> None:
    needed = {State.INSTALL_2: ['mn1'], State.PROVING: ['mn1', 'mn2']}[stage]

    for name, machine in machines.items():
        machine.vices.unreachable = True
        assert failed(checked, stage) == (['bmc'] if name in needed else [])
        machine.vices.unreachable = False


def test_what_came_to_fail_meanwhile_is_found(checked: Checked, stage: State) -> None:
    (iso,) = checked.config.shared.rglob('*.iso')
    iso.chmod(0o644)
    iso.write_bytes(b'')
    checked.config.set('image', space_reserve=2**50)
    with checked.database.write() as session:
        session.get_one(Lease, 'management').acting = False
        now = checked.database.now(session)
        session.add(Operation(name='backup', owner='otto', node='mn1', boot_id='x', pid=1, why='', taken_at=now))

    found = failed(checked, stage)

    assert found == ['lease', 'operation', 'image'] + (['space'] if stage is not State.PROVING else [])


def test_an_image_that_is_gone_fails_and_does_not_raise(checked: Checked, stage: State) -> None:
    results = stage_checks(checked.config.load(), checked.database, '1.2.0', stage)

    assert failures(results) == ['image: image 1.2.0 is not here']


def test_other_states_are_no_stages(checked: Checked) -> None:
    with pytest.raises(ValueError, match='DONE'):
        stage_checks(checked.config.load(), checked.database, '1.1.0', State.DONE)
