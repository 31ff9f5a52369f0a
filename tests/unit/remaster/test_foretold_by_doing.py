"""Each forecast of ``update-explain`` is tried: what it names fails, and both nodes do what was foretold."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from ovca.db.models import Update
from ovca.remaster import directives
from ovca.remaster.directives import Kind
from ovca.remaster.protocol import State
from tests.operated import NEW, OLD, Operated
from tests.pair import Pair
from tests.unit.conftest import Install


@pytest.fixture
def pair(operated: Operated, install: Install) -> Pair:
    install('ovca_bench', {'ovca.power': {'bench': 'tests.pair:BenchPower'}})
    return Pair(operated.started().image('1.0.0', OLD).image('1.1.0', NEW))


def in_state(state: str) -> Callable[[Pair], None]:
    return lambda pair: pair.until(lambda: pair.state == state)


def granted(state: str, node: str) -> Callable[[Pair], None]:
    """The right to wipe it is given, and it was not told yet to boot its installer."""
    return lambda pair: pair.until(lambda: pair.state == state and pair.open_grant(node) is not None)


def wiped(state: str, node: str) -> Callable[[Pair], None]:
    """Its installer has begun."""
    return lambda pair: pair.until(lambda: pair.state == state and len(pair.sides[node].booting) == 1)


def held(pair: Pair) -> None:
    with pair.database.write() as session:
        directives.give(session, session.get_one(Update, 1), Kind.HOLD, 'ada')
    pair.until(lambda: pair.state == 'PROVING')
    pair.settle()


def rolling_back(pair: Pair) -> None:
    pair.until(lambda: pair.state == 'PROVING')
    with pair.database.write() as session:
        session.get_one(Update, 1).abort_requested_at = pair.database.now(session)
    pair.until(lambda: pair.state == 'ROLLBACK')


MOMENTS: dict[str, Callable[[Pair], None]] = {
    'REQUESTED': lambda pair: None,
    'INSTALL_1, before the wipe': granted('INSTALL_1', 'mn2'),
    'INSTALL_1, wiped': wiped('INSTALL_1', 'mn2'),
    'VERIFY_1': in_state('VERIFY_1'),
    'PROVING': lambda pair: pair.until(lambda: pair.state == 'PROVING' and pair.leader is pair.sides['mn2']),
    'PROVING, held': held,
    'ROLLBACK': rolling_back,
    'INSTALL_2, before the wipe': granted('INSTALL_2', 'mn1'),
    'INSTALL_2, wiped': wiped('INSTALL_2', 'mn1'),
    'VERIFY_2': in_state('VERIFY_2'),
}
FAULTS: dict[str, Callable[[Pair, str, str], None]] = {
    'if_master_fails': lambda pair, master, other: pair.dies(master),
    'if_other_node_fails': lambda pair, master, other: pair.dies(other),
    'if_bmc_of_other_node_fails': lambda pair, master, other: pair.goes_dark(other),
    'if_bmc_of_master_fails': lambda pair, master, other: pair.goes_dark(master),
}
SAID = re.compile(r'the update (?:ends as|stays in|goes on to) (\w+)')


def test_without_a_fault_this_appliance_is_updated(pair: Pair) -> None:
    pair.until(lambda: pair.state == 'DONE')

    assert pair.path() == ['INSTALL_1', 'VERIFY_1', 'PROVING', 'INSTALL_2', 'VERIFY_2', 'DONE']


@pytest.mark.parametrize(('moment', 'fault'), [*itertools.product(MOMENTS, FAULTS)])
def test_what_is_foretold_is_what_comes(pair: Pair, moment: str, fault: str) -> None:
    MOMENTS[moment](pair)
    facts: dict[str, Any] = pair.operated.service().explain()
    foretold = facts[fault]
    said = SAID.findall(foretold) or [facts['state']]
    done = len(pair.path())

    FAULTS[fault](pair, facts['master'], facts['other_node'])
    pair.later(11)  # until then the row of a node that has died looks fresh to the checks
    pair.settle()
    if 'once it is continued' in foretold:
        assert pair.state == facts['state'], 'it was to wait for a person'
        with pair.database.write() as session:
            directives.lift(session, session.get_one(Update, 1), (Kind.HOLD,), 'ada')
    while not State(pair.state).ended and pair.passed < 9000:
        pair.later(1100)
        pair.settle()

    came = [facts['state'], *pair.path()[done:]]
    print(f'{moment}; {fault}: {foretold}\n  SAID {said}\n CAME {came} leader {pair.leader and pair.leader.name}')
    assert (said[0] in came, said[-1]) == (True, came[-1]), (foretold, came, pair.story())
