"""The checker refuses each history that must not be, and takes those that may be."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tests.histories.checker import Belief, History, problems
from tests.histories.row import Operation, Row

START = Row()


class Story:
    """Writes a history by hand: each operation takes the next second, unless it says when."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.clock = 0.0

    def add(
        self, who: str, kind: str, *, outcome: str = 'ok', span: tuple[float, float] | None = None, **facts: Any
    ) -> None:
        """``who`` is a node; ``mn1b`` is the second run of ``mn1``. What starts with ``got_`` is of the result."""
        self.clock += 1
        begin, end = span or (self.clock, self.clock + 0.5)
        result = {key[4:]: value for key, value in facts.items() if key.startswith('got_')}
        args = {key: value for key, value in facts.items() if not key.startswith('got_')}
        returned = None if outcome == 'unknown' else end
        self.operations.append(Operation(who[:3], who, kind, begin, returned, outcome, args, result))

    def read(self, who: str, row: Row, **facts: Any) -> None:
        self.add(who, 'read', **{f'got_{key}': value for key, value in asdict(row).items()}, **facts)

    def leads(self, who: str, seen: Row, *, renewed: str) -> Row:
        """Claim and begin to act; return the row then."""
        self.add(who, 'claim', seen=asdict(seen), got_epoch=seen.epoch + 1)
        self.add(who, 'set_acting', epoch=seen.epoch + 1)
        row = Row(who[:3], who, seen.epoch + 1, True, True, seen.demoted, renewed)
        self.read(who, row)
        return row


@pytest.fixture
def story() -> Story:
    return Story()


def judged(story: Story, **more: Any) -> list[str]:
    return problems(History(story.operations, **more))


def test_a_life_of_the_lease_is_taken(story: Story) -> None:
    row = story.leads('mn1', START, renewed='10:00')
    story.add('mn1', 'act', epoch=1)
    story.add('mn2', 'claim', seen=asdict(row), outcome='not-expired')
    story.add('mn1', 'renew', epoch=1, got_renewed='10:01')
    story.add('mn2', 'claim', seen=asdict(row), outcome='lost')
    story.add('mn1b', 'reclaim', got_epoch=2)
    story.add('mn1b', 'demote', epoch=2)
    story.add('mn1b', 'act', epoch=2, outcome='lost')
    story.add('mn1b', 'hand_over', epoch=2, to='mn2', to_incarnation='mn2', got_epoch=3)
    story.add('mn1b', 'renew', epoch=2, outcome='lost')
    story.add('mn2', 'set_acting', epoch=3)
    story.read('mn3', Row('mn2', 'mn2', 3, True, True, 2, '10:05'))

    assert judged(story) == []


def test_what_overlaps_may_have_any_order(story: Story) -> None:
    story.add('mn1', 'claim', seen=asdict(START), got_epoch=1, span=(1, 9))
    story.read('mn2', START, span=(2, 3))
    story.read('mn3', Row('mn1', 'mn1', 1, renewed='10:00'), span=(4, 5))
    story.add('mn2', 'claim', seen=asdict(START), outcome='lost', span=(6, 7))

    assert judged(story) == []


@pytest.mark.parametrize('took_place', [True, False])
def test_an_answer_that_was_lost_may_have_been_either(story: Story, took_place: bool) -> None:
    story.add('mn1', 'claim', seen=asdict(START), outcome='unknown')
    story.read('mn2', Row('mn1', 'mn1', 1, renewed='10:00') if took_place else START)

    assert judged(story) == []


def refused(story: Story, word: str, **more: Any) -> None:
    found = judged(story, **more)
    assert found, 'a bad history was taken'
    assert any(word in line for line in found), found


def test_two_claims_of_one_row_are_refused(story: Story) -> None:
    story.add('mn1', 'claim', seen=asdict(START), got_epoch=1, span=(1, 4))
    story.add('mn2', 'claim', seen=asdict(START), got_epoch=1, span=(2, 3))

    refused(story, 'not linearizable')
    refused(story, 'was won twice')


def test_an_act_of_an_epoch_that_is_over_is_refused(story: Story) -> None:
    row = story.leads('mn1', START, renewed='10:00')
    story.leads('mn2', row, renewed='10:09')
    story.add('mn1', 'act', epoch=1)

    refused(story, 'mn1 act epoch=1')


def test_an_act_without_acting_is_refused(story: Story) -> None:
    story.add('mn1', 'claim', seen=asdict(START), got_epoch=1)
    story.add('mn1', 'act', epoch=1)

    refused(story, 'mn1 act epoch=1')


