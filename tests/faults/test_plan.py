"""A seed chooses the faults of a run, always the same."""

from __future__ import annotations

from tests.faults.plan import ENGINES, KINDS, MILESTONES, NODES, ONLY_POSTGRESQL, plan


def test_a_seed_is_a_plan() -> None:
    assert plan(17) == plan(17)
    assert len({plan(seed) for seed in range(100)}) == 100


def test_seeds_in_a_row_have_all_kinds_on_both_engines() -> None:
    plans = [plan(seed) for seed in range(2 * len(KINDS))]

    for engine in ENGINES:
        first = {p.faults[0].kind for p in plans if p.engine == engine}
        assert first == set(KINDS) - (set(ONLY_POSTGRESQL) if engine == 'sqlite' else set())


def test_many_seeds_meet_every_milestone_node_and_cable() -> None:
    faults = [fault for seed in range(2000) for fault in plan(seed).faults]

    assert {fault.after for fault in faults} == set(MILESTONES)
    assert {fault.node for fault in faults if fault.node} == set(NODES)
    cables = {fault.what for fault in faults if fault.kind in ('cut', 'silence')}
    assert cables == {'bmc-mn1', 'bmc-mn2', 'boot', 'boot-tls', 'peer', 'database'}
    assert not any(fault.what == 'database' for seed in range(0, 2000, 2) for fault in plan(seed).faults)


def test_faults_end_and_some_outlast_the_lease() -> None:
    faults = [fault for seed in range(2000) for fault in plan(seed).faults]

    assert max(fault.seconds for fault in faults) <= 7
    assert any(fault.kind == 'pause' and fault.seconds > 3 for fault in faults), 'longer than the ttl'
    assert all(fault.seconds > 0 for fault in faults if fault.kind != 'kill')


def test_some_seeds_have_a_siege_on_either_engine_with_any_kind_of_fault() -> None:
    besieged = [found for seed in range(2000) if (found := plan(seed)).besieged]

    assert {found.engine for found in besieged} == set(ENGINES)
    assert {found.faults[0].kind for found in besieged} == set(KINDS)
