"""Worlds that lack one rule, and the properties that this must break, each by itself.

:data:`RULES_OUT` takes out what section "Rules" of the protocol's page says, and the guards of the production: of the
election, of who may lead, of the grants, of the hand-over. :data:`ROWS_OUT` takes out each row of the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from ovca.cluster.election import Standing, Step, step
from ovca.remaster.protocol import RULES, Grant, Health, Rule, Situation, Software, State, Which
from tests.model.world import BAD, BAD_MASTER, Config
from tests.model.worlds import CORE, calm, config


class Mutation(NamedTuple):
    """A world without one rule."""

    taken_out: str
    config: Config
    breaks: tuple[int, ...]
    """The numbers of the properties that do not hold in it."""


# The table with another row.


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


def always(id: str) -> tuple[Rule, ...]:
    """The table with one row that applies in all of its states."""
    return guarded(id, lambda s: True)


# Who may lead, and the election, without a guard.


def anybody(runs: Software, final: bool, *, update_open: bool, runs_known: bool) -> bool:
    """May_claim without its rule: whatever boots may lead."""
    return runs_known


def new_at_once(runs: Software, final: bool, *, update_open: bool, runs_known: bool) -> bool:
    """May_claim for new software whose entry is not final."""
    return runs is not Software.UNKNOWN


def never_new(runs: Software, final: bool, *, update_open: bool, runs_known: bool) -> bool:
    """May_claim for the old software only."""
    return runs is Software.OLD


def acts_again(s: Standing) -> Step:
    """The election in which a demotion is not final for its epoch."""
    return Step.ACT if s.mine and s.this_run and s.demoted and s.giving_up else step(s)


def stays_demoted(s: Standing) -> Step:
    """The election in which a hand-over that was given up is not taken up again."""
    return Step.STAY_DOWN if s.mine and s.this_run and s.demoted else step(s)


def never_powered_off(s: Standing) -> Step:
    """The election without a fence."""
    what = step(s)
    return Step.ACT if what is Step.FENCE else what


def always_fences(s: Standing) -> Step:
    """The election in which a hand-over, or an earlier fence, is no proof."""
    what = step(s)
    return Step.FENCE if what is Step.ACT else what


def claims_without_right(s: Standing) -> Step:
    """The election in which a claimant is not asked what it runs."""
    return step(s) if s.mine else step(dataclasses.replace(s, eligible=True))


def never_claims(s: Standing) -> Step:
    """The election in which nobody takes an expired lease."""
    return Step.WATCH if not s.mine else step(s)


def never_reclaims(s: Standing) -> Step:
    """The election in which a restarted holder waits for its own lease to expire."""
    return Step.WATCH if s.mine and not s.this_run else step(s)


# Guards of rows.


def _no_soak(s: Situation) -> bool:
    return s.leader is Which.FIRST and s.leader_runs is Software.NEW


def _any_leader(s: Situation) -> bool:
    return s.leader_health is Health.SOAKED


def _first_seen_written(s: Situation) -> bool:
    return not s.target_leads and (s.peer_final or s.grant is Grant.WRITTEN)


def _second_by_label(s: Situation) -> bool:
    return not s.target_leads and s.leader_runs is Software.NEW


def _master_is_not_ill(s: Situation) -> bool:
    both = s.peer_final and s.peer_runs is Software.NEW and s.leader_runs is Software.NEW
    return not s.target_leads and both and s.peer_health is Health.SOAKED and s.leader_health is not Health.FAILED


def _hand_over_when_ready(s: Situation) -> bool:
    return not s.target_leads and s.peer_final and s.peer_ready


_COMMITS_ANYWHERE = without('proving-old-leads', 'proving-not-pinned', rules=guarded('proving-proven', _any_leader))
_FINAL_BY_REPORT = guarded(
    'first-hand-over',
    lambda s: not s.target_leads and s.peer_health is Health.SOAKED,
    guarded('first-final', _first_seen_written),
)

RULES_OUT = (
    Mutation('EPOCH: writes are not fenced', config(fenced_writes=False), (1, 2)),
    Mutation('EPOCH: a stalled decision is written', config(fenced_writes=False, inflight=True), (1, 2)),
    Mutation('FENCE: the peer is not powered off', config(fence=False), (1,)),
    Mutation('FENCE: a claimant acts at once', config(election=never_powered_off), (1,)),
    Mutation('FENCE: a re-claim forgets the proof', config(reclaim_keeps_proof=False), (16,)),
    Mutation('FENCE: no proof counts but a new one', calm(State.DONE, election=always_fences), (14,)),
    Mutation('FENCE: the peer is not powered on again', config(power_again=False, image=BAD_MASTER), (12,)),
    Mutation('FENCE: an operator says "off" of a node that is on', config(bmcs=True, true_word=False), (1,)),
    Mutation('HANDOVER: the giver goes on serving', config(stop_before_giving=False), (1,)),
    Mutation('HANDOVER: a demotion is not final for its epoch', config(election=acts_again), (1,)),
    Mutation('HANDOVER: one that is given up is not taken back', config(election=stays_demoted), (12,)),
    Mutation('HANDOVER: the receiver is not looked at again',
             config(ready_at_giving=False, soak_at_giving=False), (17, 26)),
    Mutation('HANDOVER: the receiver makes a claim', calm(State.DONE, receiver_takes_epoch=False), (14,)),
    Mutation('GRANT: a network boot wipes', config(grant_needed=False), (3, 4, 6, 7)),
    Mutation('GRANT, HANDOVER: a network boot wipes, the giver serves on, the receiver is not looked at', config(
        grant_needed=False, stop_before_giving=False, ready_at_giving=False, soak_at_giving=False), (5,)),
    Mutation('GRANT: another nonce may use it', config(nonce_bound=False), (3,)),
    Mutation('GRANT: one that has expired, or is of an older epoch, is valid', config(grant_of_epoch=False), (3,)),
    Mutation('GRANT: the database is not asked', config(outages=True, database_needed=False), (28,)),
    Mutation('EVIDENCE: a start finalises', config(evidence=False), (4, 6, 9, 10)),
    Mutation('EVIDENCE: the token of an older attempt counts', config(token_of_attempt=False), (9, 29)),
    Mutation('EVIDENCE: the files are not compared', config(rot=True, rehash=False), (9,)),
    Mutation('EVIDENCE: "done" by the version label', config(rules=guarded('second-done', _second_by_label)), (10,)),
    Mutation('HEALTH: no soak before the hand-over', config(
        soak_at_giving=False, rules=guarded('first-hand-over', _hand_over_when_ready)), (26,)),
    Mutation('HEALTH: the soak is not looked at again in the hand-over', config(soak_at_giving=False), (26,)),
    Mutation('HEALTH: the soak of a standby counts', config(health_anew=False, image=BAD_MASTER), (8, 11)),
    Mutation('PROVE: no soak as master', config(rules=guarded('proving-proven', _no_soak)), (8,)),
    Mutation('PROVE: no soak as master, an image that is bad as master',
             config(image=BAD_MASTER, rules=guarded('proving-proven', _no_soak)), (8, 11)),
    Mutation('PROVE: the commit guard', config(commit_guard=False, rules=_COMMITS_ANYWHERE), (8,)),
    Mutation('PROVE: the commit guard, a bad image',
             config(commit_guard=False, rules=_COMMITS_ANYWHERE, image=BAD), (8, 11)),
    Mutation('HEALTH: an update is done while its master is unwell', config(rules=guarded(
        'second-done', _master_is_not_ill)), (10,)),
    Mutation('ABORT: the target goes on when it leads on the old software', config(rules=without(
        'first-leads-old', 'first-leads-old-sound', 'first-leads-old-damaged', 'first-leads-old-unsure')), (24,)),
    Mutation('PIN: an update begins whoever leads', config(rules=without('requested-master-changed')), (25,)),
    Mutation('CLAIM: whatever boots may lead', config(eligible=anybody), (15,)),
    Mutation('CLAIM: new software leads before it is proved', config(eligible=new_at_once), (15,)),
    Mutation('CLAIM: new software never leads', calm(State.DONE, eligible=never_new), (12,)),
    Mutation('CLAIM: a claimant is not asked what it runs', config(election=claims_without_right), (17,)),
    Mutation('CLAIM: a lease that has not expired is claimed', config(expiry_needed=False), (14,)),
    Mutation('CLAIM: an expired lease is not claimed', config(election=never_claims), (12,)),
    Mutation('CLAIM: a restarted holder does not take its lease up', config(election=never_reclaims), (12,)),
    Mutation('CLAIM: an earlier proof outlives a wipe', config(wipe_ends_proof=False, retries=1), (15,)),
    Mutation('CLAIM and EVIDENCE: the master believes the report',
             config(eligible=anybody, reports=True, rules=_FINAL_BY_REPORT), (15,)),
    Mutation('where a retry may begin, and PIN', config(
        retries=1, retry_anywhere=True, rules=without('requested-master-changed')), (25,)),
    Mutation('the end state hands back', config(image=BAD_MASTER, rules=without('ended-hand-back')), (12,)),
    Mutation('a pause revokes the grants', config(pause=True, pause_revokes=False), (18,)),
    Mutation('the bound of power cycles', config(caps=True, rules=guarded(
        'first-drive', lambda s: not s.target_leads and s.grant is Grant.OPEN)), (19,)),
    Mutation('the bound of hand-overs', config(caps=True, rules=guarded(
        'second-leads-hand-over',
        lambda s: s.target_leads and s.peer_ready and s.peer_runs is Software.NEW)), (19,)),
    Mutation('the deadline of an install', config(rules=without('first-again', 'first-used-up')), (12,)),
)  # fmt: skip

_ROWS = {
    'requested-abort': ('no faults, an abort', 22),
    'requested-master-changed': ('good image', 25),
    'requested-checks-failed': ('the first checks fail', 12),
    'requested-paused': ('no faults, paused and held', 18),
    'requested-retry-second': ('a retry', 8),
    'requested-start': ('no faults', 12),
    'requested-late': ('the first checks never end', 12),
    'first-abort-untouched': ('no faults, an abort', 23),
    'first-abort': ('no faults, an abort', 22),
    'first-final': ('no faults', 12),
    'first-unhealthy': ('no faults, bad image', 12),
    'first-waits': ('no faults, paused and held', 18),
    'first-check': ('a check fails at times', 20),
    'first-blocked-late': ('a check always fails', 12),
    'first-blocked': ('a check fails at times', 20),
    'first-hand-over': ('no faults', 12),
    'first-again': ('the first installer always fails', 12),
    'first-used-up': ('the first installer always fails', 12),
    'first-paused': ('no faults, paused and held', 18),
    'first-issue': ('no faults', 12),
    'first-drive': ('no faults', 12),
    'first-leads-new': ('good image', 24),
    'first-leads-retry': ('a retry', 24),
    'first-leads-old': ('a file was changed by hand', 27),
    'first-leads-old-sound': ('no faults, a node breaks', 12),
    'first-leads-old-damaged': ('a file was changed by hand', 12),
    'first-leads-old-unsure': ('good image', 24),
    'first-leads-late': ('no faults, a node breaks, a retry', 12),
    'proving-abort': ('no faults, an abort', 22),
    'proving-unhealthy': ('no faults, image bad as master', 12),
    'proving-waits': ('no faults, paused and held', 18),
    'proving-check': ('a check fails at times', 20),
    'proving-blocked': ('a check fails at times', 21),
    'proving-blocked-late': ('checks that fail', 20),
    'proving-proven': ('no faults', 12),
    'proving-late': ('never well, never ill, as master', 12),
    'rollback-back': ('no faults, image bad as master', 12),
    'rollback-hand-over': ('no faults, image bad as master', 12),
    'rollback-late': ('no faults, a node breaks', 12),
    'second-leads-hand-over': ('good image', 24),
    'second-leads-late': ('no faults, a node breaks', 12),
    'second-abort': ('no faults, an abort', 22),
    'second-final': ('no faults', 12),
    'second-done': ('no faults', 12),
    'second-unhealthy-again': ('no faults, image bad on the second node', 12),
    'second-unhealthy': ('no faults, image bad on the second node', 12),
    'second-again': ('the second installer always fails', 12),
    'second-used-up': ('the second installer always fails', 12),
    'second-paused': ('no faults, paused and held', 18),
    'second-issue': ('no faults', 12),
    'second-drive': ('no faults', 12),
    'ended-hand-back': ('never well, never ill, as master', 12),
    'ended': ('no faults', 30),
    'waiting': ('no faults', 30),
}
"""A row that is removed: the world in which that breaks a property, and its number."""

GUARDS_OUT = (
    Mutation('proving-old-leads, its guard', calm(State.DONE, rules=always('proving-old-leads')), (21,)),
    Mutation('proving-not-pinned, its guard', calm(State.DONE, rules=always('proving-not-pinned')), (21,)),
    Mutation('proving-old-leads and proving-not-pinned', config(
        rules=without('proving-old-leads', 'proving-not-pinned')), (24,)),
)  # fmt: skip

ROWS_OUT = tuple(
    Mutation(row, dataclasses.replace(CORE[world], rules=without(row)), (number,))
    for row, (world, number) in _ROWS.items()
)

STAY = {
    'proving-old-leads': 'a master that is not the proved one rolls back by the next row, too; this one says why, and '
    'raises no alarm: a fail-over back to the old node is nothing to be mended',
    'proving-not-pinned': 'nobody leads in PROVING whose entry is not final, as nobody else may claim; if that were '
    'wrong, the row above would not see it',
    'late-waiting': 'there is no situation in which it applies, as each state has a rule of its own for its deadline; '
    'it is for a change of the table that takes one of those away',
}
"""Rows of which each alone breaks nothing in any world, and why they stay."""

DEFENCES = {
    'a holder is asked again what it runs': 'who holds the lease was asked when it took it, and is never wiped while '
    'it holds it; it is for a disk that somebody else changes',
    'a retry is refused where it may not begin': 'the first row of its update would end it, as the master is not the '
    'pinned one; so the operator is told why, and no update is opened in vain',
    'a master that cannot reach the database stops serving': 'who takes over powers it off before it acts, so nothing '
    'breaks without; it is for the time until then, and for an operator who says "off" of a node that is on',
    'the three secrets': 'boot token, grant and evidence token are one in the model, as nobody lies in it; the tests '
    'of the boot service take each of them away',
    'the image is pinned': 'the model has one image and one update; that a row never changes is tested where the rows '
    'are written',
}
"""Rules that the model has no property for, and why they stay."""

MUTATIONS = RULES_OUT + GUARDS_OUT + ROWS_OUT
