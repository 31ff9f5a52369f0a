"""Four real processes contend for a lease, are paused and killed; what they noted is judged."""

from __future__ import annotations

from pathlib import Path

from tests.histories.checker import History, beliefs_that_overlap, problems
from tests.histories.contest import Contest

SEED = 1
PATIENCE = 60.0
EPOCHS = 4


def led(history: History) -> int:
    """Under how many epochs somebody led."""
    return len({belief.epoch for belief in history.beliefs})


def test_the_history_of_four_contenders_is_as_one_lease_allows(database_url: str, tmp_path: Path) -> None:
    contest = Contest(database_url, tmp_path, SEED)

    history = contest.run(lambda so_far: led(so_far) >= EPOCHS, PATIENCE)

    assert problems(history) == [], f'again: python -m tests.histories --seconds 1 --seed {SEED}'
    assert {op.node for op in history.operations} == {'mn1', 'mn2', 'mn3', 'mn4'}
    assert led(history) >= EPOCHS, 'the lease has not gone around'


def test_nodes_that_believe_for_longer_than_the_lease_are_found_out(sqlite_url: str, tmp_path: Path) -> None:
    contest = Contest(sqlite_url, tmp_path, SEED, ttl=0.3, self_demote=60)

    history = contest.run(lambda so_far: bool([*beliefs_that_overlap(so_far.beliefs)]), PATIENCE)

    assert any('two led at the same time' in line for line in problems(history))
