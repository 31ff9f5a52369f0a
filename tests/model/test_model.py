"""The protocol's table is total, no world breaks an invariant, and each rule that is taken out breaks one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovca.cluster.election import Standing, Step, step
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
    Verdict,
    Which,
    decide,
    may_claim,
    rule_for,
)
from tests.model.explore import explore
from tests.model.world import BAD, BAD_MASTER, Config
from tests.model.worlds import CORE, EARLY, MUTATIONS, Mutation

pytestmark = pytest.mark.model

SITUATIONS = st.builds(
    Situation,
    state=st.sampled_from(State),
    leader=st.sampled_from(Which),
    leader_runs=st.sampled_from(Software),
    leader_final=st.booleans(),
    leader_final_before=st.booleans(),
    leader_health=st.sampled_from(Health),
    peer_runs=st.sampled_from(Software),
    peer_final=st.booleans(),
    peer_health=st.sampled_from(Health),
    peer_ready=st.booleans(),
    proven=st.booleans(),
    grant=st.sampled_from(Grant),
    wiped=st.booleans(),
    rehashed=st.sampled_from(Verdict),
    checks=st.sampled_from(Verdict),
    stage_checks=st.sampled_from(Verdict),
    attempts_left=st.booleans(),
    late=st.booleans(),
    abort=st.booleans(),
    paused=st.booleans(),
    held=st.booleans(),
    resets_left=st.booleans(),
    hand_overs_left=st.booleans(),
)


@pytest.mark.parametrize('name', CORE)
def test_nothing_that_can_happen_breaks_an_invariant(name: str) -> None:
    result = explore(CORE[name])

    assert result.broken is None, str(result)


def test_a_good_image_without_faults_is_done_on_both_nodes() -> None:
    assert explore(Config(faults=False)).ends == {'DONE'}


@pytest.mark.parametrize('image', [BAD, BAD_MASTER])
def test_a_bad_image_never_ends_as_done_or_after_the_commit_point(image: str) -> None:
    result = explore(Config(image=image, early_give_up=False))

    assert result.ends <= {'ABORTED', 'FAILED_DEGRADED', 'FAILED_ROLLED_BACK'}


def test_a_hand_over_that_is_given_up_before_the_demotion_ends_in_service_again() -> None:
    result = explore(EARLY)

    assert result.broken is None, str(result)


@pytest.mark.parametrize(
    ('mutation', 'number'),
    [
        pytest.param(mutation, number, id=f'{mutation.taken_out} breaks {number}')
        for mutation in MUTATIONS
        for number in mutation.breaks
    ],
)
def test_a_rule_that_is_taken_out_breaks_an_invariant(mutation: Mutation, number: int) -> None:
    result = explore(mutation.config, only={number})

    assert result.broken == number
    assert result.trace


def test_the_same_world_is_explored_in_the_same_way_each_time() -> None:
    first, second = explore(Config(faults=False)), explore(Config(faults=False))

    assert (first.states, first.moves) == (second.states, second.moves)


UNREACHED = {
    'requested-late',  # the model's checks come to an end at once
    'proving-not-pinned',  # a safeguard: nobody leads in PROVING whose entry is not final
    'late-waiting',  # a safeguard: each state has a rule of its own for its deadline
}


def test_every_row_of_the_table_applies_somewhere() -> None:
    used = set[str]()
    for config in CORE.values():
        used |= explore(config, only=()).rules

    assert {rule.id for rule in RULES} - used == UNREACHED


# The table is total.


def test_every_state_leader_software_and_evidence_has_a_decision() -> None:
    axes = (
        State,
        Which,
        Software,
        (False, True),
        Software,
        (False, True),
        Grant,
        (False, True),
        (False, True),
    )
    for state, leader, runs, final, peer_runs, peer_final, grant, late, ready in itertools.product(*axes):
        situation = Situation(
            state=state,
            leader=leader,
            leader_runs=runs,
            leader_final=final,
            peer_runs=peer_runs,
            peer_final=peer_final,
            peer_ready=ready,
            grant=grant,
            late=late,
        )

        assert rule_for(situation).applies(situation)


@settings(max_examples=3000, deadline=None)
@given(SITUATIONS)
def test_every_situation_has_a_decision_that_the_loop_can_carry_out(s: Situation) -> None:
    decision = decide(s)

    if decision.act in (Act.MOVE, Act.ATTEMPT):
        assert decision.to is not None
    if decision.act in (Act.ISSUE, Act.DRIVE):
        assert s.state in WIPING
    if decision.act in (Act.ISSUE, Act.DRIVE, Act.ATTEMPT):
        assert not s.target_leads, 'a master would install itself'


@settings(max_examples=3000, deadline=None)
@given(SITUATIONS)
def test_a_wipe_of_the_second_node_is_decided_only_after_the_commit_point(s: Situation) -> None:
    decision = decide(s)

    if decision.to is State.INSTALL_2 and s.state not in (State.INSTALL_2, State.VERIFY_2):
        assert decision.commit_point or s.proven
    if decision.commit_point:
        assert s.leader is Which.FIRST
        assert s.leader_final and s.leader_runs is Software.NEW and s.leader_health is Health.SOAKED


@settings(max_examples=2000, deadline=None)
@given(SITUATIONS)
def test_an_update_that_is_over_stays_as_it_ended(s: Situation) -> None:
    decision = decide(s)

    if s.state in ENDED:
        assert decision.act in (Act.WAIT, Act.HAND_OVER)
        assert decision.to is None
    if decision.to is State.DONE:
        assert s.peer_final and s.peer_runs is Software.NEW and s.leader_runs is Software.NEW


@settings(max_examples=2000, deadline=None)
@given(SITUATIONS)
def test_a_new_attempt_needs_one_that_is_left(s: Situation) -> None:
    assert decide(s).act is not Act.ATTEMPT or s.attempts_left


# The election is total, and careful.


def _standings() -> itertools.product[tuple[bool, ...]]:
    return itertools.product((False, True), repeat=len(Standing.__dataclass_fields__))


def test_the_election_answers_every_standing() -> None:
    for values in _standings():
        assert isinstance(step(Standing(*values)), Step)


def test_nobody_acts_without_a_proof_about_the_other_node() -> None:
    for values in _standings():
        s = Standing(*values)

        if step(s) is Step.ACT:
            assert s.mine and s.eligible
            assert s.fenced or s.previous_demoted or not s.has_peer


def test_whoever_may_not_lead_neither_claims_nor_acts() -> None:
    for values in _standings():
        s = Standing(*values)

        if not s.eligible:
            assert step(s) in (Step.WATCH, Step.STAY_DOWN)


def test_new_software_leads_only_when_its_entry_is_final() -> None:
    assert may_claim(Software.OLD, False, update_open=True, runs_known=True)
    assert may_claim(Software.NEW, True, update_open=True, runs_known=True)
    assert not may_claim(Software.NEW, False, update_open=True, runs_known=True)
    assert not may_claim(Software.UNKNOWN, True, update_open=True, runs_known=True)
    assert not may_claim(Software.UNKNOWN, False, update_open=False, runs_known=False)
