"""One node is missing, or nobody serves: real services say so, where people look and to those who are paged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import Appliance, appliance_in
from tests.stock import Stock

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(240)]


@pytest.fixture
def appliance(tmp_path: Path, stocked: Stock) -> Iterator[Appliance]:
    """Two nodes, whose operator lets a command be run for each message."""
    notify = {'drivers': 'command', 'command': f"sh -c 'cat >> {tmp_path / 'told'}'"}
    yield from appliance_in(tmp_path / 'lab', stocked, overrides={'notify': notify})


def told(folder: Path, words: str) -> list[dict[str, Any]]:
    """The messages that begin so."""
    file = folder / 'told'
    lines = file.read_text().splitlines() if file.exists() else []
    return [message for message in map(json.loads, lines) if message['text'].startswith(words)]


def test_a_standby_that_hangs_is_seen_is_told_and_is_told_to_be_back(appliance: Appliance, tmp_path: Path) -> None:
    master, standby = appliance.master, appliance.standby
    appliance.lab.pause_service(standby)

    (alarm,) = appliance.until(
        'it is told', lambda: told(tmp_path, f'running on one node, {master}, since ') if _whole(tmp_path) else None
    )
    listed = appliance.ovca(master, 'node-list')
    shown = json.loads(appliance.ovca(master, 'master-show', '-f', 'json').stdout)
    appliance.lab.resume_service(standby)
    (end,) = appliance.until(
        'its end is told', lambda: told(tmp_path, 'both nodes run again') if _whole(tmp_path) else None
    )

    assert (alarm['kind'], alarm['node'], end['kind']) == ('alarm', standby, 'alarm')
    assert listed.stderr.strip() == alarm['text']
    assert shown['alone_because'] == f'{standby} was last seen then'
    appliance.ready()
    assert appliance.ovca(master, 'node-list').stderr == ''


def test_a_node_that_cannot_take_over_tells_it_although_nobody_acts(appliance: Appliance, tmp_path: Path) -> None:
    master, standby = appliance.master, appliance.standby
    appliance.lab.set_vice(master, 'unreachable', True)
    appliance.lab.pause_service(master)

    (alarm,) = appliance.until('it is told', lambda: told(tmp_path, 'no take-over: ') if _whole(tmp_path) else None)
    acting = json.loads(appliance.ovca(standby, 'master-show', '-f', 'json').stdout)['acting']
    appliance.lab.set_vice(master, 'unreachable', False)
    appliance.until('it takes over', lambda: appliance.master == standby and any(_acts(appliance, standby)))
    appliance.ready()

    assert (alarm['kind'], alarm['node'], acting) == ('alarm', standby, False)


def _whole(folder: Path) -> bool:
    """The last message is written to its end."""
    file = folder / 'told'
    return file.exists() and file.read_text().endswith('\n')


def _acts(appliance: Appliance, node: str) -> list[str]:
    return [
        e.detail
        for e in appliance.events('lease')
        if e.detail.startswith(f'{node} acts as master: {appliance.lab.node(node).peer} was seen')
    ]
