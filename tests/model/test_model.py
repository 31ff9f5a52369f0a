"""No world breaks a property; the election is total and careful."""

from __future__ import annotations

import functools
import itertools

import pytest

from ovca.cluster.election import Standing, Step, step
from ovca.remaster.protocol import RULES, Software, may_claim
from tests.model.explore import Result, explore
from tests.model.world import BAD, BAD_MASTER, Config
from tests.model.worlds import CORE

# One worker has them all: then a world is explored once.
pytestmark = [pytest.mark.model, pytest.mark.xdist_group('model')]


@functools.cache
def explored(config: Config) -> Result:
    """What can happen in a world; explored once, however many look at it."""
    return explore(config)


@pytest.mark.parametrize('name', CORE)
def test_nothing_that_can_happen_breaks_an_invariant(name: str) -> None:
    result = explored(CORE[name])

    assert result.broken is None, str(result)


def test_a_good_image_without_faults_is_done_on_both_nodes() -> None:
    assert explored(CORE['no faults']).ends == {'DONE'}


@pytest.mark.parametrize('image', [BAD, BAD_MASTER])
def test_a_bad_image_never_ends_as_done_or_after_the_commit_point(image: str) -> None:
    result = explore(Config(image=image, early_give_up=False))

    assert result.ends <= {'ABORTED', 'FAILED_DEGRADED', 'FAILED_ROLLED_BACK'}


def test_an_exploration_that_is_cut_off_says_so() -> None:
    result = explore(CORE['good image'], until=0)

    assert result.cut and result.broken is None
    assert str(result) == '1 states, 0 moves: no violation until the time was over'


def test_the_same_world_is_explored_in_the_same_way_each_time() -> None:
    first, second = explore(Config(faults=False)), explore(Config(faults=False))

    assert (first.states, first.moves) == (second.states, second.moves)


UNREACHED = {
    'proving-not-pinned',  # a safeguard: nobody leads in PROVING whose entry is not final
    'late-waiting',  # a safeguard: each state has a rule of its own for its deadline
}


def test_every_row_of_the_table_applies_somewhere() -> None:
    used = set[str]()
    for config in CORE.values():
        used |= explored(config).rules

    assert {rule.id for rule in RULES} - used == UNREACHED


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
