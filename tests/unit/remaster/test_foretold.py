"""The sentences of ``update-explain``: complete, with the nodes' names, for whatever may be the case."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ovca.db.models import Lease, Node, Update
from ovca.exceptions import Refused
from ovca.remaster import directives
from ovca.remaster.directives import Kind
from ovca.remaster.foretold import STEPS, Times, told
from ovca.remaster.observe import Limits, Observation
from ovca.remaster.protocol import RULES, TARGET, Act, Grant, Health, Situation, Software, State, Which
from tests.operated import OLD, Operated

PAGE = Path(__file__).parents[3] / 'doc/source/tasks/explain.rst'
NOW = dt.datetime(2026, 11, 25, 2, 0, tzinfo=dt.UTC)
LIMITS = Limits(
    soak=120, prove_soak=600, install_deadline=3600, verify_deadline=3600, prove_deadline=1200,
    rollback_deadline=1200, attempts=2, grant_ttl=900, order_interval=120, ready_age=5, unhealthy_limit=300,
    alarm_percent=50, power_orders=20, hand_overs=6,
)  # fmt: skip


def explained(situation: Situation, **facts: Any) -> dict[str, Any]:
    """What is said of a situation in an update of mn2, then mn1."""
    values = {'old_version': '1.0.0', 'state_since': NOW, 'deadline_from': NOW, 'state': situation.state.value}
    update = Update(id=7, version='1.1.0', first='mn2', second='mn1', **{**values, **facts})
    return told(Observation(situation, update, None, None, None, None, NOW), LIMITS, Times(30, 20))


def test_whatever_may_be_the_case_each_sentence_names_nodes_and_has_no_gap() -> None:
    seen = set()
    for state, leader, runs, peer, final, grant, health, ready, flag in itertools.product(
        State, Which, (Software.OLD, Software.NEW), Software, (False, True), Grant, Health, (False, True),
        ({}, {'paused': True}, {'held': True}, {'late': True}, {'attempts_left': False, 'late': True}),
    ):  # fmt: skip
        if state.ended or (grant is not Grant.NONE and state not in TARGET):
            continue
        s = Situation(
            state, leader, runs, leader_final=final, leader_health=health, peer_runs=peer, peer_final=final,
            peer_health=health, peer_ready=ready, grant=grant, wiped=grant is not Grant.NONE, **flag,
        )  # fmt: skip
        facts = explained(s)
        seen.add(facts['rule'])
        for name, text in facts.items():
            if name == 'now' or name.startswith('if_'):
                assert not re.search(r'[{}]|None|\bWhich\b', text), (s, name, text)
        assert facts['master'] in facts['if_other_node_fails'], s
        assert facts['other_node'] in facts['if_bmc_of_master_fails'], s
    assert {'first-drive', 'first-waits', 'proving-waits', 'rollback-late', 'second-done'} <= seen


def test_each_rule_that_acts_or_waits_for_a_person_has_words() -> None:
    silent = {r.id for r in RULES if r.decision.act is not Act.MOVE} - set(STEPS)

    assert silent == {'waiting', 'ended'}


def test_the_keys_are_those_of_the_manual() -> None:
    facts = explained(Situation(State.VERIFY_1, Which.SECOND, Software.OLD))

    rows = re.findall(r'^   \* - ``([a-z_]+)``', PAGE.read_text(), re.MULTILINE)
    assert list(facts) == rows


def test_while_a_person_lets_it_wait_there_is_no_deadline() -> None:
    s = Situation(State.PROVING, Which.FIRST, Software.NEW, leader_final=True)

    assert [explained(s)[name] for name in ('alarm_at', 'deadline_at')] == [
        NOW + dt.timedelta(minutes=15), NOW + dt.timedelta(minutes=20),
    ]  # fmt: skip  # a soak of ten minutes, and half of what is left
    for waits in (replace(s, held=True), replace(s, paused=True)):
        assert [explained(waits)[name] for name in ('alarm_at', 'deadline_at')] == [None, None]
    rolls_back = replace(s, state=State.ROLLBACK, paused=True)
    assert explained(rolls_back)['deadline_at'] is not None


def test_before_the_commit_point_the_old_node_takes_over_and_it_is_rolled_back() -> None:
    s = Situation(State.PROVING, Which.FIRST, Software.NEW, leader_final=True, peer_runs=Software.OLD)

    assert explained(s)['if_master_fails'] == (
        'mn1 sees that mn2 is off, and is master in about 38 s; the update ends as FAILED_ROLLED_BACK: mn1 serves with '
        '1.0.0, and mn2 is quarantined until it is installed anew'
    )


def test_while_the_only_other_disk_is_wiped_nobody_can_take_over() -> None:
    s = Situation(State.INSTALL_1, Which.SECOND, Software.OLD, grant=Grant.CONSUMED, wiped=True)

    assert explained(s)['if_master_fails'].startswith('nobody serves until mn1 is back; ')


@pytest.fixture
def verified(operated: Operated) -> Operated:
    """mn2 is verified; rows as they are in an update."""
    operated.started().image()
    number = operated.update('VERIFY_1')
    with operated.database.write() as session:
        directives.give(session, session.get_one(Update, number), Kind.PAUSE, 'ada')
        for node in session.scalars(select(Node)):
            node.epoch_seen = 3
    return operated


def test_it_is_the_same_on_both_nodes(verified: Operated) -> None:
    here = verified.service().explain()
    verified.configure('mn2')

    assert verified.service().explain() == here
    assert (here['master'], here['other_node'], here['state'], here['deadline_at']) == ('mn1', 'mn2', 'VERIFY_1', None)


def test_when_nobody_leads_it_says_that_first(verified: Operated) -> None:
    verified.silent(60)

    now = verified.service().explain()['now']

    assert re.match(
        r'mn1 holds the lease and has not renewed it for 6\d s, and does not serve: nothing is decided', now
    )


def test_a_holder_that_does_not_act_yet_decides_nothing(verified: Operated) -> None:
    with verified.database.write() as session:
        session.scalars(select(Lease)).one().acting = False

    assert verified.service().explain()['now'].startswith('mn1 holds the lease, and does not serve: nothing is decided')


def test_a_run_of_one_node_that_ran_nothing_known_is_explained_too(operated: Operated) -> None:
    operated.started().image('1.0.0', OLD)
    operated.update('INSTALL_2', first='mn1', second='mn2', digest=OLD, version='1.0.0', old_version=None)

    facts = operated.service().explain()

    assert (facts['master'], facts['other_node'], facts['now']) == ('mn1', 'mn2', 'the right to wipe mn2 is given now')


def test_without_an_open_update_there_is_nothing_to_explain(operated: Operated) -> None:
    operated.started().update('DONE')

    with pytest.raises(Refused) as caught:
        operated.service().explain()

    assert caught.value.id == 'nothing-open'


def test_what_holds_a_step_up_is_told_with_it(verified: Operated) -> None:
    verified.alarm('an alarm of long ago', before=3600)
    assert 'alarm:' not in verified.service().explain()['now']

    verified.alarm('VERIFY_1: a check before the hand-over fails: clocks: they differ')

    assert (
        verified.service()
        .explain()['now']
        .endswith('; the last alarm: VERIFY_1: a check before the hand-over fails: clocks: they differ')
    )


def test_what_deadlines_bring_comes_only_when_a_paused_update_is_continued() -> None:
    s = Situation(State.INSTALL_1, Which.SECOND, Software.OLD, grant=Grant.OPEN, peer_runs=Software.OLD)

    running, paused = explained(s)['if_other_node_fails'], explained(replace(s, paused=True))['if_other_node_fails']

    assert 'once it is continued' not in running
    assert '; once it is continued, if mn2 is not back when all deadlines and attempts have passed, ' in paused
