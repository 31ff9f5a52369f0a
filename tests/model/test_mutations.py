"""Each rule that is taken out breaks the property that it guards; what breaks none has a reason to stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ovca.remaster.protocol import RULES, Act, Rule, rule_for
from tests.model.everywhere import everywhere
from tests.model.explore import explore
from tests.model.invariants import NAMES
from tests.model.mutations import DEFENCES, MUTATIONS, ROWS_OUT, STAY, Mutation, without

pytestmark = pytest.mark.model


@pytest.mark.parametrize(
    ('mutation', 'number'),
    [
        pytest.param(mutation, number, id=f'{mutation.taken_out} breaks {number}')
        for mutation in MUTATIONS
        for number in mutation.breaks
    ],
)
def test_a_rule_that_is_taken_out_breaks_the_property_that_it_guards(mutation: Mutation, number: int) -> None:
    result = explore(mutation.config, only={number})

    assert result.broken == number
    assert result.trace or number == 12, 'it is told how'


def test_each_row_of_the_table_is_taken_out_or_has_a_reason_to_stay() -> None:
    taken_out = {mutation.taken_out for mutation in ROWS_OUT}

    assert taken_out | set(STAY) == {rule.id for rule in RULES}
    assert not taken_out & set(STAY)


def test_each_property_is_broken_by_something() -> None:
    broken = {number for mutation in MUTATIONS for number in mutation.breaks}

    assert broken == set(NAMES)


def test_reasons_to_stay_are_sentences() -> None:
    for why in (*STAY.values(), *DEFENCES.values()):
        assert len(why.split()) > 10


@pytest.mark.parametrize('taken_out', ['first-leads-late', 'second-leads-late', 'rollback-late', 'proving-late'])
def test_a_deadline_that_no_other_row_heeds_is_told_by_the_last_one(taken_out: str) -> None:
    def silent(rules: tuple[Rule, ...]) -> Callable[[Any], None]:
        def check(s: Any) -> None:
            decision = rule_for(s, rules).decision
            assert decision.act is not Act.WAIT or s.state.ended or decision.alarm or not s.overdue

        return check

    everywhere(silent(without('late-waiting')))
    everywhere(silent(without(taken_out)))
    with pytest.raises(AssertionError):
        everywhere(silent(without(taken_out, 'late-waiting')))