def test_an_act_after_the_demotion_is_refused(story: Story) -> None:
    story.leads('mn1', START, renewed='10:00')
    story.add('mn1', 'demote', epoch=1)
    story.add('mn1', 'set_acting', epoch=1)

    refused(story, 'mn1 set_acting')


def test_a_hand_over_without_a_demotion_is_refused(story: Story) -> None:
    story.leads('mn1', START, renewed='10:00')
    story.add('mn1', 'hand_over', epoch=1, to='mn2', to_incarnation='mn2', got_epoch=2)

    refused(story, 'mn1 hand_over')


def test_a_claim_of_a_row_that_was_renewed_since_is_refused(story: Story) -> None:
    row = story.leads('mn1', START, renewed='10:00')
    story.add('mn1', 'renew', epoch=1, got_renewed='10:01')
    story.add('mn2', 'claim', seen=asdict(row), got_epoch=2)

    refused(story, 'mn2 claim')


def test_a_reclaim_of_what_another_holds_is_refused(story: Story) -> None:
    story.leads('mn1', START, renewed='10:00')
    story.add('mn2', 'reclaim', got_epoch=2)

    refused(story, 'mn2 reclaim')


def test_a_reclaim_that_leaves_a_demoted_holder_acting_is_refused(story: Story) -> None:
    story.leads('mn1', START, renewed='10:00')
    story.add('mn1', 'demote', epoch=1)
    story.add('mn1', 'reclaim', got_epoch=2)
    story.read('mn2', Row('mn1', 'mn1', 2, True, True, 1, '10:02'))

    refused(story, 'mn2 read')


def test_a_read_of_what_was_before_is_refused(story: Story) -> None:
    story.leads('mn1', START, renewed='10:00')
    story.read('mn2', START)

    refused(story, 'mn2 read')


def test_a_refusal_without_a_reason_is_refused(story: Story) -> None:
    story.leads('mn1', START, renewed='10:00')
    story.add('mn1', 'act', epoch=1, outcome='lost')

    refused(story, 'mn1 act epoch=1 -> lost')


def test_a_lost_answer_counts_once(story: Story) -> None:
    story.add('mn1', 'claim', seen=asdict(START), outcome='unknown')
    story.read('mn2', Row('mn1', 'mn1', 1, renewed='10:00'))
    story.read('mn2', START)

    refused(story, 'mn2 read')


def test_an_epoch_that_does_not_rise_is_refused(story: Story) -> None:
    story.add('mn1', 'reclaim', got_epoch=7)
    story.add('mn2', 'reclaim', got_epoch=6)

    refused(story, 'the epoch did not rise')


def test_two_beliefs_at_one_time_are_refused(story: Story) -> None:
    beliefs = [Belief('mn1', 'mn1', 1, 1.0, 3.0), Belief('mn2', 'mn2', 2, 2.9, 5.0)]

    refused(story, 'two led at the same time', beliefs=beliefs)
    assert judged(story, beliefs=[beliefs[0], Belief('mn2', 'mn2', 2, 3.1, 5.0)]) == []


def test_a_short_belief_inside_of_a_long_one_is_refused(story: Story) -> None:
    beliefs = [Belief('mn1', 'mn1', 1, 1.0, 9.0), Belief('mn1', 'mn1', 2, 2.0, 3.0), Belief('mn2', 'mn2', 3, 4.0, 5.0)]

    refused(story, 'two led at the same time', beliefs=beliefs)


def test_two_that_led_under_one_epoch_are_refused(story: Story) -> None:
    beliefs = [Belief('mn1', 'mn1', 1, 1.0, 2.0), Belief('mn2', 'mn2', 1, 3.0, 4.0)]

    refused(story, 'under one epoch', beliefs=beliefs)


def test_a_claim_needs_a_watch_of_one_ttl_of_its_own_clock(story: Story) -> None:
    row = story.leads('mn1', START, renewed='10:00')
    story.read('mn2', row)
    story.read('mn2', row)
    story.add('mn2', 'claim', seen=asdict(row), got_epoch=2)

    assert judged(story, ttl=2.0) == []
    refused(story, 'without a watch', ttl=2.1)
    refused(story, 'without a watch', ttl=2.0, rates={'mn2': 0.9})


def test_a_watch_begins_anew_when_the_database_was_away(story: Story) -> None:
    row = story.leads('mn1', START, renewed='10:00')
    story.read('mn2', row)
    story.add('mn2', 'read', outcome='unknown')
    story.read('mn2', row)
    story.add('mn2', 'claim', seen=asdict(row), got_epoch=2)

    refused(story, 'without a watch', ttl=2.0)
