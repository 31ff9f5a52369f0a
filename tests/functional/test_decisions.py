"""What operators decide, by command, in the process lab; and that what is foretold is what happens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ovca.db.models import Lease, Node
from ovca.power.base import BootDevice
from tests.functional.conftest import TIMES, Appliance, appliance_in, broken
from tests.stock import Stock

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(300)]


@pytest.fixture
def hasty(tmp_path: Path, stocked: Stock) -> Iterator[Appliance]:
    """An appliance that tries each install once, and waits for a roll-back's receiver for a few seconds only."""
    remaster = {**TIMES['remaster'], 'attempts': 1, 'rollback_deadline': 4}
    yield from appliance_in(tmp_path / 'lab', stocked, overrides={'remaster': remaster})


def told(appliance: Appliance, node: str, *words: str, code: int = 0) -> str:
    """Give a command as on a node; return what it said."""
    done = appliance.ovca(node, *words)
    assert done.returncode == code, f'{done.stdout}{done.stderr}\n' + '\n'.join(appliance.story())
    return done.stdout + done.stderr


def explained(appliance: Appliance, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(appliance.ovca(node, 'update-explain', '-f', 'json').stdout)
    return found


def waits(appliance: Appliance, state: str) -> None:
    """Wait until the update has done all that it may do without an operator's word."""
    appliance.until(
        f'it waits in {state}', lambda: any(e.detail.startswith(f'{state}: ') for e in appliance.events('waits'))
    )


def silent(appliance: Appliance, here: str, node: str) -> None:
    """Wait until a dead node has not been heard of for so long that it counts as dead."""
    appliance.until(
        f'{node} is silent', lambda: '[node-alive]' not in appliance.ovca(here, 'node-replace', node).stderr
    )


def configure(appliance: Appliance, node: str, change: Any) -> None:
    """Change a node's configuration as an operator does, and restart its service."""
    path = appliance.lab.node(node).root / 'etc/ovca.conf'
    path.write_text(change(path.read_text()))
    with appliance.database.read() as session:
        before = appliance.database.now(session)
    appliance.lab.kill_service(node)
    appliance.until(f'{node} is back', lambda: appliance.one(Node, node).last_seen_at > before)


def test_failover_hold_before_the_commit_point_a_foretold_roll_back_a_new_install_and_a_pause(
    appliance: Appliance,
) -> None:
    lab, old, new = appliance.lab, appliance.master, appliance.standby
    boots = [lab.node(node).boot_id.read_text() for node in (old, new)]

    # There and back, and no machine reboots.
    assert re.search(rf'{new} is master; nobody acted for \d', told(appliance, old, 'failover', '--yes'))
    appliance.ready()
    assert f'{old} is master' in told(appliance, new, 'failover', '--reason', 'back again', '--yes')
    appliance.ready()
    assert [lab.node(node).boot_id.read_text() for node in (old, new)] == boots

    # Held before its commit point, as long as it takes; then the new master dies.
    told(appliance, old, 'download', appliance.serve('1.1.0'))
    told(appliance, old, 'activate', '1.1.0', '--pause-before-commit', '--yes', '--no-wait')
    waits(appliance, 'PROVING')
    foretold = explained(appliance, old)
    assert (foretold['state'], foretold['rule'], appliance.master) == ('PROVING', 'proving-waits', new)
    assert re.match(
        rf'{old} sees .* is master .*; the update ends as FAILED_ROLLED_BACK', foretold['if_master_fails']
    ), foretold
    lab.cut_power(new)
    update = appliance.ended()
    assert (update.state, appliance.master) == ('FAILED_ROLLED_BACK', old), appliance.story()
    assert appliance.one(Node, new).quarantined

    # The node that was rolled back gets the old image, and the appliance is whole.
    assert 'is done' in told(appliance, old, 'node-reinstall', new, '--reason', 'rolled back', '--yes')
    assert [appliance.version(node) for node in (old, new)] == ['1.0.0', '1.0.0']
    assert not appliance.one(Node, new).quarantined
    appliance.ready()

    # The next update is paused before the wipe: a machine that asks now boots from its disk.
    lab.set_vice(new, 'stuck_on', True)
    told(appliance, old, 'activate', '1.1.0', '--yes', '--no-wait')
    appliance.in_state('INSTALL_1')
    assert 'is paused in INSTALL_1' in told(appliance, old, 'update-pause', '--reason', 'lunch')
    assert explained(appliance, new)['rule'] == 'first-paused'
    lab.set_vice(new, 'stuck_on', None)
    asked = lab.node(new).log.read_text().count('boot from disk')
    lab.power(new).set_boot_once(BootDevice.NETWORK)
    lab.reset(new)
    appliance.until('it asked', lambda: lab.node(new).log.read_text().count('boot from disk') > asked)
    assert appliance.wiped() == [new, new], 'by the first update and the install after it only'

    # And once more while it is installed: that goes on to its end, and the hand-over waits.
    told(appliance, old, 'update-continue', '--no-wait')
    appliance.until('it is wiped', lambda: len(appliance.wiped()) == 3)
    told(appliance, old, 'update-pause')
    waits(appliance, 'VERIFY_1')
    assert (appliance.update().state, appliance.master, appliance.version(new)) == ('VERIFY_1', old, '1.1.0')
    assert 'is done: both nodes run 1.1.0' in told(appliance, old, 'update-continue')


def test_with_a_dead_bmc_nobody_takes_over_until_somebody_says_what_is_off(appliance: Appliance) -> None:
    lab, dead, left = appliance.lab, appliance.master, appliance.standby
    lab.set_vice(dead, 'unreachable', True)
    lab.cut_power(dead)
    (alarm,) = appliance.until('an alarm', lambda: appliance.events('alarm'))

    wrong = told(appliance, left, 'master-claim', '--force', '--known-off', left, code=2)
    unasked = told(appliance, left, 'master-claim', '--force', code=6)
    with appliance.database.read() as session:
        lease = session.scalars(select(Lease)).one()
    said = told(appliance, left, 'master-claim', '--force', '--known-off', dead)

    assert (alarm.node, alarm.detail.startswith('no take-over: ')) == (left, True)
    assert ('[other-holder]' in wrong, '[no-terminal]' in unasked, lease.acting) == (True, True, False)
    assert said.startswith(f'{left} is master\n')
    assert any(f'{dead} is off; its BMC is dead' in e.detail for e in appliance.events('claim'))
    lab.set_vice(dead, 'unreachable', None)
    # The new master powers it on again, and it stands by.
    appliance.until(
        'it is back', lambda: appliance.one(Node, dead).role == 'standby' and appliance.one(Node, dead).ready
    )
    assert appliance.master == left


def test_a_machine_that_died_for_good_is_replaced_in_an_update_and_outside_of_one(appliance: Appliance) -> None:
    lab, second, first = appliance.lab, appliance.master, appliance.standby
    before = lab.node(second)
    appliance.request('update', uri=appliance.serve('1.1.0'))
    appliance.in_state('INSTALL_2')
    appliance.until('the second node is wiped', lambda: second in appliance.wiped())
    lab.set_vice(second, 'unreachable', True)
    lab.cut_power(second)

    machine = lab.new_machine(second)
    configure(
        appliance, first, lambda text: text.replace(before.mac, machine.mac).replace(before.system, machine.system)
    )
    silent(appliance, first, second)
    assert 'is done: both nodes run 1.1.0' in told(appliance, first, 'node-replace', second, '--yes')
    assert appliance.version(second) == '1.1.0'
    assert appliance.update().id == 1
    appliance.ready()

    # Outside of an update, and with a configuration that names no machine.
    lab.set_vice(second, 'unreachable', True)
    lab.cut_power(second)
    machine = lab.new_machine(second)
    configure(appliance, first, lambda text: re.sub(r'(?m)^(mac|bmc) = .*\n', '', text))
    silent(appliance, first, second)
    words = ['--mac', machine.mac, '--bmc', lab.bmc_as_seen_from(first, second)]
    assert 'is done' in told(appliance, first, 'node-replace', second, *words, '--reason', 'burnt', '--yes')
    assert appliance.version(second) == '1.1.0'
    node = appliance.one(Node, second)
    assert not node.quarantined


def test_a_roll_back_whose_receiver_is_away_leaves_the_new_node_serving_until_the_old_one_is_back(
    hasty: Appliance,
) -> None:
    lab, old, new = hasty.lab, hasty.master, hasty.standby
    hasty.request('update', uri=hasty.serve('1.1.0', plugins=broken('self.context.acting()')))
    hasty.in_state('PROVING')
    lab.set_vice(old, 'unreachable', True)
    lab.cut_power(old)

    update = hasty.ended()

    assert (update.state, hasty.master) == ('FAILED_DEGRADED', new), hasty.story()
    assert hasty.states()[-2:] == ['ROLLBACK', 'FAILED_DEGRADED']
    assert any('ROLLBACK' in str(e.from_state) for e in hasty.events('alarm'))
    # The old software is the one to trust, as soon as it can be had.
    lab.set_vice(old, 'unreachable', None)
    lab.power_on(old)
    hasty.until('the old node serves again', lambda: hasty.master == old)
    assert hasty.wiped() == [new]


def test_the_second_node_is_tried_again_until_what_keeps_it_is_mended(hasty: Appliance, tmp_path: Path) -> None:
    second, first = hasty.master, hasty.standby
    trouble = tmp_path / 'trouble'
    trouble.touch()
    condition = f'self.context.node == {second!r} and __import__("os").path.exists({str(trouble)!r})'
    hasty.request('update', uri=hasty.serve('1.1.0', plugins=broken(condition)))
    assert hasty.ended().state == 'FAILED_FORWARD', hasty.story()
    shown = json.loads(hasty.ovca(first, 'update-show', '-f', 'json').stdout)

    failed = told(hasty, first, 'update-retry', '--yes', code=8)
    trouble.unlink()
    done = told(hasty, first, 'update-retry', '--yes')
    back = told(hasty, first, 'activate', '1.0.0', '--allow-downgrade', '--yes', code=6)

    assert 'update-retry' in shown['next_step']
    assert f'({second}: broken: this image is broken)' in shown['reason']
    assert 'FAILED_FORWARD' in failed
    assert 'is done: both nodes run 1.1.0' in done
    assert 'the manifest of 1.1.0 does not allow to downgrade it' in back
    assert (hasty.master, hasty.wiped()) == (first, [first, second, second, second])
