"""The worlds that are explored, in which nothing may go wrong; those that lack a rule are in tests.model.mutations."""

from __future__ import annotations

import dataclasses

from ovca.remaster.protocol import State, Verdict
from tests.model.world import (
    BAD,
    BAD_MASTER,
    BAD_SECOND,
    HALF,
    OLD,
    RESTLESS,
    RESTLESS_MASTER,
    Config,
)


def config(**options: object) -> Config:
    """A world in which a hand-over is given up only after the giver has noted its demotion."""
    return dataclasses.replace(Config(early_give_up=False), **options)  # type: ignore[arg-type]


def quiet(*ends: State, **options: object) -> Config:
    """A world without a fault, in which the update has to end so; a deadline may pass."""
    return config(faults=False, ends=frozenset(ends), **options)


def calm(*ends: State, **options: object) -> Config:
    """A world in which no deadline passes either: so whatever is known must be acted on at once."""
    return quiet(*ends, deadlines=False, **options)


CALM = {
    'no faults': calm(State.DONE),
    'no faults, bad image': calm(State.FAILED_DEGRADED, image=BAD),
    'no faults, image bad as master': calm(State.FAILED_ROLLED_BACK, image=BAD_MASTER),
    'no faults, image bad on the second node': calm(State.FAILED_FORWARD, image=BAD_SECOND),
    'the first checks fail': calm(State.ABORTED, checks=Verdict.FAILED),
    'the first checks never end': quiet(State.ABORTED, checks=Verdict.PENDING),
    'never well, never ill': quiet(State.FAILED_DEGRADED, image=RESTLESS),
    'never well, never ill, as master': quiet(State.FAILED_DEGRADED, State.FAILED_ROLLED_BACK, image=RESTLESS_MASTER),
    'a check fails at times': calm(State.DONE, blocked=True),
    'a check always fails': quiet(State.FAILED_DEGRADED, blocked_for_good=True),
    'the first installer always fails': calm(State.FAILED_DEGRADED, broken_installer=0),
    'the second installer always fails': calm(State.FAILED_FORWARD, broken_installer=1),
    'no faults, an abort': calm(
        State.DONE, State.ABORTED, State.FAILED_DEGRADED, State.FAILED_ROLLED_BACK, State.FAILED_FORWARD, abort=True
    ),
    'no faults, paused and held': calm(State.DONE, pause=True, hold=True),
    'no faults, a blank machine is installed': calm(State.DONE, reinstall=HALF),
    'no faults, an old node is installed': calm(State.DONE, reinstall=OLD),
    'no faults, a node breaks': quiet(*State, losses=1),
    'no faults, a node breaks, a retry': quiet(*State, losses=1, retries=1),
}
"""Nothing goes wrong but what the name says, and it has to end as it should; a second together."""

CORE = CALM | {
    'good image': config(torn=True),
    'bad image': config(image=BAD, torn=True, abort=True),
    'image bad as master': config(image=BAD_MASTER, torn=True, abort=True),
    'good image, an abort': config(abort=True),
    'given up before the demotion': Config(),
    'decisions that stall': config(inflight=True),
    'a retry': config(retries=1),
    'paused and held': config(pause=True, hold=True),
    'held, and bounds used up': config(image=BAD_MASTER, hold=True, caps=True),
    'checks that fail': config(blocked=True),
    'a retry, and bounds used up': config(retries=1, caps=True),
    'a file was changed by hand': config(edited=True),
    'a blank machine is installed': config(reinstall=HALF),
    'an old node is installed': config(reinstall=OLD, torn=True),
    'lost files, half a system boots': config(rot=True, half_boots=True, torn=True),
    'database outages': config(outages=True),
    'BMCs that fail': config(bmcs=True),
    'a node breaks': config(losses=1),
    'a node breaks, bad image': config(losses=1, image=BAD),
    'a node breaks, image bad as master': config(losses=1, image=BAD_MASTER),
}
"""Half a minute together, on one core."""

DEEP = {
    'good image, all at once': config(abort=True, torn=True, retries=1, inflight=True),
    'bad image, all at once': config(image=BAD, abort=True, torn=True, retries=1, inflight=True),
    'image bad as master, all at once': config(image=BAD_MASTER, abort=True, torn=True, retries=1, inflight=True),
    'paused, all at once': config(pause=True, hold=True, abort=True, torn=True, retries=1),
    'two retries': config(retries=2),
    'machines, all at once': config(outages=True, bmcs=True, losses=1, rot=True, half_boots=True, torn=True),
    'a retry, machines, all at once': config(
        retries=1, outages=True, bmcs=True, losses=1, rot=True, half_boots=True, torn=True
    ),
    'a node breaks, and another': config(losses=2, retries=1),
    'two retries, all at once': config(retries=2, abort=True, torn=True, inflight=True, caps=True),
    'paused, machines, all at once': config(
        abort=True, pause=True, hold=True, torn=True, outages=True, bmcs=True, losses=1, rot=True, half_boots=True
    ),
    'image bad as master, machines, all at once': config(
        image=BAD_MASTER,
        abort=True,
        torn=True,
        outages=True,
        bmcs=True,
        losses=1,
        rot=True,
        half_boots=True,
        inflight=True,
    ),
}
"""Two minutes together, on one core."""
