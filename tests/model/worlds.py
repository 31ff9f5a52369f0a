"""The worlds that are explored: those in which nothing may go wrong, and those that lack one rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from ovca.cluster.election import Standing, Step, step
from ovca.remaster.protocol import RULES, Grant, Health, Rule, Situation, Software, Which
from tests.model.world import BAD, BAD_MASTER, Config

CORE = {
    'no faults': Config(faults=False),
    'good image': Config(torn=True, early_give_up=False),
    'bad image': Config(image=BAD, torn=True, abort=True, early_give_up=False),
    'image bad as master': Config(image=BAD_MASTER, torn=True, abort=True, early_give_up=False),
    'good image, an abort': Config(abort=True, early_give_up=False),
    'decisions that stall': Config(inflight=True, early_give_up=False),
    'a retry': Config(retries=1, early_give_up=False),
    'paused and held': Config(pause=True, hold=True, early_give_up=False),
    'held, and bounds used up': Config(image=BAD_MASTER, hold=True, caps=True, early_give_up=False),
    'checks that fail': Config(blocked=True, early_give_up=False),
    'a retry, and bounds used up': Config(retries=1, caps=True, early_give_up=False),
}
"""Less than ten seconds together, on one core."""

DEEP = {
    'good image, all at once': Config(abort=True, torn=True, retries=1, inflight=True, early_give_up=False),
    'bad image, all at once': Config(image=BAD, abort=True, torn=True, retries=1, inflight=True, early_give_up=False),
    'image bad as master, all at once': Config(
        image=BAD_MASTER, abort=True, torn=True, retries=1, inflight=True, early_give_up=False
    ),
    'paused, all at once': Config(pause=True, hold=True, abort=True, torn=True, retries=1, early_give_up=False),
    'two retries': Config(retries=2, early_give_up=False),
}
"""A minute together."""

EARLY = Config()
"""A hand-over may also be given up between the stop of the roles and the note of the demotion."""


class Mutation(NamedTuple):
    """A world without one rule, and the invariants that this must break, each by itself."""

    taken_out: str
    config: Config
    breaks: tuple[int, ...]


def without(*ids: str, rules: tuple[Rule, ...] = RULES) -> tuple[Rule, ...]:
    """The table without some rows."""
    left = tuple(rule for rule in rules if rule.id not in ids)
    if len(left) != len(rules) - len(ids):
        raise ValueError(f'the table has not all of {ids}')
    return left


def guarded(id: str, guard: Callable[[Situation], bool], rules: tuple[Rule, ...] = RULES) -> tuple[Rule, ...]:
    """The table with another guard in one row."""
    if id not in {rule.id for rule in rules}:
        raise ValueError(f'the table has no {id}')
    return tuple(dataclasses.replace(rule, guard=guard) if rule.id == id else rule for rule in rules)


def anybody(runs: Software, final: bool, *, update_open: bool, runs_known: bool) -> bool:
    """May_claim without its rule: whatever boots may lead."""
    return runs_known


def acts_again(s: Standing) -> Step:
    """The election in which a demotion is not final for its epoch."""
    return Step.ACT if s.mine and s.this_run and s.demoted and s.giving_up else step(s)


def never_powered_off(s: Standing) -> Step:
    """The election without a fence."""
    what = step(s)
    return Step.ACT if what is Step.FENCE else what


def _no_soak(s: Situation) -> bool:
    return s.leader is Which.FIRST and s.leader_runs is Software.NEW


def _any_leader(s: Situation) -> bool:
    return s.leader_health is Health.SOAKED


def _first_seen_written(s: Situation) -> bool:
    return not s.target_leads and (s.peer_final or s.grant is Grant.WRITTEN)


def _second_by_label(s: Situation) -> bool:
    return not s.target_leads and s.leader_runs is Software.NEW


def _config(**options: object) -> Config:
    return dataclasses.replace(Config(early_give_up=False), **options)  # type: ignore[arg-type]


_COMMITS_ANYWHERE = without('proving-old-leads', 'proving-not-pinned', rules=guarded('proving-proven', _any_leader))
_FINAL_BY_REPORT = guarded(
    'first-hand-over',
    lambda s: not s.target_leads and s.peer_health is Health.SOAKED,
    guarded('first-final', _first_seen_written),
)
MUTATIONS = (
    Mutation('EPOCH: writes are not fenced', _config(fenced_writes=False), (1, 2)),
    Mutation('EPOCH: a stalled decision is written', _config(fenced_writes=False, inflight=True), (1, 2)),
    Mutation('FENCE: the peer is not powered off', _config(fence=False), (1,)),
    Mutation('FENCE: a claimant acts at once', _config(election=never_powered_off), (1,)),
    Mutation('FENCE: a re-claim forgets the proof', _config(reclaim_keeps_proof=False), (16,)),
    Mutation('FENCE: the peer is not powered on again', _config(power_again=False, image=BAD_MASTER), (12,)),
    Mutation('HANDOVER: the giver goes on serving', _config(stop_before_giving=False), (1,)),
    Mutation('HANDOVER: a demotion is not final for its epoch', _config(election=acts_again), (1,)),
    Mutation('HANDOVER: the receiver is not looked at again', _config(ready_at_giving=False), (17,)),
    Mutation('GRANT: a network boot wipes', _config(grant_needed=False), (3, 4, 6, 7)),
    Mutation('GRANT: another nonce may use it', _config(nonce_bound=False), (3,)),
    Mutation('EVIDENCE: a start finalises', _config(evidence=False), (4, 6, 9, 10)),
    Mutation(
        'EVIDENCE: "done" by the version label', _config(rules=guarded('second-done', _second_by_label)), (10,)
    ),
    Mutation('PROVE: no soak as master', _config(rules=guarded('proving-proven', _no_soak)), (8,)),
    Mutation(
        'PROVE: no soak as master, an image that is bad as master',
        _config(image=BAD_MASTER, rules=guarded('proving-proven', _no_soak)),
        (8, 11),
    ),
    Mutation('HEALTH: the soak of a standby counts', _config(health_anew=False, image=BAD_MASTER), (8, 11)),
    Mutation('PROVE: the commit guard', _config(commit_guard=False, rules=_COMMITS_ANYWHERE), (8,)),
    Mutation(
        'PROVE: the commit guard, a bad image',
        _config(commit_guard=False, rules=_COMMITS_ANYWHERE, image=BAD),
        (8, 11),
    ),
    Mutation('CLAIM: whatever boots may lead', _config(eligible=anybody), (15,)),
    Mutation('CLAIM: an earlier proof outlives a wipe', _config(wipe_ends_proof=False, retries=1), (15,)),
    Mutation('CLAIM and EVIDENCE: the master believes the report',
             _config(eligible=anybody, reports=True, rules=_FINAL_BY_REPORT), (15,)),
    Mutation('the end state hands back', _config(image=BAD_MASTER, rules=without('ended-hand-back')), (12,)),
    Mutation('a pause before the hand-over', _config(pause=True, rules=without('first-waits')), (18,)),
    Mutation('a pause before the first wipe', _config(pause=True, rules=without('first-paused')), (18,)),
    Mutation('a pause before the second wipe', _config(pause=True, rules=without('second-paused')), (18,)),
    Mutation('a pause before the start', _config(pause=True, rules=without('requested-paused')), (18,)),
    Mutation('the hold before the commit point', _config(hold=True, rules=without('proving-waits')), (18,)),
    Mutation('the checks before the hand-over', _config(blocked=True, rules=without(
        'first-blocked', 'first-blocked-late')), (20,)),
    Mutation('the checks before the second wipe', _config(blocked=True, rules=without(
        'proving-blocked', 'proving-blocked-late')), (20,)),
    Mutation('the bound of power cycles', _config(caps=True, rules=guarded(
        'first-drive', lambda s: not s.target_leads and s.grant is Grant.OPEN)), (19,)),
    Mutation('the bound of hand-overs', _config(caps=True, rules=guarded(
        'second-leads-hand-over',
        lambda s: s.target_leads and s.peer_ready and s.peer_runs is Software.NEW)), (19,)),
    Mutation('the deadline of an install', _config(rules=without('first-again', 'first-used-up')), (12,)),
    Mutation('the deadline of the proving', _config(
        image=BAD_MASTER, rules=without('proving-late', 'proving-unhealthy')), (12,)),
)  # fmt: skip
