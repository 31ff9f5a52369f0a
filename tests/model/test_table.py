"""The protocol's table is total and keeps its promises in every situation, whether or not it can be reached."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ovca.remaster.protocol import (
    ENDED,
    RULES,
    WIPING,
    Act,
    Grant,
    Health,
    Situation,
    Software,
    State,
    Which,
    decide,
    rule_for,
)
from tests.model.everywhere import VALUES, everywhere

pytestmark = pytest.mark.model


def test_every_situation_has_a_decision_that_the_loop_can_carry_out() -> None:
    def check(s: Any) -> None:
        decision = decide(s)

        assert (decision.to is not None) >= (decision.act in (Act.MOVE, Act.ATTEMPT))
        assert (s.state in WIPING) >= (decision.act in (Act.ISSUE, Act.DRIVE))
        if decision.act in (Act.ISSUE, Act.DRIVE, Act.ATTEMPT):
            assert not s.target_leads, 'a master would install itself'

    assert everywhere(check) > 1000


def test_a_wipe_of_the_second_node_is_decided_only_after_the_commit_point() -> None:
    def check(s: Any) -> None:
        decision = decide(s)

        if decision.to is State.INSTALL_2 and s.state not in (State.INSTALL_2, State.VERIFY_2):
            assert decision.commit_point or s.proven
        if decision.commit_point:
            assert s.leader is Which.FIRST
            assert s.leader_final and s.leader_runs is Software.NEW and s.leader_health is Health.SOAKED

    everywhere(check)


def test_an_update_that_is_over_stays_as_it_ended() -> None:
    def check(s: Any) -> None:
        decision = decide(s)

        if s.state in ENDED:
            assert decision.act in (Act.WAIT, Act.HAND_OVER)
            assert decision.to is None
        if decision.to is State.DONE:
            assert s.peer_final and s.peer_runs is Software.NEW and s.leader_runs is Software.NEW

    everywhere(check)


def test_a_new_attempt_needs_one_that_is_left() -> None:
    def check(s: Any) -> None:
        assert decide(s).act is not Act.ATTEMPT or s.attempts_left

    everywhere(check)


def test_what_waits_past_its_deadline_raises_an_alarm() -> None:
    def check(s: Any) -> None:
        decision = decide(s)

        assert decision.act is not Act.WAIT or s.state.ended or decision.alarm or not s.overdue

    everywhere(check)


def test_no_rule_believes_what_an_installer_reports() -> None:
    def check(s: Any) -> None:
        if s.grant is Grant.WRITTEN:
            assert rule_for(s) is rule_for(s.but(grant=Grant.CONSUMED))

    everywhere(check)


def test_everywhere_finds_the_one_situation_in_which_something_is_untrue() -> None:
    def check(s: Any) -> None:
        assert not (s.state is State.PROVING and s.late and s.leader is Which.SECOND and s.grant is Grant.FAILED)

    with pytest.raises(AssertionError) as raised:
        everywhere(check)

    assert raised.value.__notes__ == ['state=PROVING, late=True, leader=second, grant=failed']


def test_everywhere_knows_all_values_of_all_fields() -> None:
    assert set(VALUES) == {field.name for field in dataclasses.fields(Situation)}
    assert VALUES['late'] == (False, True)
    assert VALUES['state'] == tuple(State)


def test_the_rows_have_names_of_their_own() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
