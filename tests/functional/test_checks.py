"""Checks before an update, on a whole appliance in the process lab."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from ovca.db.models import Directive
from tests.functional.conftest import Appliance

pytestmark = [pytest.mark.functional, pytest.mark.extra('lab'), pytest.mark.timeout(240)]
RACKS = 'usr/libexec/ovca/checks/racks'


def says(result: str) -> dict[str, str]:
    """A check that an image brings."""
    answer = json.dumps({'result': result, 'detail': 'rack 3 has firmware 7', 'remedy': 'update it'})
    return {RACKS: f"#!/bin/sh\necho '{answer}'\n"}


def test_both_nodes_tell_of_their_machines_and_a_dead_bmc_is_named(appliance: Appliance) -> None:
    def found(*words: str) -> tuple[int, dict[str, Any]]:
        done = appliance.ovca(appliance.master, 'check', '-f', 'json', *words)
        return done.returncode, {row['id']: row for row in json.loads(done.stdout)}

    status, healthy = found()
    appliance.lab.set_vice(appliance.standby, 'unreachable', True)
    broken_status, broken = found('bmc')

    assert (status, broken_status) == (0, 6), healthy
    assert [healthy[id]['result'] for id in ('peer-status', 'clocks', 'space', 'network-cards')] == ['passed'] * 4
    assert set(healthy['clocks']['facts']['seconds']) == {'mn1', 'mn2'}
    assert broken['bmc']['facts'][appliance.standby]['error_id'] == 'bmc-silent'
    assert broken['bmc']['facts'][appliance.master]['power'] == 'on'


def test_an_image_brings_a_check_that_fails_and_one_whose_warning_is_accepted(appliance: Appliance) -> None:
    failing = appliance.serve('1.1.0', checks=says('failed'))
    warning = appliance.serve('1.2.0', checks=says('warning'))

    refused = appliance.answer(appliance.request('update', uri=failing))
    unnamed = appliance.answer(appliance.request('update', uri=warning))
    assert [row.state for row in (refused, unnamed)] == ['failed', 'failed']
    assert 'image:racks: rack 3 has firmware 7' in refused.error
    assert 'add --accept image:racks' in unnamed.error
    assert (appliance.update(), appliance.wiped()) == (None, [])

    accepted = appliance.answer(appliance.request('activate', version='1.2.0', accept=['image:racks']))
    assert accepted.state == 'done', accepted.error
    appliance.in_state('INSTALL_1')  # the checks before the first wipe have passed, with the warning
    with appliance.database.read() as session:
        kept = session.scalars(select(Directive)).one()
    assert (kept.kind, kept.subject, kept.created_by) == ('accept', 'image:racks', 'a test')
    assert appliance.events('warning') == []
