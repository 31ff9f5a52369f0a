"""The checks that are repeated before a later stage of an update: those that may have come to fail meanwhile."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ovca.db.engine import Database
from ovca.remaster.checks import Check, CheckContext, CheckResult, answer
from ovca.remaster.checks.cluster import LeaseHeld, NoOperation
from ovca.remaster.checks.image import ImagePresent
from ovca.remaster.checks.machines import Space
from ovca.remaster.checks.patience import Patience
from ovca.remaster.checks.power import BmcReachable
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import State

if TYPE_CHECKING:
    from oslo_config import cfg

STAGES = (State.PROVING, State.INSTALL_2)
"""The stages, by the state that is about to be entered: the hand-over, and the second wipe."""


def stage_checks(
    conf: cfg.ConfigOpts, database: Database, version: str, stage: State, *, patience: Patience | None = None
) -> list[CheckResult]:
    """Run what has to hold when an open update is about to enter a state; each check is answered.

    Of the image they look at the sizes of its files only, since the installer proves each file as it writes it. Before
    the wipe the BMC of the node to be installed has to answer; before the hand-over the BMCs of both, for each may have
    to fence the other. Where an update begins, the first wipe or a node that is installed alone, all checks are run.
    """
    if stage not in STAGES:
        raise ValueError(f'{stage} is not a stage that is checked')
    context = CheckContext(conf, database, version)
    target = _target(database, stage)
    checks: list[Check] = [
        LeaseHeld(context, in_update=True),
        NoOperation(context),
        BmcReachable(context, [target] if target else ()),
        ImagePresent(context),
    ]
    if stage is not State.PROVING:
        checks.append(Space(context, without=target))
    patience = patience or Patience()
    return [answer(check.id, partial(_same, check), patience) for check in checks]


def _same(check: Check) -> Check:
    return check


def _target(database: Database, stage: State) -> str | None:
    """The node that is wiped in a stage; None where none is."""
    with database.read() as session:
        update = newest_update(session)
    if update is None or stage is State.PROVING:
        return None
    return update.second
